//! The two halves of every op with a buffer: one the kernel fills, one it reads.
//!
//! Owns the step from a completion's byte count to a buffer's length, so that the rooms above need no unsafe
//! code. An [`Inward`] or [`Outward`] is part of an operation, moves into the cell with it, and is described
//! there.

use crate::base::guard::contained;
use crate::buf::{self, IoBuf, IoBufMut};
use crate::sys;
use crate::sys::sqe::{Cqe, Sqe};
use libc::{EAGAIN, EINTR, ENOBUFS, ENOMEM};
use std::io;
use std::os::fd::RawFd;

/// The most one op is asked to move: the kernel's own limit is just below 2 GiB (`read(2)`).
const MOST: usize = 1 << 30;

#[inline]
pub(super) fn asked(len: usize) -> u32 {
    len.min(MOST) as u32
}

/// A buffer the kernel writes into.
#[derive(Debug)]
pub(crate) struct Inward<B> {
    buf: B,
    asked: u32,
}

impl<B: IoBufMut> Inward<B> {
    /// Reads as much as the buffer has room for.
    pub(crate) fn new(buf: B) -> Self {
        Self { buf, asked: 0 }
    }

    /// Points `sqe` at the room in the buffer. The buffer is in its final place.
    pub(crate) fn describe(&mut self, sqe: Sqe) -> Sqe {
        self.asked = asked(buf::room(&self.buf));
        sqe.at(buf::landing(&mut self.buf), self.asked)
    }

    /// Where in the buffer a read lands.
    pub(crate) fn lands_at(&self) -> usize {
        self.buf.fill_from()
    }

    /// How many bytes a read would ask for.
    pub(crate) fn room(&self) -> usize {
        buf::room(&self.buf)
    }

    /// The result and the buffer, grown by what the kernel has written.
    #[inline(always)]
    pub(crate) fn finish(mut self, cqe: Cqe) -> (io::Result<usize>, B) {
        let result = cqe.result();
        if let Ok(n) = result {
            assert!(n <= self.asked as usize, "the kernel reads no more than was asked");
            // SAFETY: this is the completion of the op that `describe` pointed at this buffer (an `Inward` is
            // part of one operation, and a cell hands an operation its own CQE): the kernel has written `n`
            // bytes there.
            unsafe { buf::landed(&mut self.buf, n) };
        }
        (result, self.buf)
    }
}

/// Reads into `buf` on the spot, if the page cache holds all that there is room for, or the file ends before.
/// After a part it asks once more which of the two it was, if `gives_again` says that the file gives the same
/// bytes to whoever reads them again. One that does not (a tunnel's read takes a packet) has given a part.
///
/// # Errors
/// EAGAIN if it does not: the buffer is as it was, but for bytes behind where a read lands (`fill_from`).
/// Others of the kernel's. Nothing was taken from a file that does not give it again.
pub(crate) fn read_now<B: IoBufMut>(
    file: RawFd,
    buf: &mut B,
    offset: u64,
    gives_again: impl FnOnce() -> bool,
) -> io::Result<usize> {
    let (start, room) = (buf::landing(buf), buf::room(buf));
    // SAFETY: `room` bytes may be written where a read lands.
    let mut n = unsafe { sys::io::read_now(file, start, room, offset) }?;
    if n > 0 && n < room && gives_again() {
        // SAFETY: `n` of the `room` bytes are read.
        let rest =
            unsafe { sys::io::read_now(file, start.add(n), room - n, offset.saturating_add(n as u64)) };
        n += rest?;
    }
    // SAFETY: the kernel has written `n` bytes there.
    unsafe { buf::landed(buf, n) };
    Ok(n)
}

/// A buffer the kernel reads from.
#[derive(Debug)]
pub(crate) struct Outward<B> {
    buf: B,
    /// Bytes at its end that no op has moved.
    left: usize,
}

impl<B: IoBuf> Outward<B> {
    /// Writes the buffer's bytes.
    pub(crate) fn new(buf: B) -> Self {
        let left = buf.len();
        Self { buf, left }
    }

    /// Points `sqe` at the bytes that are left. The buffer is in its final place.
    pub(crate) fn describe(&mut self, sqe: Sqe) -> Sqe {
        self.describe_part(sqe, MOST)
    }

