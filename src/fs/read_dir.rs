//! What is in a folder.
//!
//! Owns [`read_dir`] and [`read_dir_with_metadata`]. The ring has no op for it: entries are read by jobs of
//! the blocking pool, many at a time, so that a folder costs one trip to another thread per [`BATCH`] of
//! names and not one per name. Such a job may wait for the disk, and so can look at each entry with the one
//! system call that this takes; a core has to ask first whether the answer is at hand (metadata.rs).
#![forbid(unsafe_code)]

use super::metadata::by_name;
use super::{FileType, Metadata};
use crate::blocking;
use crate::sys::io::{read_names, stat_in};
use crate::task::JoinHandle;
use std::collections::VecDeque;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Entries that one job reads at least: about what one call gets.
const BATCH: usize = 1024;
/// Bytes that one call reads.
const CHUNK: usize = 32 * 1024;

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
    read_entries(path.as_ref(), false).await
}

/// As [`read_dir`], and looks at each entry as it is read, where that is cheapest: [`DirEntry::metadata`] has
/// its answer then, as of that moment, without a system call. For whoever wants the metadata of all or most
/// entries, as in a listing with sizes.
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// let (mut entries, mut bytes) = (ringwork::fs::read_dir_with_metadata("src").await?, 0);
/// while let Some(entry) = entries.next_entry().await? {
///     bytes += entry.metadata().await?.len();
/// }
/// println!("{bytes} bytes");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As of [`read_dir`]. That one entry cannot be looked at is said by its [`DirEntry::metadata`] alone.
pub async fn read_dir_with_metadata(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    read_entries(path.as_ref(), true).await
}

async fn read_entries(path: &Path, looks: bool) -> io::Result<ReadDir> {
    let path = path.to_owned();
    let opened = move || Reader::open(path, looks).map(Batch::read);
    let first = blocking::run(opened).await??;
    Ok(ReadDir { batch: first, job: None })
}

/// The entries of a folder; made by [`read_dir`] and [`read_dir_with_metadata`]. Dropping it closes the
/// folder, after the job that may be reading it, once its entries are gone as well.
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
    /// The kernel's; if the runtime ends, or no thread can be had. Behind each is the end of the folder,
    /// whatever is left.
    ///
    /// # Panics
    /// On a thread that is no core and has entered no runtime, where the next entries have to be read. Behind
    /// that is the end of the folder, too.
    pub async fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        if self.batch.read.is_empty()
            && let Some(rest) = self.batch.rest.take()
        {
            self.job = Some(blocking::spawn(|| Batch::read(rest))?);
        }
        if let Some(job) = &mut self.job {
            let read = job.await;
            self.job = None;
            self.batch = read.map_err(blocking::why)?;
        }
        self.batch.read.pop_front().transpose()
    }
}

/// A folder that is open.
struct Folder {
    /// As it was given.
    path: PathBuf,
    fd: Arc<OwnedFd>,
}

/// What reads a folder.
struct Reader {
    folder: Arc<Folder>,
    bytes: Vec<u8>,
    /// At each entry.
    looks: bool,
}

impl Reader {
    fn open(path: PathBuf, looks: bool) -> io::Result<Self> {
        let fd = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(&path)?;
        let folder = Arc::new(Folder { path, fd: Arc::new(fd.into()) });
        Ok(Self { folder, bytes: vec![0; CHUNK], looks })
    }

    /// Adds the entries that one call reads; false at the end.
    fn read(&mut self, into: &mut VecDeque<io::Result<DirEntry>>) -> io::Result<bool> {
        let len = match read_names(self.folder.fd.as_raw_fd(), &mut self.bytes) {
            // It has been removed, and nothing is left in it.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => 0,
            read => read?,
        };
        let mut bytes = &self.bytes[..len];
        while let Some((record, rest)) = Record::first(bytes) {
            bytes = rest;
            if ![c".", c".."].contains(&record.name) {
                let mut entry = DirEntry::new(&self.folder, &record);
                entry.seen = self.looks.then(|| Box::new(entry.look()));
                into.push_back(Ok(entry));
            }
        }
        Ok(len > 0)
    }
}

/// A `struct linux_dirent64` (`getdents64(2)`).
struct Record<'a> {
    ino: u64,
    /// `DT_*`.
    kind: u8,
    name: &'a CStr,
}

impl<'a> Record<'a> {
    /// The first of `bytes`, and what is behind it.
    fn first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (ino, behind) = bytes.split_first_chunk()?;
        let (_place, behind) = behind.split_first_chunk::<8>()?;
        let (len, behind) = behind.split_first_chunk()?;
        let (kind, _) = behind.split_first()?;
        let (record, rest) = bytes.split_at_checked(usize::from(u16::from_ne_bytes(*len)))?;
        let name = CStr::from_bytes_until_nul(record.get(offset_of!(libc::dirent64, d_name)..)?).ok()?;
        Some((Self { ino: u64::from_ne_bytes(*ino), kind: *kind, name }, rest))
    }
}

/// Entries that were read, and what is left.
struct Batch {
    read: VecDeque<io::Result<DirEntry>>,
    /// `None` if there is no more.
    rest: Option<Reader>,
}

