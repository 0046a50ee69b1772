//! Links of documents and mentions of kernel notes lead to files that exist.
//!
//! Only places in the repository are looked up. Whether an anchor exists in a file, and whatever
//! has a scheme or is a path to an item of the crate, is for rustdoc and the reader.

use crate::repo::{self, Repo};

const NOTES: &str = "kernel-notes/";

/// Relative links of `.md` files that lead nowhere.
pub(crate) fn broken(repo: &Repo) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in repo.texts().filter(|(path, _)| path.ends_with(".md")) {
        for (line, target) in links(text) {
            let file = target.split(['#', '?']).next().unwrap_or_default();
            let elsewhere = target.contains("://") || target.starts_with("mailto:") || target.contains("::");
            if file.is_empty() || elsewhere {
                continue;
            }
            let place = repo::join(repo::parent(path), file);
            let found = !file.starts_with('/') && place.is_some_and(|place| repo.exists(&place));
            if !found {
                findings.push(format!("{path}:{line}: the link to `{target}` leads nowhere"));
            }
        }
    }
    findings
}

/// The targets of a document's links with their lines, without what is code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut fence: Option<&str> = None;
    for (index, line) in text.lines().enumerate() {
        let start = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => {
                let prose = without_code(line);
                links.extend(targets(&prose).into_iter().map(|target| (index + 1, target)));
            }
            _ => {}
        }
    }
    links
}

/// The line without what stands between backticks.
fn without_code(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    // An odd backtick at the end opens nothing.
    let closed = parts.len() - 1 - (parts.len() - 1) % 2;
    let kept = parts.iter().enumerate().filter(|(index, _)| index % 2 == 0 || *index > closed);
    kept.map(|(_, part)| *part).collect()
}

/// The targets in one line: `[..](target "title")`, and `[label]: target` for the whole line.
fn targets(line: &str) -> Vec<String> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let definition = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    let all = inline.chain(definition.map(|(_, target)| target));
    all.filter_map(|target| target.split_whitespace().next())
        .map(|target| target.trim_start_matches('<').trim_end_matches('>').to_string())
        .collect()
}

/// Mentions of a kernel note, in comments and documents, for which there is no file.
pub(crate) fn missing_notes(repo: &Repo) -> Vec<String> {
    let comments = repo.sources().map(|source| (source.path.as_str(), source.comments.as_str()));
    let documents = repo.texts().filter(|(path, _)| path.ends_with(".md"));
    let mut findings = Vec::new();
    for (path, text) in comments.chain(documents) {
        for (index, line) in text.lines().enumerate() {
            for note in notes(line).filter(|note| !repo.is_file(note)) {
                findings.push(format!("{path}:{}: there is no `{note}`", index + 1));
            }
        }
    }
    findings
}

/// The notes a line mentions.
fn notes(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices(NOTES).filter_map(|(at, _)| {
        let rest = &line[at..];
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_-./".contains(letter);
        let end = rest.find(|letter: char| !is_part(letter)).unwrap_or(rest.len());
        let mention = rest[..end].trim_end_matches('.');
        mention.ends_with(".md").then_some(mention)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(path: &str, text: &str) -> Repo {
        let note = format!("{NOTES}wake.md");
        Repo::of(&[(path, text), (&note, ""), ("src/ring/op.rs", ""), ("LICENSE-MIT", "")])
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let cases = [
            ("README.md", "see [a](src/none.rs)"),
            ("README.md", "[a](LICENSE-MIT) and [b](src/none.md#top \"title\")"),
            ("src/design.md", "[a](ring/none.rs)"),
            ("src/design.md", "[a](../../above.md)"),
            ("README.md", "[a]: none.md"),
            ("README.md", "[a](/LICENSE-MIT)"),
            ("README.md", "```\ncode\n```\n[a](<none.md>)"),
            ("README.md", "a ` and [a](none.md)"),
        ];
        for (path, text) in cases {
            let findings = broken(&repo(path, text));
            assert_eq!(findings.len(), 1, "{path}: {text}: {findings:?}");
            assert!(findings[0].contains("leads nowhere"), "{findings:?}");
        }
    }

    #[test]
    fn links_that_lead_somewhere_or_out_pass() {
        let texts = [
            "[a](src/ring/op.rs#L3) [b](src/ring) [c](./LICENSE-MIT)",
            "[a](https://example.org/none) [b](mailto:a@example.org) [c](#part) [d](crate::ring::none)",
            "`[a](none.md)` [b]\n```text\n[c](none.md)\n[d]: none.md\n```",
            "[a]: LICENSE-MIT",
        ];
        for text in texts {
            assert_eq!(broken(&repo("README.md", text)), [""; 0], "{text}");
        }
        assert_eq!(broken(&repo("src/design.md", "[a](ring/op.rs) [b](../LICENSE-MIT)")), [""; 0]);
    }

    #[test]
    fn mentions_of_notes_that_do_not_exist_are_found() {
        let text =
            format!("// See {NOTES}wake.md.\n/// See `{NOTES}none.md`, {NOTES}gone.md and {NOTES}src.");
        let findings = missing_notes(&repo("src/a.rs", &text));
        let expected = ["none", "gone"].map(|name| format!("src/a.rs:2: there is no `{NOTES}{name}.md`"));
        assert_eq!(findings, expected);
        assert_eq!(missing_notes(&repo("README.md", &text)).len(), 2);
        let quoted = format!("const A: &str = \"{NOTES}none.md\";");
        assert_eq!(missing_notes(&repo("src/a.rs", &quoted)), [""; 0]);
    }
}
