//! A send of several buffers: message header and iovecs in the core's arena.
//!
//! Owns the one op whose payload has variable length. The iovecs and the header are bumped into the arena of
//! the core that submits, and released there at the CQE of the op, or of each of its parts (ring/arena.rs).
//! The iovecs of a part are those of the buffers that it touches; the first and the last of them may be cut.

use super::Ring;
use super::arena::Claim;
use super::transfer::{goes_on, told_now};
use crate::buf::IoBuf;
use crate::sys;
use crate::sys::sqe::{Cqe, Sqe, opcode};
use std::io::{self, IoSlice};
use std::os::fd::RawFd;

/// The kernel takes at most this many buffers in one op (`UIO_MAXIOV`).
const MOST_BUFFERS: usize = 1024;

/// So many are sent on the spot: a head, a body, and what is between them.
const FEW_BUFFERS: usize = 8;

/// What a send of several buffers has in the arena and what is left of it.
#[derive(Debug)]
pub(crate) struct Gathered<B> {
    bufs: Vec<B>,
    /// Bytes of all of them.
    all: usize,
    /// Of these at the end, bytes that no op has moved.
    left: usize,
    /// Buffers in front that are known to be gone, or empty.
    gone: usize,
    /// Bytes of those.
    gone_bytes: usize,
    /// Held from the description of a part to its CQE.
    claims: Option<(Claim, Claim)>,
}

impl<B: IoBuf> Gathered<B> {
    /// A message of these buffers.
    pub(crate) fn new(bufs: Vec<B>) -> Self {
        let all = bufs.iter().map(IoBuf::len).sum();
        Self { bufs, all, left: all, gone: 0, gone_bytes: 0, claims: None }
    }

