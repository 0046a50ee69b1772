//! The tree that is walked: how it is made, and what a walk must have seen.

use std::fs;
use std::io;
use std::path::Path;

const FOLDERS: u64 = 64;
const FILES_EACH: u64 = 64;

/// Files in all.
pub(crate) const FILES: u64 = FOLDERS * FILES_EACH;

/// Makes the tree, unless it is there.
pub(crate) fn prepare(root: &Path) -> io::Result<()> {
    let made = root.join("made");
    if made.exists() {
        return Ok(());
    }
    for folder in 0..FOLDERS {
        // Every eighth lies in the one before it.
        let place = if folder % 8 == 7 {
            root.join(format!("folder-{}", folder - 1)).join(format!("folder-{folder}"))
        } else {
            root.join(format!("folder-{folder}"))
        };
        fs::create_dir_all(&place)?;
        for file in 0..FILES_EACH {
            fs::write(place.join(format!("file-{file}")), vec![b'x'; length(file)])?;
        }
    }
    // Not counted: it is no file of the walk, because nothing but folders lies at the top.
    fs::create_dir(made)
}

fn length(file: u64) -> usize {
    file as usize * 3
}

/// Fails unless a walk has seen all.
pub(crate) fn check(files: u64, bytes: u64) -> io::Result<()> {
    let all: u64 = FOLDERS * (0..FILES_EACH).map(|file| length(file) as u64).sum::<u64>();
    if (files, bytes) == (FILES, all) {
        return Ok(());
    }
    Err(io::Error::other(format!("a walk has seen {files} files of {FILES}, {bytes} bytes of {all}")))
}
