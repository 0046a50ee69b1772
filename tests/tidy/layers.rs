//! The layer table: a file names rooms below its own, and nothing beside or above.
//!
//! A room is a module at the top of `src`. Names are read from paths that start with `crate`,
//! `super` or `self` in code that is compiled outside tests; the front door `src/lib.rs` may name
//! everything.

use crate::modules;
use crate::repo::Repo;
use crate::scan::{self, Source, Token};
use std::collections::BTreeSet;

/// The rooms, lowest layer first. Rooms of one layer do not know each other.
const LAYERS: [&[&str]; 8] = [
    &["base"],
    &["metrics", "sys"],
    &["task", "time", "buf"],
    &["ring", "blocking"],
    &["sched", "io"],
    &["runtime", "net", "fs", "process", "signal", "thread", "core"],
    &["serve", "tls"],
    &["compat"],
];

/// Walls that the order of the layers alone would not put up: who must not name whom.
const WALLS: [(&[&str], &[&str]); 3] = [
    (&["task"], &["ring"]),
    (&["ring"], &["task"]),
    (&["io", "net", "fs", "process", "signal"], &["sched", "runtime"]),
];

/// Rooms that meet in one file only.
const MEETING: [&str; 3] = ["task", "ring", "time"];
const MEETING_PLACE: &str = "src/sched/worker.rs";

const FRONT_DOOR: &str = "src/lib.rs";

pub(crate) fn upward_imports(repo: &Repo) -> Vec<String> {
    let mut findings: Vec<String> = Vec::new();
    for source in production(repo) {
        let own = modules::path_of(&source.path).swap_remove(0);
        if layer(&own).is_none() {
            findings.push(source.finding(0, &format!("the room `{own}` is not in the layer table")));
            continue;
        }
        for (at, named) in named_rooms(source) {
            if let Some(what) = objection(&own, &named) {
                findings.push(source.finding(at, &what));
            }
        }
    }
    findings.dedup();
    findings
}

/// Files other than the worker that bring together what only the worker may.
pub(crate) fn meetings(repo: &Repo) -> Vec<String> {
    let elsewhere = production(repo).into_iter().filter(|source| source.path != MEETING_PLACE);
    let met = elsewhere.filter(|source| {
        let named: BTreeSet<String> = named_rooms(source).into_iter().map(|(_, room)| room).collect();
        MEETING.iter().all(|room| named.contains(*room))
    });
    let what = format!("names {} together, which only {MEETING_PLACE} may", MEETING.join(", "));
    met.map(|source| source.finding(0, &what)).collect()
}

