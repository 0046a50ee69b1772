//! `File`.
#![forbid(unsafe_code)]

use super::cached::Cached;
use super::ops::{Allocate, Sync};
#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
use super::transfer::{self, OwnedRead, OwnedWrite};
use super::transfer::{ReadAt, WriteAt};
use super::whole::PIECE;
use super::{Metadata, OpenOptions};
use crate::base::coop;
use crate::blocking;
use crate::buf::{self, IoBuf, IoBufMut};
use crate::io::{FileSource, sealed};
use crate::ring::lease::Leasable;
use crate::ring::op::InFlight;
use crate::ring::{begin_use, with_current};
use crate::sys;
use crate::sys::page_cache::PageCache;
use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::ftruncate;
use std::fs::Permissions;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;

/// An open file.
///
/// `Send + Sync`; every method takes `&self` and names its offset, so any number of reads and writes may be
/// in flight. The descriptor closes when the last clone is gone and the last op has completed; if the last
/// clone is dropped on a thread other than the core that has just used it, then within two turns of that
/// core, or before it sleeps: a core that is held up by one long poll keeps it open for as long. So does the
/// core of an op that a helper thread of the kernel has done (kernel-notes/file-of-an-op.md). Until then a
/// lock on it is held, and a program that was written to it is busy (`ETXTBSY`), but for what
/// [`write()`](super::write()) has written.
///
/// ```
/// use ringwork::fs::File;
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// let file = File::open("Cargo.toml").await?;
/// let (n, buf) = file.read_at(Vec::with_capacity(9), 0).await;
/// assert_eq!((n?, &buf[..]), (9, &b"[package]"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct File {
    fd: Arc<Leasable<OwnedFd>>,
    cached: Cached,
    page_cache: PageCache,
}

impl File {
    /// `direct`: the file is read past the page cache.
    pub(super) fn from_fd(fd: OwnedFd, direct: bool) -> Self {
        let cached = Cached::default();
        cached.set(!direct);
        Self { fd: Leasable::new(fd), cached, page_cache: PageCache::new(direct) }
    }

