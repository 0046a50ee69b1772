//! A directory whose opens the kernel confines.
#![forbid(unsafe_code)]

use super::open::c_path;
use super::ops::Open;
use super::{File, Metadata};
use crate::ring::op::Op;
use crate::sys::io::{clear_nonblock, open_at, open_how, stat_fd};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Arc;

/// How often a walk is begun again that the kernel gave up because names were being moved.
const WALKS: u32 = 100;

/// An open directory.
///
/// [`Dir::open_file`] resolves a path beneath it: `..`, absolute paths and symbolic links that lead out are
/// refused by the kernel (`RESOLVE_BENEATH`, `openat2(2)`, Linux 5.6; kernel-notes/openat2-beneath.md),
/// whatever changes meanwhile.
#[derive(Clone, Debug)]
pub struct Dir {
    fd: Arc<OwnedFd>,
}

impl Dir {
    /// Opens a directory.
    ///
    /// # Errors
    /// The kernel's; ENOTDIR if it is none.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let how = Box::new(open_how(flags, 0, 0));
        let path = c_path(path.as_ref())?;
        let fd = Op::new(Open { dir: None, path, how }).await?;
        Ok(Self { fd: Arc::new(fd) })
    }

    /// Opens what `path` names beneath this directory, for reading; may be a directory.
    ///
    /// If the kernel has the path cached it is opened on the spot (`RESOLVE_CACHED`, Linux 5.12), else by the
    /// ring. A FIFO or device is opened without waiting for its other end.
    ///
    /// # Errors
    /// EXDEV for a path that leads out; ENOENT, EACCES, ELOOP, …
    pub async fn open_file(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = c_path(path.as_ref())?;
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
        let beneath = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
        let cached = open_how(flags, 0, beneath | libc::RESOLVE_CACHED);
        let fd = match open_at(self.fd.as_raw_fd(), &path, &cached) {
            // Not cached; or a kernel before 5.12, which does not know the flag.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINVAL)) => {
                self.walk(&path, flags, beneath).await?
            }
            opened => opened?,
        };
        clear_nonblock(fd.as_raw_fd())?;
        Ok(File::from_fd(fd, false))
    }

    /// Opens by the ring. A name that is moved anywhere in the system amid a walk with `..` is EAGAIN: the
    /// kernel could not tell whether it was led out, and may be asked again (`openat2(2)`).
    async fn walk(&self, path: &CStr, flags: i32, resolve: u64) -> io::Result<OwnedFd> {
        let mut walks = 1;
        loop {
            let (how, path) = (Box::new(open_how(flags, 0, resolve)), path.to_owned());
            match Op::new(Open { dir: Some(Arc::clone(&self.fd)), path, how }).await {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && walks < WALKS => walks += 1,
                walked => return walked,
            }
        }
    }

    /// The directory's own metadata.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        stat_fd(self.fd.as_raw_fd()).map(Metadata::new)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Dir {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
