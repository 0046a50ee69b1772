//! How a folder is made.
#![forbid(unsafe_code)]

use super::names::make_dir;
use crate::blocking;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Options for making folders: with all above, with another mode.
///
/// ```
/// use ringwork::fs::{DirBuilder, metadata};
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// # let folder = std::env::temp_dir().join(format!("ringwork-dir-builder-{}", std::process::id()));
/// let keys = folder.join("keys");
/// DirBuilder::new().recursive(true).mode(0o700).create(&keys).await?;
/// assert_eq!(metadata(&keys).await?.mode() & 0o777, 0o700);
/// # ringwork::fs::remove_dir_all(&folder).await
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `create`"]
pub struct DirBuilder {
    recursive: bool,
    mode: u32,
}

impl Default for DirBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl DirBuilder {
    /// One folder, with mode 0o777 less the umask.
    pub const fn new() -> Self {
        Self { recursive: false, mode: 0o777 }
    }

    /// With all above that are not there, of the same mode; one that is there is no error.
    pub const fn recursive(mut self, recursive: bool) -> Self {
        self.recursive = recursive;
        self
    }

    /// The mode of folders that are made, less the umask.
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Makes the folder: an op of the ring, or with all above a job of the blocking pool. It is done although
    /// the future be dropped after its first poll.
    ///
    /// # Errors
    /// As [`create_dir`](super::create_dir) or [`create_dir_all`](super::create_dir_all).
    ///
    /// # Panics
    /// Outside of a runtime.
    pub async fn create(&self, path: impl AsRef<Path>) -> io::Result<()> {
        if !self.recursive {
            return make_dir(path.as_ref(), self.mode).await;
        }
        let (path, mode) = (path.as_ref().to_owned(), self.mode);
        let create = move || std::fs::DirBuilder::new().recursive(true).mode(mode).create(path);
        blocking::run(create).await?
    }
}
