//! The module tree: which files belong to a crate, and which of them only to its tests.

use crate::repo::{self, Repo};
use crate::scan::{self, Source, Token};
use std::collections::{BTreeMap, BTreeSet};

/// Files that no crate reaches: the compiler never sees them, so nothing keeps them true.
pub(crate) fn unreferenced(repo: &Repo) -> Vec<String> {
    let roots = roots(repo);
    // What another crate borrows from `src` by a path is no part of the library for that.
    let own: BTreeSet<String> = reached(repo, roots.iter().filter(|root| root.starts_with("src/")));
    let all: BTreeSet<String> = reached(repo, roots.iter());
    let dead = repo.sources().filter(|source| {
        let alive = if source.path.starts_with("src/") { &own } else { &all };
        !alive.contains(&source.path)
    });
    dead.map(|source| source.finding(0, "no crate reaches this file through `mod`")).collect()
}

/// The files of the library that are compiled for its tests only.
pub(crate) fn test_files(repo: &Repo) -> BTreeSet<String> {
    let files = reach(repo, "src/lib.rs").into_iter();
    files.filter(|(_, test_only)| *test_only).map(|(file, _)| file).collect()
}

/// The module a file of `src` is, below the crate root.
pub(crate) fn path_of(path: &str) -> Vec<String> {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let inner = inner.strip_suffix(".rs").unwrap_or(inner);
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    inner.split('/').map(String::from).collect()
}

/// The modules written out in this file around the token at `index`, outermost first.
pub(crate) fn inline_path(tokens: &[Token<'_>], index: usize) -> Vec<String> {
    let mut path = Vec::new();
    for (start, window) in tokens[..index].windows(3).enumerate() {
        let is_inline = window[0].text == "mod" && window[2].text == "{";
        if is_inline && scan::closing(tokens, start + 2) > index {
            path.push(window[1].text.to_string());
        }
    }
    path
}

/// Files that a cargo target starts from: by their place, or because a manifest names them.
fn roots(repo: &Repo) -> BTreeSet<String> {
    let by_place = repo.sources().map(|source| source.path.as_str()).filter(|path| is_root(path));
    let mut roots: BTreeSet<String> = by_place.map(String::from).collect();
    for (path, text) in repo.texts().filter(|(path, _)| path.ends_with("Cargo.toml")) {
        let values = text.lines().filter_map(|line| line.trim().strip_prefix("path"));
        let values = values.filter_map(|rest| rest.trim_start().strip_prefix('='));
        let files = values.map(|value| value.trim().trim_matches('"'));
        roots.extend(files.filter_map(|file| repo::join(repo::parent(path), file)));
    }
    roots
}

/// Whether cargo takes a file for the start of a target because of its place.
fn is_root(path: &str) -> bool {
    let folder = repo::parent(path);
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_in = |folder: &str, wanted: &[&str]| {
        wanted.iter().any(|wanted| folder == *wanted || folder.ends_with(&format!("/{wanted}")))
    };
    let targets = ["tests", "examples", "benches", "src/bin"];
    let of_package = matches!(name, "lib.rs" | "main.rs") && is_in(folder, &["src"]);
    let of_folder = name == "main.rs" && is_in(repo::parent(folder), &targets);
    name == "build.rs" || of_package || of_folder || is_in(folder, &targets)
}

fn reached<'a>(repo: &Repo, roots: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    roots.flat_map(|root| reach(repo, root).into_keys()).collect()
}

/// Every file that belongs to the crate with this root, and whether only its tests need it.
fn reach(repo: &Repo, root: &str) -> BTreeMap<String, bool> {
    let mut reached = BTreeMap::new();
    let start = Step { file: root.to_string(), owns_folder: true, test_only: false };
    let mut waiting = vec![start];
    while let Some(step) = waiting.pop() {
        let Some(source) = repo.source(&step.file) else {
            continue;
        };
        // Seen again outside tests, a file counts as seen outside tests, with all below it.
        if reached.get(&step.file).is_some_and(|&test_only: &bool| test_only <= step.test_only) {
            continue;
        }
        reached.insert(step.file.clone(), step.test_only);
        waiting.extend(declared(source, &step));
    }
    reached
}

/// A file on the way through the tree.
struct Step {
    file: String,
    /// Whether its modules lie beside it, as for `mod.rs`, and not in a folder of its name.
    owns_folder: bool,
    test_only: bool,
}

