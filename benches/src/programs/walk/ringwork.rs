//! Folders of ringwork: each file asked for when it is come to, and with what the listing brought.

use std::io;
use std::path::PathBuf;

use ringwork::fs::{self, ReadDir};

use super::{Seen, Walk};
use crate::programs::local::ringwork::Ringwork;

impl Walk for Ringwork {
    type Runtime = Ringwork;

    async fn look(folder: PathBuf) -> io::Result<Seen> {
        look(fs::read_dir(folder).await?).await
    }
}

/// The metadata comes with the names.
pub(crate) struct Batched;

impl Walk for Batched {
    type Runtime = Ringwork;

    async fn look(folder: PathBuf) -> io::Result<Seen> {
        look(fs::read_dir_with_metadata(folder).await?).await
    }
}

async fn look(mut entries: ReadDir) -> io::Result<Seen> {
    let mut seen = Seen::default();
    while let Some(entry) = entries.next_entry().await? {
        if entry.file_type()?.is_dir() {
            seen.folders.push(entry.path());
        } else {
            seen.files += 1;
            seen.bytes += entry.metadata().await?.len();
        }
    }
    Ok(seen)
}
