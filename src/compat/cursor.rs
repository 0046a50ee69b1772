//! A file with a position, for the poll-shaped traits.
//!
//! Owns the position, at most one read and at most one write in flight. A file's own reads and writes name
//! their offset and may be in flight in any number; these traits have one position. Nothing is read ahead
//! beyond what a call asked for, so what others write is seen.
//!
//! # Files that give their bytes again
//! Regular files and block devices ([`File::gives_again`]). Here the position counts, so a read and a write
//! are never both under way.
//!
//! | read | what there is | a read | a write | a seek that moves |
//! |---|---|---|---|---|
//! | Idle | nothing | starts one, of no more than there is room for | starts | moves |
//! | InFlight | a read in flight | waits | drops it, which cancels it, and wakes who reads | the same |
//! | Unread | bytes read and not taken, at the position | takes them | drops them | drops them |
//!
//! While a write is in flight the position is already behind it, the read is Idle, and all wait: reads,
//! writes, seeks and flushes.
//!
//! # Others
//! FIFOs, terminals, most other devices: what was read is nowhere else. Here the two directions know nothing
//! of each other. A read waits for no write, which goes on by itself. A write leaves the read as it is, in
//! flight or unread. The position only counts what has passed. A seek fails where the kernel has none, and
//! else drops the read as above: who moves says where the next bytes are.
//!
//! # Flushes and errors
//! A flush waits for the write in flight and leaves reads alone. A write that fails is told once, by the next
//! write, flush or seek. A read that finds it out keeps the error for those.
//!
//! # Who is woken
//! One task may read while another writes (`tokio::io::split`), so two may wait: the last who read, and the
//! last who wrote, flushed or sought. For a read in flight only the first does; the read has its waker twice,
//! because one that is dropped must wake it. For a write in flight both may, and an op knows one waker. So a
//! write is polled with one that stands for both ([`Waiting`]). Rejected: to let each wake the other when it
//! finds the write completed, because one of them may be gone and not look.
#![forbid(unsafe_code)]

use crate::base::coop::{self, RestoreOnPending};
use crate::base::guard;
use crate::buf::{IoBuf, IoBufMut, Slice, spare};
use crate::fs::{File, OwnedRead, OwnedWrite};
use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, SeekFrom};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

/// Bytes per op: some page-cache copies' worth, and a bound for what a cursor holds.
const MOST: usize = 64 * 1024;

/// The last position that a file can have: in the kernel they are signed.
const LAST: u64 = i64::MAX as u64;

#[cold]
fn beyond() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no file has such a position")
}

/// A [`File`] with a position, for code written for the traits of tokio or futures.
///
/// Reads, writes and seeks go on at the position. Writes are taken when they are copied and go to the file in
/// order; flush waits for them and tells what went wrong. Dropped before, the last one still goes to the
/// file. One task may read while another one writes, as the halves of `tokio::io::split` do.
///
/// A file opened for appending is written at its end, wherever the position is. What has no position, such as
/// a FIFO or a terminal, is read and written as it comes: a read that was given up loses no bytes, whatever
/// is written then, and a seek is an error. All other character devices count as such, too, but that one may
/// seek in those that can; it drops what a read has brought that was given up.
///
/// A seek that is given up before it is done does not happen, once something else has begun. Only tokio's
/// `seek` and `stream_position` make it happen: before they begin they wait for the one that is under way,
/// and fail if that does.
pub struct FileCursor {
    file: File,
    at: u64,
    read: Read,
    write: Option<Write>,
    /// Of a write, and not told yet.
    failed: Option<io::Error>,
    waiting: Arc<Waiting>,
    /// Where a seek that has begun leads.
    #[cfg(feature = "tokio-io")]
    pub(super) seek: Option<SeekFrom>,
}

enum Read {
    Idle,
    /// The read, and who waits for it.
    InFlight(OwnedRead<Slice<Vec<u8>>>, Option<Waker>),
    /// The bytes, and how many of them were taken.
    Unread(Vec<u8>, usize),
}

