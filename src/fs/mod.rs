//! Files: [`File`] with positional reads and writes, [`Dir`] whose opens the kernel confines beneath it,
//! metadata, and what changes names.
//!
//! All goes through the ring, or is answered by the kernel's caches on the spot. (An open of a cached path
//! runs on the core either way. On a file system of a network, or of FUSE, it may have to ask somebody, and
//! the core waits.) What has no op (listing a directory, permissions, reading a link), `set_len`, whose op is
//! new, and [`write()`] behind its open go to the blocking pool. There is no file cursor: every read and
//! write names its offset, so any number may be in flight.
//!
//! Which ops run on the core and which on a kernel helper thread differs by file system
//! (kernel-notes/io-wq-punts.md): buffered writes on ext4 and everything on tmpfs leave the core.
//!
//! # When a future is dropped
//! Before its first poll nothing has happened. After that
//! - a read, a write, a sync or an allocation ([`File`], [`read`], [`write()`]) is cancelled. What the kernel
//!   has done by then stays: of what was written a part may be in the file, and one that was to be emptied
//!   first may be empty. What must go on needs a task of its own;
//! - what changes names ([`rename`], [`remove_file`], [`create_dir_all`], [`symlink`], …) and what the
//!   blocking pool does ([`copy`], [`canonicalize`], …) goes on to its end, if the runtime does not end
//!   before.
//!
//! # Panics
//! What needs an op or the blocking pool panics on a thread that is no core and has entered no runtime
//! ([`Handle::enter`](crate::runtime::Handle::enter)).
//!
//! # For the house
//! L5. Owns all that is named above.
#![forbid(unsafe_code)]

mod cached;
mod dir;
mod dir_builder;
mod fifo;
mod file;
mod file_type;
mod metadata;
mod names;
mod open;
mod open_cached;
mod ops;
mod paths;
mod read_dir;
mod transfer;
mod whole;

pub use dir::Dir;
pub use dir_builder::DirBuilder;
pub use file::File;
pub use file_type::FileType;
pub use metadata::{Metadata, metadata, set_permissions, symlink_metadata};
pub use names::{
    create_dir, create_dir_all, hard_link, remove_dir, remove_dir_all, remove_file, rename, symlink,
};
pub use open::OpenOptions;
pub use paths::{canonicalize, read_link, try_exists};
pub use read_dir::{DirEntry, ReadDir, read_dir, read_dir_with_metadata};
#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
pub(crate) use transfer::{OwnedRead, OwnedWrite};
pub use transfer::{ReadAt, WriteAt};
pub use whole::{copy, read, read_to_string, write};
