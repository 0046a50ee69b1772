//! What is in a folder.
//!
//! Owns [`read_dir`]. The ring has no op for it: entries are read by jobs of the blocking pool, many at a
//! time, so that a folder costs one trip to another thread per [`BATCH`] of names and not one per name.
#![forbid(unsafe_code)]

use super::{FileType, Metadata, symlink_metadata};
use crate::blocking;
use crate::task::JoinHandle;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Entries that one job reads: about what the standard library gets by one `getdents64(2)` of 32 KiB.
const BATCH: usize = 1024;

/// Reads a folder, in no order, without `.` and `..`.
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// let mut entries = ringwork::fs::read_dir("src").await?;
/// while let Some(entry) = entries.next_entry().await? {
///     println!("{:?}: {:?}", entry.file_name(), entry.file_type());
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The kernel's: ENOENT, ENOTDIR, EACCES, …
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref().to_owned();
    let opened = move || fs::read_dir(path).map(Batch::read);
    let first = blocking::spawn(opened).await.map_err(io::Error::from)??;
    Ok(ReadDir { batch: first, job: None })
}

/// The entries of a folder; made by [`read_dir`]. Dropping it closes the folder, after the job that may be
/// reading it.
#[derive(Debug)]
pub struct ReadDir {
    batch: Batch,
    /// A job reads the next batch.
    job: Option<JoinHandle<Batch>>,
}

impl ReadDir {
    /// The next entry; `None` at the end, and then always. Dropping the future loses none.
    ///
    /// # Errors
    /// The kernel's, each once; entries may come behind it. If the runtime ends, an error and then the end of
    /// the folder, whatever is left.
    pub async fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        if self.batch.read.is_empty()
            && let Some(rest) = self.batch.rest.take()
        {
            self.job = Some(blocking::spawn(|| Batch::read(rest)));
        }
        if let Some(job) = &mut self.job {
            let read = job.await;
            self.job = None;
            self.batch = read.map_err(io::Error::from)?;
        }
        self.batch.read.pop_front().transpose()
    }
}

/// Entries that were read, and what is left.
#[derive(Debug)]
struct Batch {
    read: VecDeque<io::Result<DirEntry>>,
    /// `None` if there is no more.
    rest: Option<fs::ReadDir>,
}

impl Batch {
    fn read(mut entries: fs::ReadDir) -> Self {
        let mut read = VecDeque::new();
        while read.len() < BATCH {
            match entries.next() {
                Some(entry) => read.push_back(entry.map(DirEntry)),
                None => return Self { read, rest: None },
            }
        }
        Self { read, rest: Some(entries) }
    }
}

/// What is in a folder under one name.
#[derive(Debug)]
pub struct DirEntry(fs::DirEntry);

impl DirEntry {
    /// The name within the folder.
    pub fn file_name(&self) -> OsString {
        self.0.file_name()
    }

    /// The folder's path as it was given, and the name.
    pub fn path(&self) -> PathBuf {
        self.0.path()
    }

    /// What it is; a link is not followed. Most file systems say so with the name, and it costs nothing more;
    /// with one that does not, this is a system call.
    ///
    /// # Errors
    /// The kernel's.
    pub fn file_type(&self) -> io::Result<FileType> {
        self.0.file_type().map(FileType::from)
    }

    /// Its metadata; a link is not followed. As [`symlink_metadata`](super::symlink_metadata).
    ///
    /// # Errors
    /// The kernel's: ENOENT if the name is gone, …
    pub async fn metadata(&self) -> io::Result<Metadata> {
        symlink_metadata(self.path()).await
    }

    /// The number of its inode.
    pub fn ino(&self) -> u64 {
        std::os::unix::fs::DirEntryExt::ino(&self.0)
    }
}
