//! One thread and the standard library: what the system calls of a walk cost. It waits for each, so it is a
//! yardstick, not a competitor: one cold folder would stop it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Seen;
use crate::meter::Meter;
use crate::plan::Plan;
use crate::tree;

/// Walks as planned and prints what it cost per file.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let root: PathBuf = plan.need("root")?;
    let mut meter = Meter::new(plan.times()?);
    loop {
        let begun = Instant::now();
        let (mut to_do, mut files, mut bytes) = (vec![root.clone()], 0, 0);
        while let Some(folder) = to_do.pop() {
            let seen = look(&folder)?;
            to_do.extend(seen.folders);
            files += seen.files;
            bytes += seen.bytes;
        }
        tree::check(files, bytes)?;
        if !meter.tick(tree::FILES, Some(begun)) {
            return meter.print();
        }
    }
}

/// Looks at a folder and at every file in it.
pub(super) fn look(folder: &Path) -> io::Result<Seen> {
    let mut seen = Seen::default();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            seen.folders.push(entry.path());
        } else {
            seen.files += 1;
            seen.bytes += entry.metadata()?.len();
        }
    }
    Ok(seen)
}
