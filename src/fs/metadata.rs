//! What `statx(2)` says about a file.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

/// Metadata of a file or directory.
#[derive(Clone)]
pub struct Metadata(libc::statx);

impl Metadata {
    pub(super) fn new(stat: libc::statx) -> Self {
        Self(stat)
    }

    fn kind(&self) -> u32 {
        u32::from(self.0.stx_mode) & libc::S_IFMT
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
        self.kind() == libc::S_IFREG
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind() == libc::S_IFDIR
    }

    /// Whether it is a symbolic link (only if it was not followed).
    pub fn is_symlink(&self) -> bool {
        self.kind() == libc::S_IFLNK
    }

    /// Permission and type bits.
    pub fn mode(&self) -> u32 {
        u32::from(self.0.stx_mode)
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