    /// Points `sqe` at the next `most` bytes of those that are left. The buffer is in its final place.
    #[inline]
    pub(crate) fn describe_part(&mut self, sqe: Sqe, most: usize) -> Sqe {
        let bytes = self.buf.as_slice();
        let rest = &bytes[bytes.len() - self.left..];
        sqe.at(rest.as_ptr(), rest.len().min(most) as u32)
    }

    /// Gives a socket on the spot what it takes without waiting. What a send is then told, if it is over: all
    /// has gone, or an error that an op would not be told again. `None` if an op has to move what is left.
    pub(crate) fn send_now(&mut self, socket: RawFd) -> Option<io::Result<usize>> {
        let bytes = self.buf.as_slice();
        let rest = &bytes[bytes.len() - self.left..];
        told_now(&mut self.left, sys::io::send_now(socket, rest))
    }

    /// The buffer.
    pub(crate) fn into_inner(self) -> B {
        self.buf
    }

    /// Notes what one op of several has moved; true if something is left and it is worth another op.
    #[inline]
    pub(crate) fn goes_on(&mut self, cqe: Cqe) -> bool {
        goes_on(&mut self.left, cqe)
    }

    /// Bytes that were not noted as moved.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Whether some of the buffer was noted as moved; also if the buffer does not say how long it is.
    #[cold]
    pub(crate) fn has_begun(&self) -> bool {
        let mut begun = true;
        contained(|| begun = self.left < self.buf.len());
        begun
    }

    /// Whether all of the buffer was noted as moved.
    pub(crate) fn is_whole(&self) -> bool {
        self.left == 0
    }

    /// The sum of what was noted, or the error of an op that came to nothing; and the buffer.
    #[inline]
    pub(crate) fn sum(self, cqe: Cqe) -> (io::Result<usize>, B) {
        let done = self.buf.len() - self.left;
        let result = if done > 0 { Ok(done) } else { cqe.result() };
        (result, self.buf)
    }

    /// As [`sum`](Self::sum), for who asks for all or nothing: the error of the last op comes before what was
    /// moved, because a socket tells an error once.
    #[inline]
    pub(crate) fn all(self, cqe: Cqe) -> (io::Result<usize>, B) {
        let done = self.buf.len() - self.left;
        (cqe.result().map(|_| done), self.buf)
    }

    /// The result of a single op and the buffer.
    #[inline(always)]
    pub(crate) fn finish(self, cqe: Cqe) -> (io::Result<usize>, B) {
        (cqe.result(), self.buf)
    }
}

/// Takes what was sent on the spot off what is `left`, and says what the send is told if it is over.
#[inline]
pub(super) fn told_now(left: &mut usize, sent: io::Result<usize>) -> Option<io::Result<usize>> {
    match sent {
        Ok(n) => {
            *left = left.checked_sub(n).expect("the kernel moves no more than was asked");
            (*left == 0).then_some(Ok(n))
        }
        Err(error) if is_of_the_moment(&error) => None,
        Err(error) => Some(Err(error)),
    }
}

/// Whether what a send on the spot is told is of the system or the moment. What is of the socket is told
/// once, and an op would be told something else.
pub(crate) fn is_of_the_moment(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EAGAIN | EINTR | ENOBUFS | ENOMEM))
}

/// Whether an op was interrupted on a helper thread, as by a stop of the process that then goes on, where
/// nobody restarts it as with a system call (EINTR, or ERESTARTSYS, which is 512;
/// kernel-notes/cancel-and-close.md). If it was cancelled it goes on no further (ring/mod.rs).
#[inline]
pub(crate) fn was_interrupted(cqe: Cqe) -> bool {
    [-EINTR, -512].contains(&cqe.res)
}

/// Whether an op came to nothing in a way that says nothing about the socket, and is worth another try: it
/// was interrupted, or (EAGAIN) the kernel gave up although nobody had asked it not to wait
/// (kernel-notes/msg-waitall-send.md).
#[inline]
pub(crate) fn was_given_up(cqe: Cqe) -> bool {
    cqe.res == -EAGAIN || was_interrupted(cqe)
}

/// Takes what an op of a stream send has moved off what is `left`, and says whether the rest is worth another
/// op: after an error it is not, but for those that say nothing about the socket.
#[inline]
pub(super) fn goes_on(left: &mut usize, cqe: Cqe) -> bool {
    let Ok(moved) = usize::try_from(cqe.res) else { return was_given_up(cqe) && *left > 0 };
    *left = left.checked_sub(moved).expect("the kernel moves no more than was asked");
    moved > 0 && *left > 0
}
