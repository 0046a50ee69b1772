//! The list of behaviours names tests that exist.
//!
//! A row of a table in `tests/BEHAVIOURS.md` is a behaviour and the tests that hold it: a link to a file, and
//! behind it the names of functions in that file, each between backticks. Whether a test proves what its row
//! says is for the reader.

use crate::repo::{self, Repo};
use crate::scan;

const PAGE: &str = "tests/BEHAVIOURS.md";

/// Rows that name no test, and named tests that are not in the named file.
pub(crate) fn unheld(repo: &Repo) -> Vec<String> {
    let Some(page) = repo.text(PAGE) else { return vec![format!("{PAGE}: is missing")] };
    let mut findings = Vec::new();
    for (index, tests) in rows(page) {
        let mut find = |what: String| findings.push(format!("{PAGE}:{}: {what}", index + 1));
        let named = named(tests);
        if named.is_empty() {
            find("the row names no test".to_owned());
        }
        for (file, test) in named {
            match repo::join(repo::parent(PAGE), file).and_then(|path| repo.source(&path)) {
                None => find(format!("`{test}` is said to be in `{file}`, which is no source file")),
                Some(source) if !declares(&source.code, test) => find(format!("`{file}` has no `{test}`")),
                Some(_) => {}
            }
        }
    }
    findings
}

/// The last cells of all rows below a table's rule, with their lines counted from 0.
fn rows(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_table = false;
    page.lines().enumerate().filter_map(move |(index, line)| {
        let Some(cells) = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            in_table = false;
            return None;
        };
        if cells.starts_with("---") {
            in_table = true;
            return None;
        }
        let last = cells.rsplit_once('|').map_or("", |(_, last)| last);
        in_table.then_some((index, last))
    })
}

/// The tests a cell names, each with the file of the link before it.
fn named(cell: &str) -> Vec<(&str, &str)> {
    let mut named = Vec::new();
    for part in cell.split("](").skip(1) {
        let Some((file, rest)) = part.split_once(')') else { continue };
        // What stands between backticks is every second piece.
        named.extend(rest.split('`').skip(1).step_by(2).map(|test| (file, test)));
    }
    named
}

/// Whether code declares a function of this name.
fn declares(code: &str, name: &str) -> bool {
    let tokens = scan::tokens(code);
    tokens.windows(2).any(|pair| pair[0].text == "fn" && pair[1].text == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(row: &str) -> Vec<String> {
        let page =
            format!("# Title\n\n| behaviour | test |\n|---|---|\n| it works | {row} |\n\n| no | table |\n");
        unheld(&Repo::of(&[
            (PAGE, &page),
            ("tests/a.rs", "#[test]\nfn one() {}\n// fn gone\nfn two() { let three = 3; }"),
            ("tests/b/c.rs", "#[test]\nfn one() {}"),
            ("src/d.rs", "fn four() {}"),
        ]))
    }

    #[test]
    fn rows_whose_tests_exist_pass() {
        for row in
            ["[a](a.rs): `one`", "[a](a.rs): `one`, `two`; [c](b/c.rs): `one`", "[d](../src/d.rs) `four`"]
        {
            assert_eq!(findings(row), [""; 0], "{row}");
        }
    }

    #[test]
    fn rows_without_tests_and_tests_that_are_gone_are_found() {
        for (row, found) in [
            ("[a](a.rs)", "names no test"),
            ("`one`", "names no test"),
            ("later", "names no test"),
            ("[a](a.rs): `gone`", "`a.rs` has no `gone`"),
            ("[a](a.rs): `one`, `three`", "`a.rs` has no `three`"),
            ("[c](b/c.rs): `two`", "`b/c.rs` has no `two`"),
            ("[e](e.rs): `one`", "no source file"),
        ] {
            let findings = findings(row);
            assert_eq!(findings.len(), 1, "{row}: {findings:?}");
            assert!(
                findings[0].starts_with("tests/BEHAVIOURS.md:5: ") && findings[0].contains(found),
                "{findings:?}"
            );
        }
        assert_eq!(unheld(&Repo::of(&[])).len(), 1);
    }
}
