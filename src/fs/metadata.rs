//! What `statx(2)` says about a file, how it is asked by name, and how permissions are set.
//!
//! The ring gives every `statx` by name to a helper thread (kernel-notes/io-wq-punts.md), which costs many
//! times the look-up itself. Where the kernel has all names of the path in its cache, and the file system is
//! one that answers from memory, the answer is there on the spot. (Which one it is, is asked of the file
//! system: one of a network, or of FUSE, may take its time, and the core waits.) That it has the names is
//! said by an open that needs no right and opens nothing (`O_PATH` with `RESOLVE_CACHED`, Linux 5.12;
//! kernel-notes/openat2-beneath.md). Else the ring walks the path.
#![forbid(unsafe_code)]

use super::FileType;
use super::open::c_path;
use super::open_cached::is_on_core;
use super::ops::{Stat, start_of_walk};
use crate::base::coop;
use crate::blocking;
use crate::ring::op::Op;
use crate::sys::io::{empty_stat, is_on_local_file_system, open_at, open_how, stat_fd};
use std::ffi::{CStr, CString};
use std::fmt;
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Metadata of what a path names; symbolic links are followed.
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// assert!(ringwork::fs::metadata("Cargo.toml").await?.is_file());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The kernel's: ENOENT, EACCES, …
pub async fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    by_name(None, c_path(path.as_ref())?, 0).await
}

/// As [`metadata`], of a symbolic link itself if that is what the path names.
///
/// # Errors
/// The kernel's.
pub async fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    by_name(None, c_path(path.as_ref())?, libc::AT_SYMLINK_NOFOLLOW).await
}

/// Sets the permissions of what a path names; symbolic links are followed (`chmod(2)`). On the blocking pool,
/// since the ring has no op for it; it is done although the future be dropped after its first poll.
///
/// ```
/// use ringwork::fs;
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("ringwork-permissions-{}", std::process::id()));
/// # fs::write(&path, "").await?;
/// let mut permissions = fs::metadata(&path).await?.permissions();
/// permissions.set_readonly(true);
/// fs::set_permissions(&path, permissions).await?;
/// assert!(fs::metadata(&path).await?.permissions().readonly());
/// # fs::remove_file(&path).await
/// # }
/// ```
///
/// # Errors
/// The kernel's: EPERM for a file of somebody else, EROFS, ENOENT, …
///
/// # Panics
/// Outside of a runtime.
pub async fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    blocking::run(move || std::fs::set_permissions(path, permissions)).await?
}

/// Metadata of what `path` names, from `dir` if it is relative; `flags` are `AT_*`.
pub(super) async fn by_name(dir: Option<Arc<OwnedFd>>, path: CString, flags: i32) -> io::Result<Metadata> {
    if is_on_core()
        && let Some(stat) = in_cache(start_of_walk(&dir), &path, flags)
    {
        coop::consume_budget().await;
        return Ok(Metadata::new(stat));
    }
    let stat = Op::new(Stat { dir, path, flags, stat: Box::new(empty_stat()) }).await?;
    Ok(Metadata::new(*stat))
}

/// The answer, if the kernel has it at hand. It has not if a name is not in its cache; no descriptor may be
/// left, or the flag be unknown; and any other error is for the op to find.
fn in_cache(dir: RawFd, path: &CStr, flags: i32) -> Option<libc::statx> {
    let nofollow = if flags & libc::AT_SYMLINK_NOFOLLOW != 0 { libc::O_NOFOLLOW } else { 0 };
    let how = open_how(libc::O_PATH | libc::O_CLOEXEC | nofollow, 0, libc::RESOLVE_CACHED);
    let fd = open_at(dir, path, &how).ok()?;
    // That the names are cached says nothing of the rest.
    is_on_local_file_system(fd.as_raw_fd()).then(|| stat_fd(fd.as_raw_fd()).ok())?
}

/// Metadata of a file or directory.
#[derive(Clone)]
pub struct Metadata(libc::statx);

impl Metadata {
    pub(super) fn new(stat: libc::statx) -> Self {
        Self(stat)
    }

    /// What kind of thing it is.
    pub fn file_type(&self) -> FileType {
        FileType::of_mode(self.mode())
    }

    /// Size in bytes.
    #[allow(
        clippy::len_without_is_empty,
        reason = "a size, named as in std; an empty file is nothing special"
    )]
    pub fn len(&self) -> u64 {
        self.0.stx_size
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type().is_file()
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type().is_dir()
    }

    /// Whether it is a symbolic link (only if it was not followed).
    pub fn is_symlink(&self) -> bool {
        self.file_type().is_symlink()
    }

    /// Permission and type bits.
    pub fn mode(&self) -> u32 {
        u32::from(self.0.stx_mode)
    }

    /// Permissions, as std has them and [`set_permissions`] takes them.
    pub fn permissions(&self) -> Permissions {
        Permissions::from_mode(self.mode())
    }

    /// User who owns it.
    pub fn uid(&self) -> u32 {
        self.0.stx_uid
    }

    /// Group that owns it.
    pub fn gid(&self) -> u32 {
        self.0.stx_gid
    }

    /// How many names it has.
    pub fn nlink(&self) -> u64 {
        u64::from(self.0.stx_nlink)
    }

    /// How much of the device it takes, in units of 512 bytes.
    pub fn blocks(&self) -> u64 {
        self.0.stx_blocks
    }

    /// Inode number.
    pub fn ino(&self) -> u64 {
        self.0.stx_ino
    }

    /// Device, as `makedev(3)` packs it.
    pub fn dev(&self) -> u64 {
        libc::makedev(self.0.stx_dev_major, self.0.stx_dev_minor)
    }

    /// Last change of the content.
    ///
    /// # Errors
    /// If the file system does not know it.
    pub fn modified(&self) -> io::Result<SystemTime> {
        time(self.0.stx_mask & libc::STATX_MTIME, self.0.stx_mtime)
    }

    /// Last access.
    ///
    /// # Errors
    /// If the file system does not know it.
    pub fn accessed(&self) -> io::Result<SystemTime> {
        time(self.0.stx_mask & libc::STATX_ATIME, self.0.stx_atime)
    }

    /// Birth.
    ///
    /// # Errors
    /// If the file system does not know it.
    pub fn created(&self) -> io::Result<SystemTime> {
        time(self.0.stx_mask & libc::STATX_BTIME, self.0.stx_btime)
    }
}

fn time(known: u32, at: libc::statx_timestamp) -> io::Result<SystemTime> {
    if known == 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let seconds = Duration::from_secs(at.tv_sec.unsigned_abs());
    let base = match at.tv_sec >= 0 {
        true => SystemTime::UNIX_EPOCH.checked_add(seconds),
        false => SystemTime::UNIX_EPOCH.checked_sub(seconds),
    };
    let time = base.and_then(|base| base.checked_add(Duration::from_nanos(u64::from(at.tv_nsec))));
    time.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata")
            .field("mode", &self.mode())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
