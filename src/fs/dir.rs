//! A directory whose opens the kernel confines.
#![forbid(unsafe_code)]

use super::open::c_path;
use super::open_cached::open_cached;
use super::ops::Open;
use super::{File, Metadata};
use crate::base::coop;
use crate::ring::op::Op;
use crate::sys::io::{clear_nonblock, open_how, stat_fd};
use std::ffi::{CStr, CString};
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
        let fd = Op::new(Open { dir: None, path, how, on_helper: false }).await?;
        Ok(Self { fd: Arc::new(fd) })
    }

    /// Opens what `path` names beneath this directory, for reading; may be a directory.
    ///
    /// On a core, if the kernel has the path cached, it is opened on the spot (`RESOLVE_CACHED`, Linux 5.12),
    /// else by the ring. A FIFO or device is opened without waiting for its other end; a file that another
    /// process has a lease on is waited for (`F_SETLEASE`, `fcntl(2)`).
    ///
    /// That the kernel has the path cached says nothing of the open itself: a file system of a network or of
    /// FUSE may have to ask somebody, and the core waits.
    ///
    /// # Errors
    /// EXDEV for a path that leads out; ENOENT, EACCES, ELOOP, …
    pub async fn open_file(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = c_path(path.as_ref())?;
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
        let beneath = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
        let fd = match open_cached(self.fd.as_raw_fd(), &path, open_how(flags, 0, beneath)).await {
            Some(opened) => opened?,
            None => self.walk(&path, flags, beneath).await?,
        };
        clear_nonblock(fd.as_raw_fd())?;
        Ok(File::from_fd(fd, false))
    }

    /// Opens by the ring. A name that is moved anywhere in the system amid a walk with `..` is EAGAIN: the
    /// kernel could not tell whether it was led out, and may be asked again (`openat2(2)`). So is a file that
    /// another process has a lease on (`F_SETLEASE`, `fcntl(2)`), however often it is asked for.
    async fn walk(&self, path: &CStr, flags: i32, resolve: u64) -> io::Result<OwnedFd> {
        let mut walks = 1;
        loop {
            match self.ask(path, flags, resolve).await {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && walks < WALKS => {
                    walks += 1;
                    let found = self.ask(path, libc::O_PATH | libc::O_CLOEXEC, resolve).await;
                    if let Ok(found) = found
                        && Metadata::new(stat_fd(found.as_raw_fd())?).is_file()
                    {
                        return open_found(found, flags & !libc::O_NONBLOCK, error).await;
                    }
                }
                walked => return walked,
            }
        }
    }

    async fn ask(&self, path: &CStr, flags: i32, resolve: u64) -> io::Result<OwnedFd> {
        let (how, path) = (Box::new(open_how(flags, 0, resolve)), path.to_owned());
        Op::new(Open { dir: Some(Arc::clone(&self.fd)), path, how, on_helper: false }).await
    }

    /// The directory's own metadata.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        let metadata = Metadata::new(stat_fd(self.fd.as_raw_fd())?);
        coop::consume_budget().await;
        Ok(metadata)
    }
}

/// Opens the file that a walk has found, of which it is known that it is a regular one. By its descriptor:
/// under its name there may be a FIFO by now, on which an open that may wait would wait without end. Without
/// `/proc` it is the error `else_error`.
async fn open_found(found: OwnedFd, flags: i32, else_error: io::Error) -> io::Result<OwnedFd> {
    let path = CString::new(format!("/proc/thread-self/fd/{}", found.as_raw_fd()))?;
    let how = Box::new(open_how(flags, 0, 0));
    // The op keeps `found` open.
    match Op::new(Open { dir: Some(Arc::new(found)), path, how, on_helper: false }).await {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Err(else_error),
        opened => opened,
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
