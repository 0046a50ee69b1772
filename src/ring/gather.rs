//! A send of several buffers: message header and iovecs in the core's arena.
//!
//! Owns the one op whose payload has variable length. The iovecs and the header are bumped into the arena of
//! the core that submits, and released there at the final CQE (ring/arena.rs).

use super::Ring;
use super::arena::Claim;
use crate::buf::IoBuf;
use crate::sys::sqe::{Sqe, opcode};
use std::os::fd::RawFd;

/// The kernel takes at most this many buffers in one message (`UIO_MAXIOV`).
pub(crate) const MOST_BUFFERS: usize = 1024;

/// Claims on the arena, held from description to the final CQE.
#[derive(Debug, Default)]
pub(crate) struct Gathered(Option<(Claim, Claim)>);

impl Gathered {
    /// Describes a send of `bufs`, which are in their final place.
    pub(crate) fn describe<B: IoBuf>(&mut self, fd: RawFd, bufs: &[B], flags: i32, ring: &Ring) -> Sqe {
        debug_assert!(self.0.is_none(), "an op is described once");
        let mut arena = ring.arena.borrow_mut();
        let parts = bufs
            .iter()
            .take(MOST_BUFFERS)
            .map(|buf| libc::iovec { iov_base: buf.as_ptr().cast_mut().cast(), iov_len: buf.len() });
        let count = bufs.len().min(MOST_BUFFERS);
        let (iovecs, iovec_claim) = arena.put(parts);
        // SAFETY: an all-zero message header is an empty one.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = iovecs.as_ptr();
        header.msg_iovlen = count as _;
        let (header, header_claim) = arena.put(std::iter::once(header));
        self.0 = Some((iovec_claim, header_claim));
        Sqe::new(opcode::SENDMSG, fd).at(header.as_ptr().cast_const().cast(), 1).op_flags(flags as u32)
    }

    /// Home core, at the final CQE: gives the arena its memory back.
    pub(crate) fn release(&mut self, ring: &Ring) {
        if let Some((iovecs, header)) = self.0.take() {
            let mut arena = ring.arena.borrow_mut();
            arena.release(iovecs);
            arena.release(header);
        }
    }
}
