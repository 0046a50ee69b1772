//! Which commit a tree of sources is at. The build script takes this file, too: what is measured is of the
//! commit it was built from, whatever has become of the tree since.

use std::path::Path;
use std::process::Command;

/// What the programs under measurement are made from, in the root of the workspace.
pub(crate) const SOURCES: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "benches/Cargo.toml",
    "benches/go",
    "benches/src",
    "examples/file_server",
    "macros",
    "src",
];

/// The commit of the tree in `root`, with a word if those sources are not as it has them. Unknown where there
/// is no git, or the tree lies in somebody else's repository.
pub(crate) fn of(root: &Path) -> String {
    let is_root = git(root, &["rev-parse", "--show-toplevel"])
        .is_some_and(|top| root.canonicalize().is_ok_and(|root| root == Path::new(&top)));
    let hash = if is_root { git(root, &["rev-parse", "--short=12", "HEAD"]) } else { None };
    let Some(hash) = hash else { return "unknown".to_owned() };
    let status = ["status", "--porcelain", "--untracked-files=no", "--"];
    let changed = git(root, &[&status[..], &SOURCES].concat()).is_none_or(|list| !list.is_empty());
    if changed { format!("{hash}, changed") } else { hash }
}

/// What git says to `args` in `root`, unless it fails.
pub(crate) fn git(root: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