struct Write {
    op: OwnedWrite<Slice<Vec<u8>>>,
    /// Where it goes.
    offset: u64,
}

/// On whose behalf a cursor is polled.
#[derive(Clone, Copy)]
enum Side {
    Reads,
    Writes,
}

/// Who waits for the write in flight: one of each side.
#[derive(Default)]
struct Waiting(Mutex<[Option<Waker>; 2]>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, [Option<Waker>; 2]> {
        // Nothing that could panic runs with it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, side: Side, waker: &Waker) {
        let waker = waker.clone();
        let before = self.lock()[side as usize].replace(waker);
        // Foreign code, like the clone: not under the lock.
        drop(before);
    }

    fn remove(&self, side: Side) {
        let before = self.lock()[side as usize].take();
        drop(before);
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let wakers = mem::take(&mut *self.lock());
        for waker in wakers.into_iter().flatten() {
            // Foreign code must not keep the other one asleep.
            guard::wake(waker);
        }
    }
}

impl FileCursor {
    /// A cursor at `position`, in bytes from the start. At one that no file can have, above `i64::MAX`, reads
    /// and writes fail.
    #[must_use]
    pub fn new(file: File, position: u64) -> Self {
        Self {
            file,
            at: position,
            read: Read::Idle,
            write: None,
            failed: None,
            waiting: Arc::default(),
            #[cfg(feature = "tokio-io")]
            seek: None,
        }
    }

