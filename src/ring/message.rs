//! Messages of datagram sockets: bytes and an address, in and out.
//!
//! Owns the header, the one iovec and the address that the kernel is pointed at. They are a part of the
//! operation, as the buffer is, and live in its cell until the final completion; so, unlike a gathered send
//! (gather.rs), a message takes nothing from the core's arena.

use super::transfer::asked;
use crate::buf::{self, IoBuf, IoBufMut};
use crate::sys::sqe::{Cqe, Sqe, opcode};
use socket2::{SockAddr, SockAddrStorage};
use std::io;
use std::os::fd::RawFd;

/// A header and its iovec. What is in them points into the operation while it is in flight.
struct Envelope {
    header: libc::msghdr,
    part: libc::iovec,
}

// SAFETY: the pointers are written on the home core and followed by the kernel only, while the operation is
// in its cell.
unsafe impl Send for Envelope {}

impl Envelope {
    fn empty() -> Self {
        // SAFETY: an all-zero message header is an empty one.
        let header = unsafe { std::mem::zeroed() };
        Self { header, part: libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 } }
    }

    /// Puts bytes and an address in, and describes an op on them. `self` is in its final place, and so is
    /// what the pointers point at.
    fn describe(&mut self, opcode: u8, fd: RawFd, bytes: (*mut u8, u32), name: (*mut u8, u32)) -> Sqe {
        self.part = libc::iovec { iov_base: bytes.0.cast(), iov_len: bytes.1 as usize };
        self.header.msg_name = name.0.cast();
        self.header.msg_namelen = name.1;
        self.header.msg_iov = &raw mut self.part;
        self.header.msg_iovlen = 1;
        Sqe::new(opcode, fd).at((&raw const self.header).cast(), 1)
    }
}

/// A datagram that has arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    /// Bytes of it that are in the buffer.
    pub(crate) len: usize,
    /// Bytes that it had.
    pub(crate) whole: usize,
    /// Who sent it.
    pub(crate) from: SockAddr,
}

/// A message the kernel fills in.
pub(crate) struct Incoming<B> {
    buf: B,
    asked: u32,
    envelope: Envelope,
    from: SockAddrStorage,
}

impl<B: IoBufMut> Incoming<B> {
    /// Receives as much of a datagram as the buffer has room for, from a socket of datagrams: what is said of
    /// how long they are would be wrong of others.
    pub(crate) fn new(buf: B) -> Self {
        Self { buf, asked: 0, envelope: Envelope::empty(), from: SockAddrStorage::zeroed() }
    }

    /// Describes a receive of one datagram. The message is in its final place.
    pub(crate) fn describe(&mut self, fd: RawFd, flags: i32) -> Sqe {
        self.asked = asked(buf::room(&self.buf));
        let bytes = (buf::landing(&mut self.buf), self.asked);
        let name = ((&raw mut self.from).cast(), self.from.size_of());
        // MSG_TRUNC has the kernel answer how long the datagram is, whatever there is room for. Not of one
        // that is looked at: with SO_PEEK_OFF (socket(7)) less is copied than that.
        let flags = if flags & libc::MSG_PEEK == 0 { flags | libc::MSG_TRUNC } else { flags };
        self.envelope.describe(opcode::RECVMSG, fd, bytes, name).op_flags(flags as u32)
    }

    /// Where in the buffer a datagram lands.
    pub(crate) fn lands_at(&self) -> usize {
        self.buf.fill_from()
    }

    /// The result and the buffer, grown by what the kernel has written.
    pub(crate) fn finish(mut self, cqe: Cqe) -> (io::Result<Arrived>, B) {
        let whole = match cqe.result() {
            Ok(whole) => whole,
            Err(error) => return (Err(error), self.buf),
        };
        let len = whole.min(self.asked as usize);
        // SAFETY: this is the completion of the receive that `describe` pointed at this buffer: the kernel
        // has written as much of the datagram as was asked for. (Of a stream MSG_TRUNC would have it write
        // nothing, kernel-notes/msg-trunc.md; who makes one of these vouches for the socket.)
        unsafe { buf::landed(&mut self.buf, len) };
        // SAFETY: the kernel has written an address and its length, or left zeros, which are no address.
        let from = unsafe { SockAddr::new(self.from, self.envelope.header.msg_namelen) };
        (Ok(Arrived { len, whole, from }), self.buf)
    }
}

/// A message the kernel reads.
pub(crate) struct Outgoing<B> {
    buf: B,
    envelope: Envelope,
    to: Option<SockAddr>,
}

impl<B: IoBuf> Outgoing<B> {
    /// Sends the buffer's bytes as one datagram: to an address, or to the peer that the socket is connected
    /// to.
    pub(crate) fn new(buf: B, to: Option<SockAddr>) -> Self {
        Self { buf, envelope: Envelope::empty(), to }
    }

    /// Describes the send. The message is in its final place.
    pub(crate) fn describe(&mut self, fd: RawFd, flags: i32) -> Sqe {
        let bytes = (self.buf.as_ptr().cast_mut(), asked(self.buf.len()));
        let name = match &self.to {
            Some(to) => (to.as_ptr().cast_mut().cast(), to.len()),
            None => (std::ptr::null_mut(), 0),
        };
        self.envelope.describe(opcode::SENDMSG, fd, bytes, name).op_flags(flags as u32)
    }

    /// The result and the buffer.
    pub(crate) fn finish(self, cqe: Cqe) -> (io::Result<usize>, B) {
        (cqe.result(), self.buf)
    }
}
