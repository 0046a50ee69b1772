//! Sizes and headers: what fits on a screen can be read, and every file says what it is for.

use crate::repo::Repo;
use crate::scan::{self, Source};

/// A file that is longer holds more than one subject.
const FILE_LINES_MAX: usize = 500;
/// A function that is longer does not fit one screen.
const FUNCTION_LINES_MAX: usize = 70;
/// Wide enough for the widest rustfmt output, narrow enough for two files side by side.
const LINE_COLUMNS_MAX: usize = 110;

pub(crate) fn file_lengths(repo: &Repo) -> Vec<String> {
    let lengths = repo.sources().map(|source| (source, source.text.lines().count()));
    lengths
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(source, lines)| format!("{}:{lines}: over {FILE_LINES_MAX} lines", source.path))
        .collect()
}

pub(crate) fn function_lengths(repo: &Repo) -> Vec<String> {
    repo.sources().flat_map(long_functions).collect()
}

fn long_functions(source: &Source) -> Vec<String> {
    let tokens = scan::tokens(&source.code);
    let mut findings = Vec::new();
    for (index, pair) in tokens.windows(2).enumerate() {
        let (keyword, name) = (pair[0], pair[1]);
        // A `fn` without a name is a type; `$` stands before a name that a macro fills in.
        if keyword.text != "fn" || !(scan::is_name(name.text) || name.text == "$") {
            continue;
        }
        let Some(open) = scan::head_end(&tokens, index + 1).filter(|&end| tokens[end].text == "{") else {
            continue;
        };
        let last = tokens[scan::closing(&tokens, open)];
        let lines = source.line(last.at) - source.line(keyword.at) + 1;
        if lines > FUNCTION_LINES_MAX {
            let what = format!("`{}` has {lines} lines, over {FUNCTION_LINES_MAX}", name.text);
            findings.push(source.finding(keyword.at, &what));
        }
    }
    findings
}

pub(crate) fn line_lengths(repo: &Repo) -> Vec<String> {
    let mut findings = Vec::new();
    for source in repo.sources() {
        for (index, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > LINE_COLUMNS_MAX {
                let place = format!("{}:{}", source.path, index + 1);
                findings.push(format!("{place}: {columns} columns, over {LINE_COLUMNS_MAX}"));
            }
        }
    }
    findings
}

pub(crate) fn headers(repo: &Repo) -> Vec<String> {
    let bare = |source: &&Source| {
        let first = source.text.lines().next().unwrap_or_default();
        first.strip_prefix("//! ").is_none_or(|words| words.trim().is_empty())
    };
    let findings = repo.sources().filter(bare);
    findings
        .map(|source| format!("{}:1: does not open with `//!` and what the file is", source.path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(text: &str) -> Repo {
        Repo::of(&[("src/a.rs", text)])
    }

    #[test]
    fn a_file_over_the_limit_is_found() {
        assert!(file_lengths(&repo(&"//\n".repeat(500))).is_empty());
        assert_eq!(file_lengths(&repo(&"//\n".repeat(501))), ["src/a.rs:501: over 500 lines"]);
    }

    #[test]
    fn a_line_over_the_limit_is_found() {
        assert!(line_lengths(&repo(&"\u{e4}".repeat(110))).is_empty());
        let long = format!("\n{}", "x".repeat(111));
        assert_eq!(line_lengths(&repo(&long)), ["src/a.rs:2: 111 columns, over 110"]);
    }

    #[test]
    fn a_function_over_the_limit_is_found_whatever_braces_it_quotes() {
        let heads = [
            "pub(crate) async fn long<T>(a: [u8; 4]) -> Result<(), T>\nwhere\n    T: Fn(u8) -> u8,\n{",
            "fn long() {\n    let brace = \"}\";\n    let brace = '}'; // }\n    /* } */",
            "impl A {\n    const fn short() {}\n    fn long(&self) -> fn(u8) -> u8 {",
        ];
        for head in heads {
            for (lines, found) in [(70, 0), (71, 1)] {
                let before = head.lines().position(|line| line.contains("fn long")).unwrap();
                let body = "    a;\n".repeat(lines - (head.lines().count() - before) - 1);
                let findings = function_lengths(&repo(&format!("{head}\n{body}}}\n// }}\n")));
                assert_eq!(findings.len(), found, "{lines} lines, {head}: {findings:?}");
                assert!(findings.iter().all(|finding| finding.contains("`long` has 71 lines")));
            }
        }
    }

    #[test]
    fn what_is_no_function_body_is_not_measured() {
        let trait_method = format!("trait A {{\n    fn short();\n{}}}", "    const A: fn();\n".repeat(80));
        assert_eq!(function_lengths(&repo(&trait_method)), [""; 0]);
    }

    #[test]
    fn a_missing_or_empty_header_is_found() {
        assert!(headers(&repo("//! What it is.\n")).is_empty());
        for text in ["", "// a\n", "//!\n//! later\n", "\n//! late\n", "#![a]\n//! late"] {
            assert_eq!(headers(&repo(text)).len(), 1, "{text:?}");
        }
    }
}
