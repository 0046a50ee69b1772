//! The positional read, and what can be read from.
//!
//! Owns the one op that files and sockets share: a socket that sends a file reads it through the ring when
//! the page cache does not hold it.
#![forbid(unsafe_code)]

use crate::buf::IoBufMut;
use crate::ring::Ring;
use crate::ring::lease::{Leasable, Use};
use crate::ring::op::Operation;
use crate::ring::transfer::{Inward, was_interrupted};
use crate::sys::page_cache::PageCache;
use crate::sys::sqe::{Cqe, Sqe, opcode};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// An open file that a socket can send ([`TcpStream::send_file`](crate::net::TcpStream::send_file)).
pub trait FileSource: sealed::Sealed {
    /// The descriptor, shared with the ops that use it.
    #[doc(hidden)]
    fn descriptor(&self) -> &Arc<Leasable<OwnedFd>>;

    /// `IOSQE_*` of the ops that read it.
    #[doc(hidden)]
    fn op_flags(&self) -> u8;

    /// How to ask whether the page cache holds a part of it.
    #[doc(hidden)]
    fn page_cache(&self) -> &PageCache;
}

pub(crate) mod sealed {
    //! Only this crate's files are sources: an op must be able to hold the descriptor open.

    /// Not to be implemented elsewhere.
    pub trait Sealed {}
}

/// `pread(2)`.
pub(crate) struct Read<B> {
    pub(crate) fd: Use<OwnedFd>,
    pub(crate) into: Inward<B>,
    pub(crate) offset: u64,
    /// `IOSQE_*`.
    pub(crate) flags: u8,
}

impl<B: IoBufMut> Operation for Read<B> {
    const OPCODE: u8 = opcode::READ;
    type Output = (io::Result<usize>, B);

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        let sqe = self.into.describe(Sqe::new(Self::OPCODE, self.fd.get().as_raw_fd()));
        sqe.file_offset(self.offset).flags(self.flags)
    }

    #[inline(always)]
    fn goes_on(&mut self, cqe: Cqe) -> bool {
        was_interrupted(cqe)
    }

    fn settle(&mut self, ring: &Ring, is_over: bool) {
        if is_over {
            ring.leases().end(&mut self.fd);
        }
    }

    #[inline(always)]
    fn finish(self, cqe: Cqe) -> Self::Output {
        self.into.finish(cqe)
    }
}
