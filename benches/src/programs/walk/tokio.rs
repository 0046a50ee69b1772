//! Folders of tokio: `tokio::fs`, as its users write it, and what its documentation advises where that costs
//! too much: few blocking calls that do much each.

use std::io;
use std::path::PathBuf;

use tokio::fs;
use tokio::task::spawn_blocking;

use super::std::look;
use super::{Seen, Walk};
use crate::programs::local::tokio::LocalRuntime;

impl Walk for LocalRuntime {
    type Runtime = LocalRuntime;

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

/// One blocking call for each folder.
pub(crate) struct Batched;

impl Walk for Batched {
    type Runtime = LocalRuntime;

    async fn look(folder: PathBuf) -> io::Result<Seen> {
        spawn_blocking(move || look(&folder)).await.map_err(io::Error::other)?
    }
}