impl Batch {
    fn read(mut reader: Reader) -> Self {
        let mut read = VecDeque::new();
        while read.len() < BATCH {
            match reader.read(&mut read) {
                Ok(true) => {}
                Ok(false) => return Self { read, rest: None },
                Err(error) => {
                    read.push_back(Err(error));
                    return Self { read, rest: None };
                }
            }
        }
        Self { read, rest: Some(reader) }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("read", &self.read.len()).finish_non_exhaustive()
    }
}

/// What is in a folder under one name. Keeps the folder open.
pub struct DirEntry {
    folder: Arc<Folder>,
    name: CString,
    ino: u64,
    /// `DT_*`.
    kind: u8,
    /// What was seen when it was read.
    seen: Option<Box<io::Result<Metadata>>>,
}

impl DirEntry {
    fn new(folder: &Arc<Folder>, record: &Record<'_>) -> Self {
        let (name, ino, kind) = (record.name.to_owned(), record.ino, record.kind);
        Self { folder: Arc::clone(folder), name, ino, kind, seen: None }
    }

    /// May wait for the disk.
    fn look(&self) -> io::Result<Metadata> {
        stat_in(self.folder.fd.as_raw_fd(), &self.name).map(Metadata::new)
    }

    /// The name within the folder.
    pub fn file_name(&self) -> OsString {
        OsString::from_vec(self.name.to_bytes().to_vec())
    }

    /// The folder's path as it was given, and the name.
    pub fn path(&self) -> PathBuf {
        self.folder.path.join(OsStr::from_bytes(self.name.to_bytes()))
    }

    /// What it is; a link is not followed. Most file systems say so with the name, and it costs nothing more;
    /// with one that does not, and no metadata that was read with it, this is a system call on the spot, and
    /// the core waits if the disk has to be asked: [`metadata`](Self::metadata) then keeps others from
    /// waiting.
    ///
    /// # Errors
    /// The kernel's.
    pub fn file_type(&self) -> io::Result<FileType> {
        // `DT_*` are the bits of a mode that tell the kind (`DTTOIF` of `dirent.h`).
        let kind = FileType::of_mode(u32::from(self.kind) << 12);
        if kind.is_known() {
            return Ok(kind);
        }
        Ok(self.seen().unwrap_or_else(|| self.look())?.file_type())
    }

    /// Its metadata; a link is not followed. Of what has this name in the folder that was read, whatever the
    /// folder is called by now; else as [`symlink_metadata`](super::symlink_metadata). If the folder is read
    /// by [`read_dir_with_metadata`], what was seen then, each time.
    ///
    /// # Errors
    /// The kernel's: ENOENT if the name is gone, …
    pub async fn metadata(&self) -> io::Result<Metadata> {
        if let Some(seen) = self.seen() {
            return seen;
        }
        by_name(Some(Arc::clone(&self.folder.fd)), self.name.clone(), libc::AT_SYMLINK_NOFOLLOW).await
    }

    /// What was seen when it was read, if it was looked at then.
    fn seen(&self) -> Option<io::Result<Metadata>> {
        let seen = self.seen.as_deref()?.as_ref();
        Some(
            seen.cloned()
                .map_err(|error| io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO))),
        )
    }

    /// The number of its inode.
    pub fn ino(&self) -> u64 {
        self.ino
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DirEntry").field(&self.path()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel writes it.
    fn record(ino: u64, kind: u8, name: &str) -> Vec<u8> {
        let len = (19 + name.len() + 1).next_multiple_of(8);
        let mut bytes = [&ino.to_ne_bytes()[..], &[0; 8], &(len as u16).to_ne_bytes()].concat();
        bytes.push(kind);
        bytes.extend_from_slice(name.as_bytes());
        bytes.resize(len, 0);
        bytes
    }

    #[test]
    fn records_are_read_one_after_the_other_and_a_torn_one_ends_them() {
        let bytes =
            [record(7, libc::DT_REG, "one"), record(1 << 40, libc::DT_UNKNOWN, "a longer name")].concat();
        let (first, rest) = Record::first(&bytes).unwrap();
        assert_eq!((first.ino, first.kind, first.name), (7, libc::DT_REG, c"one"));
        let (second, end) = Record::first(rest).unwrap();
        assert_eq!((second.ino, second.kind, second.name), (1 << 40, libc::DT_UNKNOWN, c"a longer name"));
        assert!(end.is_empty() && Record::first(end).is_none());
        assert!((0..rest.len()).all(|len| Record::first(&rest[..len]).is_none()));
    }

    #[test]
    fn an_entry_that_could_not_be_looked_at_says_so_each_time() {
        let folder = Reader::open("src".into(), false).unwrap().folder;
        let record = Record { ino: 1, kind: libc::DT_UNKNOWN, name: c"gone by now" };
        let mut entry = DirEntry::new(&folder, &record);
        entry.seen = Some(Box::new(entry.look()));
        for _ in 0..2 {
            assert_eq!(entry.seen().unwrap().unwrap_err().kind(), io::ErrorKind::NotFound);
            assert_eq!(entry.file_type().unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn the_kind_of_an_entry_that_does_not_tell_it_is_asked_for() {
        let mut reader = Reader::open("src".into(), false).unwrap();
        let mut entries = VecDeque::new();
        while reader.read(&mut entries).unwrap() {}
        for entry in entries {
            let mut entry = entry.unwrap();
            let told = entry.file_type().unwrap();
            entry.kind = libc::DT_UNKNOWN;
            assert_eq!(entry.file_type().unwrap(), told, "{entry:?}");
        }
    }
}
