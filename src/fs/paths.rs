//! What paths lead to.
//!
//! Owns [`canonicalize`], [`read_link`] and [`try_exists`]. The ring has no op that reads a link, so the
//! first two are jobs of the blocking pool; whether something is there is asked as metadata is.
#![forbid(unsafe_code)]

use super::metadata;
use crate::blocking;
use std::io;
use std::path::{Path, PathBuf};

/// The absolute path without links, `.` and `..` that leads to the same (`realpath(3)`). On the blocking
/// pool.
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// let path = ringwork::fs::canonicalize("src/../Cargo.toml").await?;
/// assert!(path.is_absolute() && path.ends_with("Cargo.toml"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The kernel's: ENOENT if anything on the way is not there, ELOOP, EACCES, …
///
/// # Panics
/// Outside of a runtime.
pub async fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref().to_owned();
    blocking::run(move || std::fs::canonicalize(path)).await?
}

/// What a symbolic link says, which need not be there (`readlink(2)`). On the blocking pool.
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// # let folder = std::env::temp_dir().join(format!("ringwork-read-link-{}", std::process::id()));
/// # ringwork::fs::create_dir(&folder).await?;
/// let link = folder.join("current");
/// ringwork::fs::symlink("release-7", &link).await?;
/// assert_eq!(ringwork::fs::read_link(&link).await?, std::path::Path::new("release-7"));
/// # ringwork::fs::remove_dir_all(&folder).await
/// # }
/// ```
///
/// # Errors
/// The kernel's: EINVAL if it is no link, ENOENT, …
///
/// # Panics
/// Outside of a runtime.
pub async fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref().to_owned();
    blocking::run(move || std::fs::read_link(path)).await?
}

/// Whether a path leads to something; a link to nothing does not. Asked as [`metadata`] is: on the spot or by
/// the ring.
///
/// The answer may be old when it comes: who wants to create a file that is not there opens it with
/// [`OpenOptions::create_new`](super::OpenOptions::create_new).
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// assert!(ringwork::fs::try_exists("Cargo.toml").await?);
/// assert!(!ringwork::fs::try_exists("no such file").await?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Whatever keeps the kernel from an answer: EACCES for a folder on the way, ENOTDIR, ELOOP, …
pub async fn try_exists(path: impl AsRef<Path>) -> io::Result<bool> {
    match metadata(path).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
