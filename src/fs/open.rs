//! How a file is opened.
#![forbid(unsafe_code)]

use super::File;
use super::fifo::open_by_name;
use crate::sys::io::open_how;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Options and flags for opening a file; names and meaning as in [`std::fs::OpenOptions`].
///
/// ```no_run
/// use ringwork::fs::OpenOptions;
/// # async fn example() -> std::io::Result<()> {
/// let log = OpenOptions::new().write(true).create(true).open("data.log").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `open`"]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    mode: u32,
    flags: i32,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// Nothing allowed yet; files are created with mode 0o666, less the umask.
    pub const fn new() -> Self {
        Self {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            mode: 0o666,
            flags: 0,
        }
    }

    /// Allows reading.
    pub const fn read(mut self, read: bool) -> Self {
        self.read = read;
        self
    }

    /// Allows writing.
    pub const fn write(mut self, write: bool) -> Self {
        self.write = write;
        self
    }

    /// Writes go to the end of the file, whatever their offset (`O_APPEND`).
    pub const fn append(mut self, append: bool) -> Self {
        self.append = append;
        self
    }

    /// Empties the file.
    pub const fn truncate(mut self, truncate: bool) -> Self {
        self.truncate = truncate;
        self
    }

    /// Creates the file if it is not there.
    pub const fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Creates the file and fails if it is there.
    pub const fn create_new(mut self, create_new: bool) -> Self {
        self.create_new = create_new;
        self
    }

    /// The mode of a file that is created, less the umask. Bits that say what kind of file it is are ignored.
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// More `O_*` flags of `open(2)`, for example `libc::O_DIRECT`. Those for the access (`O_ACCMODE`) are
    /// ignored.
    pub const fn custom_flags(mut self, flags: i32) -> Self {
        self.flags = flags;
        self
    }

    fn to_flags(&self) -> io::Result<i32> {
        let access = match (self.read, self.write || self.append) {
            (true, false) => libc::O_RDONLY,
            (false, true) => libc::O_WRONLY,
            (true, true) => libc::O_RDWR,
            (false, false) => return Err(contradiction("a file is opened to read, to write or to append")),
        };
        let changes = self.truncate || self.create || self.create_new;
        // A file that is new has nothing to empty.
        let empties = self.truncate && !self.create_new;
        if changes && !(self.write || self.append) {
            return Err(contradiction(
                "a file that is to be created or emptied is opened to write or append",
            ));
        }
        if empties && self.append {
            return Err(contradiction("a file that is to be emptied is opened to write, not to append"));
        }
        let mut flags = access | libc::O_CLOEXEC | (self.flags & !libc::O_ACCMODE);
        for (wanted, flag) in [
            (self.append, libc::O_APPEND),
            (empties, libc::O_TRUNC),
            (self.create, libc::O_CREAT),
            (self.create_new, libc::O_CREAT | libc::O_EXCL),
        ] {
            if wanted {
                flags |= flag;
            }
        }
        if flags & libc::O_PATH != 0 {
            // `open(2)` ignores all others beside it, and `openat2(2)` refuses them.
            flags &= libc::O_PATH | libc::O_CLOEXEC | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        }
        Ok(flags)
    }

    /// Opens the file. Dropping the future closes what was opened. A FIFO is opened once somebody has opened
    /// its other end, as with std; with `O_NONBLOCK` (see [`custom_flags`](Self::custom_flags)) it is not
    /// waited for. Where more than two of a process wait at a time, the others are told late: for reading
    /// with the first byte or the end, for writing some 20 ms after a reader has come. A device is opened
    /// without waiting (a serial line for its carrier); its reads and writes wait all the same.
    ///
    /// # Errors
    /// The kernel's; [`io::ErrorKind::InvalidInput`] for options that contradict each other.
    pub async fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let flags = self.to_flags()?;
        let creates = flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE;
        // The kernel refuses others here (`openat2(2)`), and ignores them in `open(2)`.
        let mode = if creates { self.mode & 0o7777 } else { 0 };
        let fd = open_by_name(path.as_ref(), open_how(flags, mode, 0)).await?;
        Ok(File::from_fd(fd, flags & libc::O_DIRECT != 0))
    }
}

fn contradiction(rule: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, rule)
}

/// A path for the kernel.
pub(super) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the path contains a NUL byte"))
}