/// Where the files of the modules that this one declares may be.
fn declared(source: &Source, step: &Step) -> Vec<Step> {
    let tokens = scan::tokens(&source.code);
    let outside_tests = scan::without_tests(&source.code);
    let beside = repo::parent(&step.file);
    let within = if step.owns_folder { beside } else { step.file.trim_end_matches(".rs") };
    let mut steps = Vec::new();
    for (index, window) in tokens.windows(3).enumerate() {
        if window[0].text != "mod" || window[2].text != ";" {
            continue;
        }
        let name = window[1].text;
        let test_only = step.test_only || outside_tests.as_bytes()[window[0].at] == b' ';
        let inline = inline_path(&tokens, index).join("/");
        let folder = repo::join(within, &inline).unwrap_or_default();
        let mut add = |folder: &str, file: &str, owns_folder: bool| {
            let file = repo::join(folder, file).unwrap_or_default();
            steps.push(Step { file, owns_folder, test_only });
        };
        let attributes = attributes(&tokens, index);
        let given = given_paths(&source.text, attributes);
        let conditional = attributes.iter().any(|token| token.text == "cfg_attr");
        if given.is_empty() || conditional {
            add(&folder, &format!("{name}.rs"), false);
            add(&folder, &format!("{name}/mod.rs"), true);
        }
        for path in given {
            add(if inline.is_empty() { beside } else { &folder }, path, true);
        }
    }
    steps
}

/// The tokens between the end of the item before and the keyword at `index`.
fn attributes<'a, 'b>(tokens: &'b [Token<'a>], index: usize) -> &'b [Token<'a>] {
    let before = &tokens[..index];
    let ends = |token: &Token<'_>| matches!(token.text, ";" | "{" | "}");
    &before[before.iter().rposition(ends).map_or(0, |end| end + 1)..]
}

/// The values of `path = ".."` among attributes.
fn given_paths<'a>(text: &'a str, attributes: &[Token<'_>]) -> Vec<&'a str> {
    let windows = attributes.windows(4).filter(|window| window[0].text == "path" && window[1].text == "=");
    windows.map(|window| &text[window[2].at + 1..window[3].at]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_declare_a_module_is_followed() {
        let repo = Repo::of(&[
            ("src/lib.rs", "pub mod a; #[cfg(x)]\npub(crate) mod b; mod c { mod d; }"),
            ("src/a.rs", "mod e;"),
            ("src/a/e.rs", "#[path = \"other.rs\"] mod f;"),
            ("src/a/other.rs", "mod g;"),
            ("src/a/g.rs", ""),
            ("src/b/mod.rs", "mod h;\n#[cfg_attr(loom, path = \"i_loom.rs\")] mod i;"),
            ("src/b/h.rs", ""),
            ("src/b/i.rs", ""),
            ("src/b/i_loom.rs", ""),
            ("src/c/d.rs", ""),
            ("tests/one.rs", "mod common;"),
            ("tests/common/mod.rs", ""),
            ("tests/two/main.rs", "mod part;"),
            ("tests/two/part.rs", ""),
            ("notes/Cargo.toml", "[[bin]]\npath = \"wake.rs\""),
            ("notes/wake.rs", ""),
            ("macros/src/lib.rs", ""),
            ("benches/src/bin/peer.rs", ""),
        ]);
        assert_eq!(unreferenced(&repo), [""; 0]);
    }

    #[test]
    fn a_file_that_nothing_declares_is_found() {
        let cases = [
            ("src/dead.rs", "// mod dead;\nconst A: &str = \"mod dead;\"; mod dead {}"),
            ("src/dead/mod.rs", "mod dying;"),
            ("src/a/dead.rs", "mod dead;"),
            ("tests/common/dead.rs", "mod dead;"),
            ("macros/src/dead.rs", "mod dead;"),
        ];
        for (path, root) in cases {
            let repo = Repo::of(&[("src/lib.rs", root), (path, "")]);
            let findings = unreferenced(&repo);
            assert_eq!(findings, [format!("{path}:1: no crate reaches this file through `mod`")]);
        }
    }

    #[test]
    fn a_file_that_only_another_crate_borrows_is_dead() {
        let borrows = "#[path = \"../../../src/dead.rs\"] mod dead;";
        let repo = Repo::of(&[("src/lib.rs", ""), ("src/dead.rs", ""), ("tests/loom/src/lib.rs", borrows)]);
        assert_eq!(unreferenced(&repo).len(), 1);
    }

    #[test]
    fn files_of_tests_are_known_and_what_is_also_used_outside_is_not() {
        let repo = Repo::of(&[
            ("src/lib.rs", "#[cfg(test)] mod tests; #[cfg(test)]\n#[path = \"a.rs\"] mod again; mod a;"),
            ("src/tests.rs", "mod deep;"),
            ("src/tests/deep.rs", ""),
            ("src/a.rs", ""),
        ]);
        let files: Vec<String> = test_files(&repo).into_iter().collect();
        assert_eq!(files, ["src/tests.rs", "src/tests/deep.rs"]);
    }
}
