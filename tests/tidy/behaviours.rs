//! The list of behaviours names tests that exist.
//!
//! A row of a table in `tests/BEHAVIOURS.md` is a behaviour and the tests that hold it: a link to a file, and
//! behind it the names of tests in that file, each between backticks. Whether a test proves what its row
//! says is for the reader.

use crate::repo::{self, Repo};
use crate::scan::{self, Source, Token};

const PAGE: &str = "tests/BEHAVIOURS.md";
/// Models are functions here, and tests there.
const MODELS_OF: &str = "tests/loom/src/models/";
const MODELS: &str = "tests/loom/tests/models.rs";

/// Rows that name no test, and names of which the named file has no test.
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
                Some(source) if !has_test(repo, source, test) => {
                    find(format!("`{file}` has no test `{test}`"))
                }
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

/// Whether a file has a test of this name, or a model of this name that is run as a test.
fn has_test(repo: &Repo, source: &Source, name: &str) -> bool {
    let tokens = scan::tokens(&source.code);
    let is_run = || {
        let list = repo.source(MODELS).map_or_else(Vec::new, |list| scan::tokens(&list.code));
        source.path.starts_with(MODELS_OF) && list.iter().any(|token| token.text == name)
    };
    tokens
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair[0].text == "fn" && pair[1].text == name)
        .any(|(at, _)| is_marked(&tokens[..at]) || is_run())
}

/// Whether what stands before a function, up to the item before it, marks it as a test.
fn is_marked(before: &[Token<'_>]) -> bool {
    let item_ends = before.iter().rposition(|token| matches!(token.text, ";" | "{" | "}"));
    before[item_ends.map_or(0, |end| end + 1)..]
        .windows(4)
        .any(|four| ["#", "[", "test", "]"].into_iter().eq(four.iter().map(|token| token.text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(row: &str) -> Vec<String> {
        let page =
            format!("# Title\n\n| behaviour | test |\n|---|---|\n| it works | {row} |\n\n| no | table |\n");
        unheld(&Repo::of(&[
            (PAGE, &page),
            (
                "tests/a.rs",
                "#[test]\nfn one() {}\n// fn gone\n#[test]\n#[ignore]\nfn two() { let a = 3; }\nfn kit() {}",
            ),
            ("tests/b/c.rs", "#[test]\nfn one() {}"),
            ("src/d.rs", "#[test]\nfn four() {}"),
            ("tests/loom/src/models/e.rs", "pub fn five() {}\npub fn six() {}"),
            (MODELS, "models!(e: five; deep:);"),
        ]))
    }

    #[test]
    fn rows_whose_tests_exist_pass() {
        for row in [
            "[a](a.rs): `one`",
            "[a](a.rs): `one`, `two`; [c](b/c.rs): `one`",
            "[d](../src/d.rs) `four`",
            "[e](loom/src/models/e.rs): `five`",
        ] {
            assert_eq!(findings(row), [""; 0], "{row}");
        }
    }

    #[test]
    fn rows_without_tests_and_tests_that_are_gone_are_found() {
        for (row, found) in [
            ("[a](a.rs)", "names no test"),
            ("`one`", "names no test"),
            ("later", "names no test"),
            ("[a](a.rs): `gone`", "`a.rs` has no test `gone`"),
            ("[a](a.rs): `one`, `a`", "`a.rs` has no test `a`"),
            ("[c](b/c.rs): `two`", "`b/c.rs` has no test `two`"),
            ("[a](a.rs): `kit`", "`a.rs` has no test `kit`"),
            ("[e](loom/src/models/e.rs): `six`", "has no test `six`"),
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
