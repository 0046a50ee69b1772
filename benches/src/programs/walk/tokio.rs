//! Folders of tokio: `tokio::fs`, as its users write it.

use std::io;
use std::path::PathBuf;

use tokio::fs;

use super::{Seen, Walk};
use crate::programs::local::tokio::LocalRuntime;

impl Walk for LocalRuntime {
    async fn look(folder: PathBuf) -> io::Result<Seen> {
        let (mut seen, mut entries) = (Seen::default(), fs::read_dir(folder).await?);
        while let Some(entry) = entries.next_entry().await? {
            if entry.file_type().await?.is_dir() {
                seen.folders.push(entry.path());
            } else {
                seen.files += 1;
                seen.bytes += entry.metadata().await?.len();
            }
        }
        Ok(seen)
    }
}
