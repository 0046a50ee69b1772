//! Unsafe code: only in its rooms, and never without the argument why it is sound.

use crate::repo::{self, Repo};
use crate::scan::{self, Source, Token};

/// Where unsafe code may be: these folders of `src`, the files beside them, and one file.
const ROOMS: [&str; 5] = ["base", "sys", "buf", "task", "ring"];
const ROOM_FILE: &str = "src/sched/queue.rs";

/// Lines of code of the same statement that may stand between the comment and the block.
const STATEMENT_LINES_MAX: usize = 6;

/// Unsafe blocks and impls with no safety comment above them.
pub(crate) fn undocumented(repo: &Repo) -> Vec<String> {
    repo.sources().flat_map(undocumented_in).collect()
}

fn undocumented_in(source: &Source) -> Vec<String> {
    let code: Vec<&str> = source.code.split('\n').collect();
    let comments: Vec<&str> = source.comments.split('\n').collect();
    let tokens = scan::tokens(&source.code);
    let pairs = tokens.windows(2).filter(|pair| pair[0].text == "unsafe");
    pairs
        .filter(|pair| matches!(pair[1].text, "{" | "impl"))
        .filter(|pair| !documented(&code, &comments, source.line(pair[0].at)))
        .map(|pair| {
            let what = format!("`unsafe {}` with no `SAFETY:` comment above it", pair[1].text);
            source.finding(pair[0].at, &what)
        })
        .collect()
}

/// Walks up from a line through its own statement and the comments on top of it.
fn documented(code: &[&str], comments: &[&str], line: usize) -> bool {
    let mut passed = 0;
    for above in (0..line).rev() {
        let (code, comment) = (code[above].trim(), comments[above].trim());
        match (code.is_empty(), comment.is_empty()) {
            (true, true) => return false,
            (true, false) if comment.contains("SAFETY:") => return true,
            (true, false) => {}
            (false, _) => {
                passed += 1;
                if ends_something(code) || passed > STATEMENT_LINES_MAX {
                    return false;
                }
            }
        }
    }
    false
}

/// Whether what follows the line is not part of what the line says.
fn ends_something(code: &str) -> bool {
    let ends = [";", "{", "}", "},"].iter().any(|end| code.ends_with(end));
    ends || (code.contains("=>") && code.ends_with(','))
}

/// The word `unsafe` in code of the two published crates, outside the rooms.
pub(crate) fn outside_rooms(repo: &Repo) -> Vec<String> {
    let published = |path: &str| path.starts_with("src/") || path.starts_with("macros/");
    let mut findings = Vec::new();
    for source in repo.sources().filter(|source| published(&source.path) && !is_room(&source.path)) {
        for token in scan::tokens(&source.code).iter().filter(|token| token.text == "unsafe") {
            findings.push(source.finding(token.at, "unsafe code outside its rooms"));
        }
    }
    findings
}

fn is_room(path: &str) -> bool {
    let Some(inner) = path.strip_prefix("src/") else {
        return false;
    };
    let top = inner.split('/').next().unwrap_or_default();
    path == ROOM_FILE || ROOMS.contains(&top.strip_suffix(".rs").unwrap_or(top))
}

/// Files of `src` without `#![forbid(unsafe_code)]` that could have it.
pub(crate) fn not_forbidden(repo: &Repo) -> Vec<String> {
    let safe = repo.sources().filter(|source| {
        let path = &source.path;
        path.starts_with("src/") && !is_room(path) && !is_above_a_room(path)
    });
    safe.filter(|source| !forbids(&scan::tokens(&source.code)))
        .map(|source| source.finding(0, "does not open with `#![forbid(unsafe_code)]`"))
        .collect()
}

/// Whether a room lies in a module below this file, where `forbid` would reach it.
fn is_above_a_room(path: &str) -> bool {
    let folder = match path.strip_suffix(".rs") {
        Some(module) if module.ends_with("/mod") || module == "src/lib" => repo::parent(path),
        Some(module) => module,
        None => return false,
    };
    ROOM_FILE.starts_with(&format!("{folder}/"))
}

