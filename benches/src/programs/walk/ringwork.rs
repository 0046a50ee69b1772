//! Folders of ringwork.

use std::io;
use std::path::PathBuf;

use ringwork::fs;

use super::{Seen, Walk};
use crate::programs::local::ringwork::Ringwork;

impl Walk for Ringwork {
    type Runtime = Ringwork;

    async fn look(folder: PathBuf) -> io::Result<Seen> {
        let (mut seen, mut entries) = (Seen::default(), fs::read_dir(folder).await?);
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
}
