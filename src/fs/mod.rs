//! L5: files through the ring.
//!
//! Owns [`File`] with positional reads and writes, [`Dir`] whose opens the kernel confines beneath it,
//! metadata, and what changes names. What has no op (listing a directory, `set_len` before Linux 6.9) goes to
//! the blocking pool.
//! There is no file cursor: every read and write names its offset, so any number may be in flight.
//!
//! Which ops run on the core and which on a kernel helper thread differs by file system
//! (kernel-notes/io-wq-punts.md): buffered writes on ext4 and everything on tmpfs leave the core.
#![forbid(unsafe_code)]

mod cached;
mod dir;
mod file;
mod metadata;
mod names;
mod open;
mod ops;
mod read_dir;
mod transfer;
mod whole;

pub use dir::Dir;
pub use file::File;
pub use metadata::{Metadata, metadata, symlink_metadata};
pub use names::{
    create_dir, create_dir_all, hard_link, remove_dir, remove_dir_all, remove_file, rename, symlink,
};
pub use open::OpenOptions;
pub use read_dir::{DirEntry, ReadDir, read_dir};
#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
pub(crate) use transfer::{OwnedRead, OwnedWrite};
pub use transfer::{ReadAt, WriteAt};
pub use whole::{read, read_to_string, write};
