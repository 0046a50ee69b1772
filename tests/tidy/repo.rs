//! The repository as the checks see it: every Rust file scanned, every other text file that is
//! checked.
//!
//! Paths are relative to the root and use `/`. A repository can also be made of given texts, which
//! is how the checks are themselves tested. Build output and hidden folders are not part of it.

use crate::scan::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What is read in: Rust as source, these as plain text; of all other files only the name is known.
const TEXT_ENDINGS: [&str; 2] = [".md", ".toml"];

/// The one hidden folder that documents may link to.
const CI_FOLDER: &str = ".ci";

#[derive(Default)]
pub(crate) struct Repo {
    sources: BTreeMap<String, Source>,
    texts: BTreeMap<String, String>,
    names: BTreeSet<String>,
}

impl Repo {
    /// Reads the package this test belongs to and its neighbours in the workspace.
    pub(crate) fn load() -> Repo {
        let mut repo = Repo::default();
        repo.walk(Path::new(env!("CARGO_MANIFEST_DIR")), "");
        repo
    }

    /// A repository of the given files, for the tests of the checks.
    pub(crate) fn of(files: &[(&str, &str)]) -> Repo {
        let mut repo = Repo::default();
        for (path, text) in files {
            repo.add(path, text);
        }
        repo
    }

    fn walk(&mut self, folder: &Path, prefix: &str) {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{prefix}: {error}"));
        for entry in entries {
            let entry = entry.expect("a folder entry can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().expect("a folder entry has a type");
            let path = format!("{prefix}{name}");
            if name == "target" || (name.starts_with('.') && name != CI_FOLDER) {
                continue;
            } else if kind.is_dir() {
                self.names.insert(path.clone());
                self.walk(&entry.path(), &format!("{path}/"));
            } else if kind.is_file() && is_read(&name) {
                let text = fs::read_to_string(entry.path());
                self.add(&path, &text.unwrap_or_else(|error| panic!("{path}: {error}")));
            } else {
                self.names.insert(path);
            }
        }
    }

    fn add(&mut self, path: &str, text: &str) {
        self.names.insert(path.to_string());
        if path.ends_with(".rs") {
            let source = Source::new(path, text);
            self.sources.insert(path.to_string(), source);
        } else {
            self.texts.insert(path.to_string(), text.to_string());
        }
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.values()
    }

    pub(crate) fn source(&self, path: &str) -> Option<&Source> {
        self.sources.get(path)
    }

    /// The files that are not Rust, as path and text.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    pub(crate) fn is_file(&self, path: &str) -> bool {
        self.sources.contains_key(path) || (self.names.contains(path) && !self.is_folder(path))
    }

    /// Whether the path names a file or a folder; the root itself is the empty path.
    pub(crate) fn exists(&self, path: &str) -> bool {
        path.is_empty() || self.names.contains(path) || self.is_folder(path)
    }

    fn is_folder(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        let next = self.names.range(prefix.clone()..).next();
        next.is_some_and(|name| name.starts_with(&prefix))
    }
}

fn is_read(name: &str) -> bool {
    name.ends_with(".rs") || TEXT_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// The folder of a file; empty at the root.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// `relative` as seen from `folder`, without `.` and `..`. `None` if it leaves the repository.
pub(crate) fn join(folder: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[test]
fn paths_are_joined_within_the_repository() {
    assert_eq!(join("a/b", "../c/./d.rs").as_deref(), Some("a/c/d.rs"));
    assert_eq!(join("", "x").as_deref(), Some("x"));
    assert_eq!(join("a", "../../x"), None);
    assert_eq!((parent("a/b.rs"), parent("b.rs")), ("a", ""));
}

#[test]
fn files_and_folders_are_told_apart() {
    let repo = Repo::of(&[("a/b/c.rs", ""), ("a/b.md", "")]);
    assert!(repo.is_file("a/b.md") && repo.is_file("a/b/c.rs"));
    assert!(!repo.is_file("a/b") && repo.exists("a/b") && repo.exists(""));
    assert!(!repo.exists("a/c"));
}
