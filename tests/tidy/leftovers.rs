//! Nothing unfinished: notes to oneself and placeholders do not stay in the repository.

use crate::repo::Repo;

/// Written in two halves, so that this file does not find itself.
const LEFTOVERS: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("db", "g!"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
];

pub(crate) fn leftovers(repo: &Repo) -> Vec<String> {
    let sources = repo.sources().map(|source| (source.path.as_str(), source.text.as_str()));
    let mut findings = Vec::new();
    for (path, text) in sources.chain(repo.texts()) {
        for (index, line) in text.lines().enumerate() {
            for word in LEFTOVERS.iter().filter(|word| has_word(line, word)) {
                findings.push(format!("{path}:{}: `{word}` is left over", index + 1));
            }
        }
    }
    findings
}

/// Whether the line has the word, not as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |next: Option<char>| next.is_some_and(|next| next.is_alphanumeric() || next == '_');
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        !is_part(before.chars().next_back()) && (word.ends_with('!') || !is_part(after.chars().next()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_found_in_code_comments_and_documents() {
        for word in LEFTOVERS {
            for path in ["src/a.rs", "README.md", "Cargo.toml"] {
                let text = format!("fine\n// {word}(later)");
                let findings = leftovers(&Repo::of(&[(path, &text)]));
                assert_eq!(findings, [format!("{path}:2: `{word}` is left over")]);
            }
        }
    }

    #[test]
    fn parts_of_longer_words_are_not_leftovers() {
        for word in LEFTOVERS {
            let text = format!("a{word} _{word} {}s", word.trim_end_matches('!'));
            assert_eq!(leftovers(&Repo::of(&[("a.md", &text)])), [""; 0], "{text}");
        }
    }
}
