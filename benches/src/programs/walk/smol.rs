//! Folders of smol: `smol::fs`, and one job of its pool for each folder.

use std::io;
use std::path::PathBuf;

use futures_lite::StreamExt;
use smol::{fs, unblock};

use super::std::look;
use super::{Seen, Walk};
use crate::programs::local::smol::Smol;

impl Walk for Smol {
    type Runtime = Smol;

    async fn look(folder: PathBuf) -> io::Result<Seen> {
        let (mut seen, mut entries) = (Seen::default(), fs::read_dir(folder).await?);
        while let Some(entry) = entries.try_next().await? {
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

/// One job of the pool for each folder.
pub(crate) struct Batched;

impl Walk for Batched {
    type Runtime = Smol;

    async fn look(folder: PathBuf) -> io::Result<Seen> {
        unblock(move || look(&folder)).await
    }
}
