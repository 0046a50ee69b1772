//! The two halves of every op with a buffer: one the kernel fills, one it reads.
//!
//! Owns the step from a completion's byte count to a buffer's length, so that the rooms above need no unsafe
//! code. An [`Inward`] or [`Outward`] is part of an operation, moves into the cell with it, and is described
//! there.

use crate::buf::{self, IoBuf, IoBufMut};
use crate::sys;
use crate::sys::sqe::{Cqe, Sqe};
use std::io;
use std::os::fd::RawFd;

/// The most one op is asked to move: the kernel's own limit is just below 2 GiB (`read(2)`).
const MOST: usize = 1 << 30;

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
///
/// # Errors
/// EAGAIN if it does not: the buffer is as it was, but for bytes behind those that it holds. Others of the
/// kernel's.
pub(crate) fn read_now<B: IoBufMut>(file: RawFd, buf: &mut B, offset: u64) -> io::Result<usize> {
    let (start, room) = (buf::landing(buf), buf::room(buf));
    // SAFETY: `room` bytes may be written where a read lands.
    let mut n = unsafe { sys::io::read_now(file, start, room, offset) }?;
    if n > 0 && n < room {
        // A part: is that the end of the file, or of what the cache holds?
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
    done: usize,
}

impl<B: IoBuf> Outward<B> {
    /// Writes the buffer's bytes.
    pub(crate) fn new(buf: B) -> Self {
        Self { buf, done: 0 }
    }

    /// Points `sqe` at the bytes that are left. The buffer is in its final place.
    pub(crate) fn describe(&mut self, sqe: Sqe) -> Sqe {
        let rest = &self.buf.as_slice()[self.done..];
        sqe.at(rest.as_ptr(), asked(rest.len()))
    }

    /// Notes what one op of several has moved; true if something is left to move and the op moved anything.
    pub(crate) fn is_short(&mut self, cqe: Cqe) -> bool {
        let moved = cqe.result().unwrap_or(0);
        self.done += moved;
        moved > 0 && self.done < self.buf.len()
    }

    /// Whether all of the buffer was noted as moved.
    pub(crate) fn is_whole(&self) -> bool {
        self.done == self.buf.len()
    }

    /// The sum of what was noted, or the error of an op that came to nothing; and the buffer.
    pub(crate) fn sum(self, cqe: Cqe) -> (io::Result<usize>, B) {
        let result = if self.done > 0 { Ok(self.done) } else { cqe.result() };
        (result, self.buf)
    }

    /// The result of a single op and the buffer.
    #[inline(always)]
    pub(crate) fn finish(self, cqe: Cqe) -> (io::Result<usize>, B) {
        (cqe.result(), self.buf)
    }
}