    /// Describes a send of the next `most` bytes, or of as many as lie in the buffers that one op may have.
    /// The buffers are in their final place.
    pub(crate) fn describe(&mut self, fd: RawFd, most: usize, flags: i32, ring: &Ring) -> Sqe {
        debug_assert!(self.claims.is_none(), "one part at a time");
        let (touched, mut skip) = self.part(most);
        let mut room = most;
        let count = touched.len();
        let parts = touched.iter().map(|buf| {
            let rest = &buf.as_slice()[std::mem::take(&mut skip)..];
            let iov_len = rest.len().min(room);
            room -= iov_len;
            libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len }
        });
        let mut arena = ring.arena.borrow_mut();
        let (iovecs, iovec_claim) = arena.put(parts);
        // SAFETY: an all-zero message header is an empty one.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = iovecs.as_ptr();
        header.msg_iovlen = count as _;
        let (header, header_claim) = arena.put(std::iter::once(header));
        self.claims = Some((iovec_claim, header_claim));
        Sqe::new(opcode::SENDMSG, fd).at(header.as_ptr().cast_const().cast(), 1).op_flags(flags as u32)
    }

    /// The buffers that the next `most` bytes lie in, [`MOST_BUFFERS`] at most, and how many bytes of the
    /// first one are gone. That one is not empty: a part of nothing would say that there is no more.
    fn part(&mut self, most: usize) -> (&[B], usize) {
        let moved = self.all - self.left;
        while let Some(first) = self.bufs.get(self.gone)
            && first.len() <= moved - self.gone_bytes
        {
            self.gone += 1;
            self.gone_bytes += first.len();
        }
        let skip = moved - self.gone_bytes;
        let next = &self.bufs[self.gone..];
        let next = &next[..next.len().min(MOST_BUFFERS)];
        let (mut end, mut bytes) = (0, 0);
        while end < next.len() && bytes < most.saturating_add(skip) {
            bytes = next[end].len().saturating_add(bytes);
            end += 1;
        }
        (&next[..end], skip)
    }

    /// Whether these are few enough to be sent on the spot.
    pub(crate) fn is_few(&self) -> bool {
        self.bufs.len() <= FEW_BUFFERS
    }

    /// Bytes in all.
    pub(crate) fn len(&self) -> usize {
        self.all
    }

    /// As of [`Outward`](super::transfer::Outward), for few that are whole.
    pub(crate) fn send_now(&mut self, socket: RawFd) -> Option<io::Result<usize>> {
        debug_assert!(self.is_few() && self.left == self.all, "no part of few buffers has gone");
        let mut parts = [IoSlice::new(&[]); FEW_BUFFERS];
        for (part, buf) in parts.iter_mut().zip(&self.bufs) {
            *part = IoSlice::new(buf.as_slice());
        }
        told_now(&mut self.left, sys::io::send_several_now(socket, &parts[..self.bufs.len()]))
    }

    /// The buffers.
    pub(crate) fn into_inner(self) -> Vec<B> {
        self.bufs
    }

    /// Home core, at the CQE of a part: gives the arena its memory back.
    pub(crate) fn release(&mut self, ring: &Ring) {
        if let Some((iovecs, header)) = self.claims.take() {
            let mut arena = ring.arena.borrow_mut();
            arena.release(iovecs);
            arena.release(header);
        }
    }

    /// As of [`Outward`](super::transfer::Outward).
    #[inline]
    pub(crate) fn goes_on(&mut self, cqe: Cqe) -> bool {
        goes_on(&mut self.left, cqe)
    }

    /// Whether some of it was noted as moved.
    #[cold]
    pub(crate) fn has_begun(&self) -> bool {
        self.left < self.all
    }

    /// Whether all of it was noted as moved.
    pub(crate) fn is_whole(&self) -> bool {
        self.left == 0
    }

    /// As of [`Outward`](super::transfer::Outward).
    pub(crate) fn sum(self, cqe: Cqe) -> (io::Result<usize>, Vec<B>) {
        let done = self.all - self.left;
        let result = if done > 0 { Ok(done) } else { cqe.result() };
        (result, self.bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::inbox::Inbox;
    use crate::ring::stub;
    use std::sync::Arc;

    /// Sends `bufs` in parts of up to `most` bytes, of which each op moves up to `moves`; the lengths of
    /// those parts.
    fn send(bufs: &[&'static str], most: usize, moves: usize) -> Vec<usize> {
        let (ring, _kernel) = stub::ring(Arc::new(Inbox::new(Box::new(|| ()))));
        let (mut gathered, mut sent, mut parts) = (Gathered::new(bufs.to_vec()), String::new(), Vec::new());
        loop {
            let sqe = gathered.describe(-1, most, 0, &ring);
            let part = read(sqe.addr);
            let moved = part.len().min(moves);
            sent.push_str(&part[..moved]);
            parts.push(part.len());
            gathered.release(&ring);
            if !gathered.goes_on(Cqe::made_up(moved as i32)) {
                break;
            }
        }
        assert_eq!(sent, bufs.concat());
        assert_eq!(gathered.sum(Cqe::made_up(0)).0.unwrap(), sent.len());
        parts
    }

    #[test]
    fn parts_of_several_buffers_are_their_bytes_in_order_whatever_the_op_before_has_moved() {
        let bufs = ["", "012", "", "3456789", "a", "", "bcdef", ""];
        let all = bufs.concat().len();
        for (most, moves) in [(4, 4), (4, 1), (3, 2), (usize::MAX, 5), (usize::MAX, usize::MAX), (1, 1)] {
            let mut sent = 0;
            for part in send(&bufs, most, moves) {
                assert_eq!(part, (all - sent).min(most));
                sent += part.min(moves);
            }
        }
    }

    #[test]
    fn a_part_has_no_more_buffers_than_the_kernel_takes_and_the_parts_are_all_of_them() {
        let many: Vec<_> = ["ab", "", "c"].into_iter().cycle().take(3 * 2_000).collect();
        // A byte for each of 1,024 buffers, and one more if they begin and end with a long one.
        assert_eq!(send(&many, usize::MAX, usize::MAX), [1_025, 1_024, 1_025, 1_024, 1_025, 877]);
        let empty = [&[""; 3_000][..], &["x"], &[""; 3_000], &["yz"], &[""; 3_000]].concat();
        assert_eq!(send(&empty, usize::MAX, usize::MAX), [1, 2]);
        assert_eq!(send(&[""; 3_000], usize::MAX, usize::MAX), [0]);
    }

    /// The bytes that a message header points at.
    fn read(header: u64) -> String {
        let header = std::ptr::with_exposed_provenance::<libc::msghdr>(header as usize);
        // SAFETY: `describe` has put the header there, and it has not been released.
        let header = unsafe { &*header };
        // SAFETY: as above, of the iovecs.
        let iovecs = unsafe { std::slice::from_raw_parts(header.msg_iov, header.msg_iovlen as usize) };
        let bytes = iovecs.iter().flat_map(|iovec| {
            // SAFETY: they point at the buffers, which are alive, and at nothing behind them.
            unsafe { std::slice::from_raw_parts(iovec.iov_base.cast::<u8>(), iovec.iov_len) }
        });
        String::from_utf8(bytes.copied().collect()).unwrap()
    }
}
