//! What kind of thing a name stands for.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs;
use std::os::unix::fs::FileTypeExt;

/// The kind of a file, of [`Metadata::file_type`](super::Metadata::file_type) and
/// [`DirEntry::file_type`](super::DirEntry::file_type); the methods are those of [`std::fs::FileType`] and of
/// its extension for Unix.
///
/// ```
/// use ringwork::fs;
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// let kind = fs::metadata("src").await?.file_type();
/// assert!(kind.is_dir() && !kind.is_symlink());
/// assert!(fs::symlink_metadata("/proc/self").await?.file_type().is_symlink());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileType(u32);

impl FileType {
    /// Of the bits that `statx(2)` calls the mode.
    pub(super) fn of_mode(mode: u32) -> Self {
        Self(mode & libc::S_IFMT)
    }

    /// Whether it is one of those below.
    pub(super) fn is_known(self) -> bool {
        let known =
            [libc::S_IFREG, libc::S_IFDIR, libc::S_IFLNK, libc::S_IFBLK, libc::S_IFCHR, libc::S_IFIFO];
        known.contains(&self.0) || self.is_socket()
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.0 == libc::S_IFREG
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.0 == libc::S_IFDIR
    }

    /// Whether it is a symbolic link (only if it was not followed).
    pub fn is_symlink(&self) -> bool {
        self.0 == libc::S_IFLNK
    }

    /// Whether it is a block device.
    pub fn is_block_device(&self) -> bool {
        self.0 == libc::S_IFBLK
    }

    /// Whether it is a character device.
    pub fn is_char_device(&self) -> bool {
        self.0 == libc::S_IFCHR
    }

    /// Whether it is a named pipe.
    pub fn is_fifo(&self) -> bool {
        self.0 == libc::S_IFIFO
    }

    /// Whether it is a socket.
    pub fn is_socket(&self) -> bool {
        self.0 == libc::S_IFSOCK
    }
}

impl From<fs::FileType> for FileType {
    fn from(kind: fs::FileType) -> Self {
        let kinds = [
            (kind.is_file(), libc::S_IFREG),
            (kind.is_dir(), libc::S_IFDIR),
            (kind.is_symlink(), libc::S_IFLNK),
            (kind.is_block_device(), libc::S_IFBLK),
            (kind.is_char_device(), libc::S_IFCHR),
            (kind.is_fifo(), libc::S_IFIFO),
            (kind.is_socket(), libc::S_IFSOCK),
        ];
        Self(kinds.iter().find_map(|(is, bits)| is.then_some(*bits)).unwrap_or(0))
    }
}

impl fmt::Debug for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            libc::S_IFREG => "File",
            libc::S_IFDIR => "Dir",
            libc::S_IFLNK => "Symlink",
            libc::S_IFBLK => "BlockDevice",
            libc::S_IFCHR => "CharDevice",
            libc::S_IFIFO => "Fifo",
            libc::S_IFSOCK => "Socket",
            _ => "Unknown",
        })
    }
}