/// The files of `src` that are compiled outside tests, without the front door.
fn production(repo: &Repo) -> Vec<&Source> {
    let test_files = modules::test_files(repo);
    let sources = repo.sources().filter(|source| source.path.starts_with("src/"));
    sources.filter(|source| source.path != FRONT_DOOR && !test_files.contains(&source.path)).collect()
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

/// Why a file of room `own` must not name `named`, if so.
fn objection(own: &str, named: &str) -> Option<String> {
    if named == own {
        return None;
    }
    let Some(above) = layer(named) else {
        return Some(format!("names `crate::{named}`, which is no room: name the room it is from"));
    };
    let walled = WALLS.iter().any(|(who, whom)| who.contains(&own) && whom.contains(&named));
    if walled {
        return Some(format!("`{own}` must not name `{named}`"));
    }
    let below = layer(own)?;
    (above >= below).then(|| format!("`{own}` (L{below}) must not name `{named}` (L{above})"))
}

/// Every name directly under the crate root that the file uses, and where. `*` stands for all.
fn named_rooms(source: &Source) -> Vec<(usize, String)> {
    let code = scan::without_tests(&source.code);
    let tokens = scan::tokens(&code);
    let home = modules::path_of(&source.path);
    let mut named = Vec::new();
    for index in 0..tokens.len() {
        let after_path = index > 0 && tokens[index - 1].text == "::";
        let base = match tokens[index].text {
            _ if after_path => continue,
            "crate" => Vec::new(),
            "super" | "self" => {
                let mut base = home.clone();
                base.extend(modules::inline_path(&tokens, index));
                base
            }
            _ => continue,
        };
        follow(&tokens, index, base, &mut named);
    }
    named
}

/// Follows a path from the token at `index`, where `base` is the module reached before it.
fn follow(tokens: &[Token<'_>], index: usize, mut base: Vec<String>, named: &mut Vec<(usize, String)>) {
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text);
    let mut found = |name: &str| named.push((tokens[index].at, name.to_string()));
    match text(index) {
        start @ ("crate" | "super" | "self") => {
            if start == "super" && base.pop().is_none() {
                return;
            }
            match text(index + 1) {
                "::" => follow(tokens, index + 2, base, named),
                // The root under another name, or in a list: everything can be reached through it.
                "as" | "," | "}" if base.is_empty() && is_import(tokens, index) => found("*"),
                _ => {}
            }
        }
        "{" => {
            let last = scan::closing(tokens, index);
            let mut element = index + 1;
            while element < last {
                follow(tokens, element, base.clone(), named);
                element = next_element(tokens, element, last);
            }
        }
        name if base.is_empty() && (name == "*" || scan::is_name(name)) => found(name),
        _ => {}
    }
}

/// Whether a token is part of a `use` declaration, going back to where its statement starts.
fn is_import(tokens: &[Token<'_>], index: usize) -> bool {
    let before = tokens[..index].iter().rev().take_while(|token| !matches!(token.text, ";" | ")" | "]"));
    before.into_iter().any(|token| token.text == "use")
}

/// The start of the list element after the one at `element`, or `last`.
fn next_element(tokens: &[Token<'_>], element: usize, last: usize) -> usize {
    let mut index = element;
    while index < last && tokens[index].text != "," {
        index = if tokens[index].text == "{" { scan::closing(tokens, index) } else { index } + 1;
    }
    (index + 1).min(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(path: &str, code: &str) -> Vec<String> {
        let source = Source::new(path, code);
        named_rooms(&source).into_iter().map(|(_, room)| room).collect()
    }

    fn upward(path: &str, code: &str) -> Vec<String> {
        upward_imports(&Repo::of(&[(path, code)]))
    }

    #[test]
    fn rooms_are_read_from_paths_and_groups() {
        let cases: [(&str, &[&str]); 9] = [
            ("use crate::base::slot::Slot;", &["base"]),
            (
                "use crate::{base::{slot, list}, sys, time::{self, wheel::{A, B}}, task::*};",
                &["base", "sys", "time", "task"],
            ),
            ("fn f() -> crate::sys::Fd { crate::buf::f(crate::io::g) }", &["sys", "buf", "io"]),
            ("macro_rules! m { () => { $crate::base::f() } }", &["base"]),
            ("use crate::*; use crate as root; use crate::{self as root};", &["*", "*", "*"]),
            ("use {crate::base, std::io};", &["base"]),
            ("pub(crate) fn f(self) { self.a; self::b(); core::mem::drop(self, self) }", &[]),
            ("// crate::sched\n/// [`crate::sched`]\nconst A: &str = \"crate::sched\";", &[]),
            ("#[cfg(test)] mod tests { use crate::sched::A; } #[cfg(test)] use crate::net;", &[]),
        ];
        for (code, expected) in cases {
            assert_eq!(rooms("src/net/tcp.rs", code), expected, "{code}");
        }
    }

    #[test]
    fn super_is_followed_to_the_root() {
        let cases: [(&str, &str, &[&str]); 9] = [
            ("src/net/tcp.rs", "use super::udp::A;", &[]),
            ("src/net/tcp.rs", "use super::super::fs::A;", &["fs"]),
            ("src/net/tcp.rs", "use super::{udp, super::{fs, io}};", &["fs", "io"]),
            ("src/net/mod.rs", "use super::fs::A; pub(super) fn f() {}", &["fs"]),
            ("src/net.rs", "use self::super::fs::A;", &["fs"]),
            ("src/net.rs", "use super::{self as root, *};", &["*", "*"]),
            ("src/net.rs", "mod a { use super::b; mod c { use super::super::super::fs; } }", &["fs"]),
            ("src/net.rs", "use super::super as root;", &[]),
            ("src/net/tcp.rs", "use super::super as root;", &["*"]),
        ];
        for (path, code, expected) in cases {
            assert_eq!(rooms(path, code), expected, "{path}: {code}");
        }
    }

    #[test]
    fn upward_and_sideways_imports_are_found() {
        let cases = [
            ("src/base/slot.rs", "use crate::sys::Fd;", "`base` (L0) must not name `sys` (L1)"),
            ("src/sys/mod.rs", "use crate::metrics::M;", "`sys` (L1) must not name `metrics` (L1)"),
            ("src/task/mod.rs", "use crate::ring::Op;", "`task` must not name `ring`"),
            ("src/ring/op.rs", "fn f(a: crate::task::Id) {}", "`ring` must not name `task`"),
            ("src/net/tcp.rs", "use crate::{io, sched::A};", "`net` must not name `sched`"),
            ("src/io.rs", "use super::runtime::Handle;", "`io` must not name `runtime`"),
            ("src/net/tcp.rs", "use crate::fs::File;", "`net` (L5) must not name `fs` (L5)"),
            ("src/sched/mod.rs", "use crate::spawn;", "names `crate::spawn`, which is no room"),
            ("src/sched/mod.rs", "use crate::*;", "names `crate::*`, which is no room"),
            ("src/utils.rs", "", "the room `utils` is not in the layer table"),
        ];
        for (path, code, what) in cases {
            let findings = upward(path, code);
            assert_eq!(findings.len(), 1, "{path}: {code}: {findings:?}");
            assert!(findings[0].starts_with(&format!("{path}:1: {what}")), "{findings:?}");
        }
    }

    #[test]
    fn downward_imports_pass() {
        let cases = [
            ("src/sched/worker.rs", "use crate::{base, metrics, ring, sys, task, time}; use super::idle;"),
            ("src/ring/op.rs", "use crate::buf::IoBuf; use crate::ring::cell;"),
            ("src/compat/hyper.rs", "use crate::{net, runtime, time};"),
            ("src/lib.rs", "pub use crate::runtime::spawn; pub use compat::*;"),
            ("tests/a.rs", "use crate::anything;"),
        ];
        for (path, code) in cases {
            assert_eq!(upward(path, code), [""; 0], "{path}: {code}");
        }
    }

    #[test]
    fn test_files_may_name_any_room() {
        let names = ("src/base/tests.rs", "use crate::sched::A;");
        for (declaration, found) in [("#[cfg(test)] mod tests;", 0), ("mod tests;", 1)] {
            let repo = Repo::of(&[("src/lib.rs", "mod base;"), ("src/base/mod.rs", declaration), names]);
            assert_eq!(upward_imports(&repo).len(), found, "{declaration}");
        }
    }

    #[test]
    fn a_second_meeting_of_task_ring_and_time_is_found() {
        let all = "use crate::{task, ring::Ring}; fn f() { crate::time::now() }";
        let found = meetings(&Repo::of(&[("src/runtime/mod.rs", all)]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(meetings(&Repo::of(&[("src/sched/worker.rs", all), ("src/lib.rs", all)])), [""; 0]);
        assert_eq!(meetings(&Repo::of(&[("src/sched/mod.rs", "use crate::{task, time};")])), [""; 0]);
    }
}