    /// Opens for reading.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().read(true).open(path).await
    }

    /// Opens for writing; creates the file or empties it.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path).await
    }

    /// Creates a file that is not there, for reading and writing.
    ///
    /// ```
    /// use ringwork::fs::File;
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() -> std::io::Result<()> {
    /// # let path = std::env::temp_dir().join(format!("ringwork-create-new-{}", std::process::id()));
    /// let file = File::create_new(&path).await?;
    /// file.write_all_at("content", 0).await.0?;
    /// assert_eq!(File::create_new(&path).await.unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    /// # ringwork::fs::remove_file(&path).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// The kernel's: EEXIST, …
    pub async fn create_new(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path).await
    }

    /// Options for opening.
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Takes a std file over.
    pub fn from_std(file: std::fs::File) -> Self {
        let direct = sys::io::is_direct(file.as_raw_fd());
        Self::from_fd(file.into(), direct)
    }

    /// Reads once at `offset`, behind what the buffer holds; `Ok(0)` is the end of the file (or a buffer of
    /// no capacity). A `Vec` is appended to, so give one `with_capacity`; an array is overwritten.
    ///
    /// What the page cache holds is copied by the core, all of it at once: a read of many MiB holds up other
    /// tasks for half a millisecond for each. [`read_exact_at`](Self::read_exact_at) goes piece by piece.
    ///
    /// # Errors
    /// The kernel's. [`io::ErrorKind::InvalidInput`] if the buffer is full, as `vec![0; n]` is.
    pub fn read_at<B: IoBufMut>(&self, buf: B, offset: u64) -> ReadAt<'_, B> {
        ReadAt::new(&self.fd, &self.cached, buf, offset)
    }

    /// Whether reads of up to 64 KiB may be answered from the page cache by a system call on the spot (the
    /// default), as long as that is found to be worth while. With `false` every read is an op of the ring.
    /// For this handle and for clones made of it later. A file opened with `O_DIRECT` begins with `false`:
    /// there the call would wait for the disk (kernel-notes/read-nowait.md).
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() -> std::io::Result<()> {
    /// let file = ringwork::fs::File::open("Cargo.toml").await?;
    /// file.cached_reads(false);
    /// assert_eq!(file.read_at(Vec::with_capacity(9), 0).await.0?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cached_reads(&self, on: bool) {
        self.cached.set(on);
    }

    /// Writes once at `offset`.
    ///
    /// # Errors
    /// The kernel's, for example ENOSPC.
    pub fn write_at<B: IoBuf>(&self, buf: B, offset: u64) -> WriteAt<'_, B> {
        WriteAt::new(&self.fd, &self.cached, buf, offset)
    }

    /// As [`File::read_at`], for one who keeps the op beside the file.
    #[cfg(any(feature = "tokio-io", feature = "futures-io"))]
    pub(crate) fn owned_read<B: IoBufMut>(&self, buf: B, offset: u64) -> OwnedRead<B> {
        transfer::owned_read(&self.fd, &self.cached, buf, offset)
    }

    /// Before its first op: it closes with its last handle or op, whatever another core is doing.
    pub(super) fn never_lease(&self) {
        self.fd.never_lease();
    }

    /// As [`File::write_at`], likewise; it goes on when the op is dropped.
    #[cfg(any(feature = "tokio-io", feature = "futures-io"))]
    pub(crate) fn owned_write<B: IoBuf>(&self, buf: B, offset: u64) -> OwnedWrite<B> {
        transfer::owned_write(&self.fd, &self.cached, buf, offset)
    }

    /// Whether the same bytes are given to whoever reads them again, as by regular files and block devices.
    pub(crate) fn gives_again(&self) -> bool {
        self.cached.gives_again(self.fd.as_raw_fd())
    }

    /// Bytes of the block device that it is.
    #[cfg(any(feature = "tokio-io", feature = "futures-io"))]
    pub(crate) fn device_len(&self) -> io::Result<u64> {
        sys::io::device_len(self.fd.as_raw_fd())
    }

    /// Whether it is one in which one may seek.
    #[cfg(any(feature = "tokio-io", feature = "futures-io"))]
    pub(crate) fn has_position(&self) -> bool {
        sys::io::has_position(self.fd.as_raw_fd())
    }

    /// Writes all of it on this thread, which waits.
    pub(super) fn write_all_now(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        sys::io::write_all_at(self.fd.as_raw_fd(), bytes, offset)
    }

    /// Reads at `offset` until the buffer is full: a `Vec` to its capacity, which may be more than was asked
    /// of it (`slice_mut(..n)` of it reads `n` bytes). Piece by piece: other tasks run in between, however
    /// long it is.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends before; as [`File::read_at`].
    pub async fn read_exact_at<B: IoBufMut>(&self, buf: B, offset: u64) -> (io::Result<()>, B) {
        if let Some(answer) = buf::without_room(&buf) {
            return (answer.map(drop), buf);
        }
        let (begin, end) = (buf.fill_from(), buf.capacity());
        let (mut buf, mut at) = (buf, begin);
        // Past the page cache nobody copies, and a device is faster with one large read.
        let in_pieces = end - begin > PIECE && !sys::io::is_direct(self.fd.as_raw_fd());
        let most = if in_pieces { PIECE } else { end - begin };
        while at < end {
            let piece = buf.slice_mut(at..end.min(at + most));
            let (read, part) = self.read_at(piece, offset.saturating_add((at - begin) as u64)).await;
            buf = part.into_inner();
            match read {
                Ok(0) => return (Err(io::ErrorKind::UnexpectedEof.into()), buf),
                Ok(n) => at += n,
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    /// Writes the whole buffer at `offset`. Dropping the future cancels it; a part may be written.
    ///
    /// # Errors
    /// As [`File::write_at`]; some of the buffer may have been written.
    pub async fn write_all_at<B: IoBuf>(&self, buf: B, offset: u64) -> (io::Result<()>, B) {
        let (mut buf, mut at) = (buf, 0);
        while at < buf.len() {
            let (written, part) = self.write_at(buf.slice(at..), offset.saturating_add(at as u64)).await;
            buf = part.into_inner();
            match written {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buf),
                Ok(n) => at += n,
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    /// Waits until content and metadata are on the device (`fsync(2)`). Writes must have completed before.
    /// Dropping the future cancels it: what is on the device is not known then.
    ///
    /// # Errors
    /// The device's; after EIO the fate of earlier writes is unknown (`fsync(2)`).
    pub async fn sync_all(&self) -> io::Result<()> {
        self.sync(false).await
    }

    /// As [`File::sync_all`], but only with the metadata needed to read the content back (`fdatasync(2)`).
    ///
    /// # Errors
    /// As [`File::sync_all`].
    pub async fn sync_data(&self) -> io::Result<()> {
        self.sync(true).await
    }

    /// Size, times and kind. Answered on the spot: the kernel has them, but for a network file system or
    /// FUSE, where it may have to ask, and the core waits.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        let metadata = Metadata::new(sys::io::stat_fd(self.fd.as_raw_fd())?);
        self.cached.see(&metadata);
        coop::consume_budget().await;
        Ok(metadata)
    }

    /// Cuts or extends the file.
    ///
    /// # Errors
    /// The kernel's; [`io::ErrorKind::InvalidInput`] for a length beyond that of any file. Runs on the
    /// blocking pool (the op is there from Linux 6.9 only, and runs on a helper thread).
    pub async fn set_len(&self, len: u64) -> io::Result<()> {
        let len = i64::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.on_the_pool(move |file| ftruncate(file, len)).await
    }

    /// Sets its permissions (`fchmod(2)`), on the blocking pool. It is done although the future be dropped
    /// after its first poll.
    ///
    /// ```
    /// use std::{fs::Permissions, os::unix::fs::PermissionsExt};
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() -> std::io::Result<()> {
    /// # let path = std::env::temp_dir().join(format!("ringwork-fchmod-{}", std::process::id()));
    /// let file = ringwork::fs::File::create(&path).await?;
    /// file.set_permissions(Permissions::from_mode(0o600)).await?;
    /// assert_eq!(file.metadata().await?.mode() & 0o777, 0o600);
    /// # ringwork::fs::remove_file(&path).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// The kernel's: EPERM for a file of somebody else, EROFS, …
    ///
    /// # Panics
    /// Outside of a runtime.
    pub async fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(permissions.mode());
        self.on_the_pool(move |file| fchmod(file, mode)).await
    }

    /// Makes a call that may wait for the disk. On this very descriptor: to close another one of the file
    /// would give up all record locks that the process has on it (kernel-notes/record-locks.md).
    async fn on_the_pool<F>(&self, call: F) -> io::Result<()>
    where
        F: Fn(BorrowedFd<'_>) -> nix::Result<()> + Send + 'static,
    {
        let file = Arc::clone(&self.fd);
        let call = move || loop {
            match call(file.as_fd()) {
                Err(Errno::EINTR) => {}
                done => return done.map_err(io::Error::from),
            }
        };
        blocking::run(call).await?
    }

    /// One more handle of the open file, as `clone` gives it: for code that was written for tokio. No
    /// descriptor is made.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() -> std::io::Result<()> {
    /// let file = ringwork::fs::File::open("Cargo.toml").await?;
    /// let other = file.try_clone().await?;
    /// drop(file);
    /// assert_eq!(other.read_at(Vec::with_capacity(9), 0).await.0?, 9);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// None.
    pub async fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }

    /// Makes sure that writes within `offset..offset + len` find room (`fallocate(2)`); extends the file.
    ///
    /// # Errors
    /// ENOSPC, EOPNOTSUPP, …
    pub async fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        InFlight::begin(&waker, |ring| Allocate { fd: begin_use(ring, &self.fd), offset, len }).await
    }

    async fn sync(&self, data_only: bool) -> io::Result<()> {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        InFlight::begin(&waker, |ring| Sync { fd: begin_use(ring, &self.fd), data_only }).await
    }
}

/// As [`File::from_std`].
impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> Self {
        Self::from_std(file)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        with_current(|ring| {
            if let Some(ring) = ring {
                ring.leases().leave(&self.fd);
            }
        });
    }
}

impl sealed::Sealed for File {}

impl FileSource for File {
    fn descriptor(&self) -> &Arc<Leasable<OwnedFd>> {
        &self.fd
    }

    fn op_flags(&self) -> u8 {
        self.cached.op_flags(self.fd.as_raw_fd())
    }

    fn page_cache(&self) -> &PageCache {
        &self.page_cache
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::inbox::Inbox;
    use crate::ring::backend::Wait;
    use crate::ring::{enter, stub};
    use crate::sys::sqe::{Cqe, opcode};
    use std::future::Future;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::task::{Context, Waker};

    type Call<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + 'a>>;

    #[test]
    fn what_was_interrupted_on_a_helper_thread_goes_out_again_on_the_file_that_it_had() {
        let (ring, kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
        let _entered = enter(Rc::clone(&ring));
        let file = File::from_std(std::fs::File::open("Cargo.toml").unwrap());
        file.cached_reads(false);
        let calls: [(u8, Call<'_>); 4] = [
            (opcode::READ, Box::pin(async { file.read_at([0; 4], 0).await.0.map(drop) })),
            (opcode::WRITE, Box::pin(async { file.write_at("text", 0).await.0.map(drop) })),
            (opcode::FSYNC, Box::pin(file.sync_all())),
            (opcode::FALLOCATE, Box::pin(file.allocate(0, 4))),
        ];
        let mut cx = Context::from_waker(Waker::noop());
        for (opcode, mut call) in calls {
            for res in [-libc::EINTR, -512, 0] {
                assert!(call.as_mut().poll(&mut cx).is_pending());
                ring.enter(Wait::No);
                let taken = kernel.taken.take();
                let ops: Vec<_> = taken.iter().filter(|sqe| sqe.opcode == opcode).collect();
                assert_eq!((ops.len(), ops[0].fd, ring.in_flight()), (1, file.as_raw_fd(), 1));
                kernel.completed.borrow_mut().push(Cqe { user_data: ops[0].user_data, res, flags: 0 });
                ring.reap(&mut Vec::new());
            }
            assert!(matches!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
        }
        assert_eq!(ring.in_flight(), 0);
        ring.leases().give_back();
        assert_eq!(Arc::strong_count(&file.fd), 1, "none of them has the file any more");
    }
}
