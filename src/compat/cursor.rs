//! A file with a position, for the poll-shaped traits.
//!
//! Owns the position and the one op in flight. A file's own reads and writes name their offset and may be in
//! flight in any number; these traits have one position, so they have one op at a time.
//!
//! | state | what there is | read | write | flush, seek |
//! |---|---|---|---|---|
//! | Idle | nothing | starts one, of no more than there is room for | copies, starts, is done | done |
//! | Reading | a read in flight | waits | drops it, which cancels it, and writes | drops it |
//! | Unread | bytes read and not taken, at the position | takes them | drops them, writes | drops them |
//! | Writing | a write in flight, behind which the position is already | waits | waits | waits |
//!
//! A write that fails is told by the next call of any kind, once. Nothing is read ahead beyond what a call
//! asked for, so what others write is seen.
#![forbid(unsafe_code)]

use crate::base::coop;
use crate::buf::{IoBuf, IoBufMut, Slice, spare};
use crate::fs::{File, OwnedRead, OwnedWrite};
use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, SeekFrom};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

/// Bytes per op: some page-cache copies' worth, and a bound for what a cursor holds.
const MOST: usize = 64 * 1024;

/// A [`File`] with a position, for code written for the traits of tokio or futures.
///
/// Reads, writes and seeks go on at the position. Writes are taken when they are copied and go to the file in
/// order; flush waits for them and tells what went wrong. Dropped before, the last one still goes to the
/// file, unless the kernel takes only a part of it.
///
/// A file opened for appending is written at its end, wherever the position is.
pub struct FileCursor {
    file: File,
    at: u64,
    state: State,
    /// Where a seek that has begun leads.
    #[cfg(feature = "tokio-io")]
    pub(super) seek: Option<SeekFrom>,
}

enum State {
    Idle,
    Reading(OwnedRead<Slice<Vec<u8>>>),
    /// The bytes, and how many of them were taken.
    Unread(Vec<u8>, usize),
    /// The write, and where it goes.
    Writing(OwnedWrite<Slice<Vec<u8>>>, u64),
}

impl FileCursor {
    /// A cursor at `position`, in bytes from the start.
    #[must_use]
    pub fn new(file: File, position: u64) -> Self {
        Self {
            file,
            at: position,
            state: State::Idle,
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
        loop {
            match &mut self.state {
                State::Writing(..) => ready!(self.poll_flush(cx))?,
                State::Idle => {
                    let mut bytes = spare::take();
                    bytes.reserve(room.min(MOST));
                    let asked = bytes.slice_mut(..room.min(MOST));
                    self.state = State::Reading(self.file.owned_read(asked, self.at));
                }
                State::Reading(op) => {
                    let unit = ready!(coop::poll_proceed(cx));
                    let (result, bytes) = ready!(Pin::new(op).poll(cx));
                    unit.made_progress();
                    self.state = State::Idle;
                    let n = result?;
                    self.state = State::Unread(bytes.into_inner(), 0);
                    if n == 0 {
                        self.forget_unread();
                        return Poll::Ready(Ok(0));
                    }
                }
                State::Unread(bytes, taken) => {
                    let n = room.min(bytes.len() - *taken);
                    put(&bytes[*taken..*taken + n]);
                    *taken += n;
                    self.at += n as u64;
                    if *taken == bytes.len() {
                        self.forget_unread();
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
        ready!(self.poll_flush(cx))?;
        let mut bytes = spare::take();
        for buf in bufs {
            let n = buf.len().min(MOST - bytes.len());
            bytes.extend_from_slice(&buf[..n]);
        }
        let n = bytes.len();
        if n == 0 {
            spare::give_back(bytes);
            return Poll::Ready(Ok(0));
        }
        let offset = self.at;
        self.state = State::Writing(self.write(bytes.slice(..), offset), offset);
        self.at += n as u64;
        // Submits it, whatever is left of the budget. What it comes to is for the next call, unless it is
        // there already.
        match coop::without_budget(|| self.poll_flush(cx)) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(n)),
        }
    }

    /// Waits until the write in flight, if there is one, is with the kernel; drops what was read and not
    /// taken.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let State::Writing(op, offset) = &mut self.state {
            let offset = *offset;
            let unit = ready!(coop::poll_proceed(cx));
            let (result, bytes) = ready!(Pin::new(op).poll(cx));
            unit.made_progress();
            self.state = State::Idle;
            let all = bytes.len();
            let moved = match result {
                Ok(0) if all > 0 => Err(io::ErrorKind::WriteZero.into()),
                moved => moved,
            };
            match moved {
                Err(error) => {
                    // What was not written is the caller's to write again, at the place where it belongs.
                    self.at = offset;
                    return Poll::Ready(Err(error));
                }
                Ok(n) if n == all => spare::give_back(bytes.into_inner()),
                Ok(n) => {
                    let (offset, begin) = (offset + n as u64, bytes.begin() + n);
                    let rest = bytes.into_inner().slice(begin..);
                    self.state = State::Writing(self.write(rest, offset), offset);
                }
            }
        }
        self.forget_unread();
        Poll::Ready(Ok(()))
    }

    /// Moves the position; what was written before is written first.
    pub(super) fn poll_seek(&mut self, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        ready!(self.poll_flush(cx))?;
        let moved = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => {
                // Answered on the spot.
                let metadata = ready!(pin!(self.file.metadata()).poll(cx))?;
                metadata.len().checked_add_signed(by)
            }
        };
        let before_the_start = || io::Error::new(io::ErrorKind::InvalidInput, "a seek to before the start");
        self.at = moved.ok_or_else(before_the_start)?;
        Poll::Ready(Ok(self.at))
    }

    /// A write that is finished also if the cursor is dropped.
    fn write(&self, bytes: Slice<Vec<u8>>, offset: u64) -> OwnedWrite<Slice<Vec<u8>>> {
        self.file.owned_write(bytes, offset)
    }

    fn forget_unread(&mut self) {
        if let State::Unread(bytes, _) = std::mem::replace(&mut self.state, State::Idle) {
            spare::give_back(bytes);
        }
    }
}

impl fmt::Debug for FileCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at, .. } = self;
        f.debug_struct("FileCursor").field("file", file).field("at", at).finish_non_exhaustive()
    }
}