    /// The file, for what needs no position.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where the next read or write begins, in bytes from the start.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Reads at most `room` bytes at the position and hands them to `put`, in one call.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        mut put: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        if room == 0 {
            return Poll::Ready(Ok(0));
        }
        self.forget_seek();
        if self.write.is_some() && self.file.gives_again() {
            ready!(self.poll_written(cx, Side::Reads));
        }
        loop {
            match &mut self.read {
                Read::Idle => {
                    let mut bytes = spare::take();
                    bytes.reserve(room.min(MOST));
                    let asked = bytes.slice_mut(..room.min(MOST));
                    self.read = Read::InFlight(self.file.owned_read(asked, self.at), None);
                }
                Read::InFlight(op, waits) => {
                    let unit = ready!(coop::poll_proceed(cx));
                    *waits = Some(cx.waker().clone());
                    let (result, bytes) = ready!(Pin::new(op).poll(cx));
                    unit.made_progress();
                    self.read = Read::Idle;
                    let n = result?;
                    self.read = Read::Unread(bytes.into_inner(), 0);
                    if n == 0 {
                        self.drop_read();
                        return Poll::Ready(Ok(0));
                    }
                }
                Read::Unread(bytes, taken) => {
                    let n = room.min(bytes.len() - *taken);
                    put(&bytes[*taken..*taken + n]);
                    *taken += n;
                    self.at = self.at.saturating_add(n as u64);
                    if *taken == bytes.len() {
                        self.drop_read();
                    }
                    return Poll::Ready(Ok(n));
                }
            }
        }
    }

    /// Takes bytes to write at the position, up to [`MOST`] of them.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.forget_seek();
        ready!(self.poll_flush(cx))?;
        let n = bufs.iter().fold(0, |n: usize, buf| n.saturating_add(buf.len())).min(MOST);
        if n == 0 {
            return Poll::Ready(Ok(0));
        }
        let end = self.at.checked_add(n as u64).filter(|end| *end <= LAST).ok_or_else(beyond)?;
        let mut bytes = spare::take();
        for buf in bufs {
            let room = MOST - bytes.len();
            bytes.extend_from_slice(&buf[..buf.len().min(room)]);
        }
        if self.file.gives_again() {
            self.drop_read();
        }
        self.write = Some(self.write(bytes.slice(..), self.at));
        self.at = end;
        // Submits it, whatever is left of the budget. What it comes to is for the next call, unless it is
        // there already, so nobody waits for it yet.
        let mut nobody = Context::from_waker(Waker::noop());
        let _ = coop::without_budget(|| self.poll_written(&mut nobody, Side::Writes));
        Poll::Ready(self.told(n))
    }

    /// Waits until the write in flight, if there is one, is with the kernel.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx, Side::Writes));
        Poll::Ready(self.told(()))
    }

    /// Moves the position; what was written before is written first.
    pub(super) fn poll_seek(&mut self, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        ready!(self.poll_flush(cx))?;
        if !self.file.has_position() {
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ESPIPE)));
        }
        let moved = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => {
                // Answered on the spot.
                let metadata = ready!(pin!(self.file.metadata()).poll(cx))?;
                let is_device = metadata.file_type().is_block_device();
                let end = if is_device { self.file.device_len()? } else { metadata.len() };
                end.checked_add_signed(by)
            }
        };
        let at = moved.filter(|at| *at <= LAST).ok_or_else(beyond)?;
        if at != self.at {
            self.drop_read();
            self.at = at;
        }
        Poll::Ready(Ok(at))
    }

    /// A seek that has begun (tokio's `start_seek`) and that nobody has waited for does not happen.
    pub(super) fn forget_seek(&mut self) {
        #[cfg(feature = "tokio-io")]
        {
            self.seek = None;
        }
    }

    /// Waits for the write in flight, if there is one. What has failed is kept in `failed`.
    fn poll_written(&mut self, cx: &mut Context<'_>, side: Side) -> Poll<()> {
        if self.write.is_none() {
            return Poll::Ready(());
        }
        // Once for all: the rest of a write that ended short is submitted at once.
        let mut unit = Some(ready!(coop::poll_proceed(cx)));
        while let Some(Write { op, offset }) = &mut self.write {
            let offset = *offset;
            // First, so that a completion that this poll does not see finds it.
            self.waiting.put(side, cx.waker());
            let both = Waker::from(Arc::clone(&self.waiting));
            let (result, bytes) = ready!(Pin::new(op).poll(&mut Context::from_waker(&both)));
            unit.take().into_iter().for_each(RestoreOnPending::made_progress);
            self.write = None;
            self.waiting.remove(side);
            both.wake();
            let rest = match result {
                Ok(n) if n == bytes.len() => {
                    spare::give_back(bytes.into_inner());
                    continue;
                }
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                result => result,
            };
            match rest {
                Ok(n) => {
                    let begin = bytes.begin() + n;
                    self.write = Some(self.write(bytes.into_inner().slice(begin..), offset + n as u64));
                }
                Err(error) => {
                    // What was not written is the caller's to write again, at the place where it belongs.
                    self.at -= bytes.len() as u64;
                    self.failed = Some(error);
                }
            }
        }
        Poll::Ready(())
    }

    /// The error of a write that nobody was told, or else `value`.
    fn told<T>(&mut self, value: T) -> io::Result<T> {
        self.failed.take().map_or(Ok(value), Err)
    }

    /// A write that is finished also if the cursor is dropped.
    fn write(&self, bytes: Slice<Vec<u8>>, offset: u64) -> Write {
        Write { op: self.file.owned_write(bytes, offset), offset }
    }

    /// Drops what is being read, or was read and not taken. Who waits for it reads anew.
    fn drop_read(&mut self) {
        match mem::replace(&mut self.read, Read::Idle) {
            Read::Idle => {}
            Read::Unread(bytes, _) => spare::give_back(bytes),
            Read::InFlight(op, waits) => {
                drop(op);
                waits.into_iter().for_each(guard::wake);
            }
        }
    }
}

impl fmt::Debug for FileCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at, .. } = self;
        f.debug_struct("FileCursor").field("file", file).field("at", at).finish_non_exhaustive()
    }
}