/// Whether one of the attributes that open the file forbids unsafe code.
fn forbids(tokens: &[Token<'_>]) -> bool {
    let mut index = 0;
    while tokens.len() > index + 2 && tokens[index].text == "#" && tokens[index + 1].text == "!" {
        let last = scan::closing(tokens, index + 2);
        let attribute = &tokens[index + 3..last];
        let named = attribute.iter().any(|token| token.text == "unsafe_code");
        if named && attribute[0].text == "forbid" {
            return true;
        }
        index = last + 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        undocumented(&Repo::of(&[("tests/a.rs", text)])).len()
    }

    #[test]
    fn blocks_and_impls_without_a_safety_comment_are_found() {
        let bare = [
            "fn f() {\n    unsafe { g() }\n}",
            "unsafe impl Send for A {}",
            "// SAFETY: for the first.\nunsafe impl Send for A {}\nunsafe impl Sync for A {}",
            "// SAFETY: too far.\n\nunsafe { g() }",
            "// SAFETY: for another statement.\nlet a = 1;\nunsafe { g() }",
            "// SAFETY: for the head.\nif a {\n    unsafe { g() }\n}",
            "match a {\n    // SAFETY: for A.\n    A => g(),\n    B => unsafe { g() },\n}",
            "let a = \"// SAFETY: quoted\";\nunsafe { g() }",
            "// It is safe.\nunsafe { g() }",
            "unsafe { g() } // SAFETY: too late",
        ];
        for text in bare {
            assert_eq!(count(text), 1, "{text}");
        }
        assert_eq!(
            undocumented(&Repo::of(&[("src/a.rs", "\nunsafe { g() }")])),
            ["src/a.rs:2: `unsafe {` with no `SAFETY:` comment above it"]
        );
    }

    #[test]
    fn documented_blocks_pass() {
        let documented = [
            "// SAFETY: g is sound.\nunsafe { g() }",
            "// SAFETY: g is sound,\n// in more\n// words.\n#[allow(a)]\nlet a =\n    unsafe { g() };",
            "// SAFETY: both.\nlet a = f(\n    b,\n    unsafe { g() },\n);",
            "/* SAFETY: g is sound. */\nunsafe impl Send for A {}",
            "match a {\n    A => g(),\n    // SAFETY: for B.\n    B => unsafe { g() },\n}",
        ];
        for text in documented {
            assert_eq!(count(text), 0, "{text}");
        }
        assert_eq!(count("unsafe fn f() {}\nlet a: unsafe fn() = \"unsafe {\"; // unsafe {"), 0);
    }

    #[test]
    fn unsafe_code_outside_the_rooms_is_found() {
        let text = "\nunsafe fn f() {}";
        for path in ["src/net/tcp.rs", "src/lib.rs", "src/sched/mod.rs", "src/ringer.rs", "macros/src/lib.rs"]
        {
            let findings = outside_rooms(&Repo::of(&[(path, text)]));
            assert_eq!(findings, [format!("{path}:2: unsafe code outside its rooms")]);
        }
        for path in ["src/ring.rs", "src/ring/op.rs", "src/base/mod.rs", "src/sched/queue.rs", "tests/a.rs"] {
            assert_eq!(outside_rooms(&Repo::of(&[(path, text)])), [""; 0]);
        }
        let words = "#![forbid(unsafe_code)] // unsafe\nlet a = \"unsafe\";";
        assert_eq!(outside_rooms(&Repo::of(&[("src/a.rs", words)])), [""; 0]);
    }

    #[test]
    fn a_safe_file_that_does_not_forbid_is_found() {
        for text in ["//! A.\nfn f() {}", "// #![forbid(unsafe_code)]", "mod a { #![forbid(unsafe_code)] }"] {
            for path in ["src/net/mod.rs", "src/net.rs", "src/sched/idle.rs", "src/sched/tests.rs"] {
                assert_eq!(not_forbidden(&Repo::of(&[(path, text)])).len(), 1, "{path}: {text}");
            }
            for path in ["src/lib.rs", "src/sched.rs", "src/sched/mod.rs", "src/task/mod.rs", "tests/a.rs"] {
                assert_eq!(not_forbidden(&Repo::of(&[(path, text)])), [""; 0], "{path}: {text}");
            }
        }
        for text in ["//! A.\n#![forbid(unsafe_code)]", "#![a(b)]\n#![forbid(b, unsafe_code)]\nfn f() {}"] {
            assert_eq!(not_forbidden(&Repo::of(&[("src/net.rs", text)])), [""; 0], "{text}");
        }
    }
}
