//! The ops of files as the ring sees them.
//!
//! Each owns a reference to the descriptor (or the path), so that nothing the kernel uses goes away before
//! its final completion. Orphaned opens close what they opened.
#![forbid(unsafe_code)]

use crate::buf::IoBuf;
use crate::ring::Ring;
#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
use crate::ring::lease::Leasable;
use crate::ring::lease::Use;
use crate::ring::op::Operation;
use crate::ring::opened::descriptor;
use crate::ring::transfer::{Outward, was_interrupted};
use crate::sys::sqe::{Cqe, FSYNC_DATASYNC, SQE_ASYNC, Sqe, opcode};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

/// `pwrite(2)`.
pub(crate) struct Write<B> {
    pub(super) fd: Use<OwnedFd>,
    pub(super) from: Outward<B>,
    pub(super) offset: u64,
    /// `IOSQE_*`.
    pub(super) flags: u8,
}

impl<B: IoBuf> Operation for Write<B> {
    const OPCODE: u8 = opcode::WRITE;
    type Output = (io::Result<usize>, B);

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        let sqe = self.from.describe(Sqe::new(Self::OPCODE, self.fd.get().as_raw_fd()));
        sqe.file_offset(self.offset).flags(self.flags)
    }

    fn goes_on(&mut self, cqe: Cqe) -> bool {
        was_interrupted(cqe)
    }

    fn settle(&mut self, ring: &Ring, is_over: bool) {
        if is_over {
            ring.leases().end(&mut self.fd);
        }
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        self.from.finish(cqe)
    }
}

/// `pwrite(2)`, and the next one behind it where the kernel takes a part. Any other error than an
/// interruption ends it, also one that another try might mend: a file in non-blocking mode would be tried
/// without end.
#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
pub(crate) struct WriteOn<B> {
    pub(super) fd: Arc<Leasable<OwnedFd>>,
    pub(super) from: Outward<B>,
    pub(super) offset: u64,
    /// `IOSQE_*`.
    pub(super) flags: u8,
}

#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
impl<B: IoBuf> Operation for WriteOn<B> {
    const OPCODE: u8 = opcode::WRITE;
    type Output = (io::Result<usize>, B);

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        let sqe = self.from.describe(Sqe::new(Self::OPCODE, self.fd.as_raw_fd()));
        sqe.file_offset(self.offset).flags(self.flags)
    }

    fn goes_on(&mut self, cqe: Cqe) -> bool {
        let left = self.from.left();
        let goes_on = was_interrupted(cqe) || cqe.res > 0 && self.from.goes_on(cqe);
        self.offset = self.offset.saturating_add((left - self.from.left()) as u64);
        goes_on
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        self.from.sum(cqe)
    }
}

/// `fsync(2)` or `fdatasync(2)`.
pub(super) struct Sync {
    pub(super) fd: Use<OwnedFd>,
    pub(super) data_only: bool,
}

impl Operation for Sync {
    const OPCODE: u8 = opcode::FSYNC;
    type Output = io::Result<()>;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        let flags = if self.data_only { FSYNC_DATASYNC } else { 0 };
        Sqe::new(Self::OPCODE, self.fd.get().as_raw_fd()).op_flags(flags)
    }

    fn goes_on(&mut self, cqe: Cqe) -> bool {
        was_interrupted(cqe)
    }

    fn settle(&mut self, ring: &Ring, is_over: bool) {
        if is_over {
            ring.leases().end(&mut self.fd);
        }
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(drop)
    }
}

/// `fallocate(2)`.
pub(super) struct Allocate {
    pub(super) fd: Use<OwnedFd>,
    pub(super) offset: u64,
    pub(super) len: u64,
}

impl Operation for Allocate {
    const OPCODE: u8 = opcode::FALLOCATE;
    type Output = io::Result<()>;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        let mut sqe = Sqe::new(Self::OPCODE, self.fd.get().as_raw_fd()).file_offset(self.offset);
        // The length travels in the address field (`io_uring_prep_fallocate(3)`); mode 0 in `len`.
        sqe.addr = self.len;
        sqe
    }

    fn goes_on(&mut self, cqe: Cqe) -> bool {
        was_interrupted(cqe)
    }

    fn settle(&mut self, ring: &Ring, is_over: bool) {
        if is_over {
            ring.leases().end(&mut self.fd);
        }
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(drop)
    }
}

/// Where a relative path begins.
pub(super) fn start_of_walk(dir: &Option<Arc<OwnedFd>>) -> RawFd {
    dir.as_ref().map_or(libc::AT_FDCWD, |dir| dir.as_raw_fd())
}

/// `openat2(2)`.
pub(super) struct Open {
    pub(super) dir: Option<Arc<OwnedFd>>,
    pub(super) path: CString,
    pub(super) how: Box<libc::open_how>,
    /// Not tried on the core first.
    pub(super) on_helper: bool,
}

impl Operation for Open {
    const OPCODE: u8 = opcode::OPENAT2;
    type Output = io::Result<OwnedFd>;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        let flags = if self.on_helper { SQE_ASYNC } else { 0 };
        let mut sqe = Sqe::new(Self::OPCODE, start_of_walk(&self.dir)).flags(flags);
        sqe = sqe.at(self.path.as_ptr().cast(), size_of::<libc::open_how>() as u32);
        sqe.offset(std::ptr::from_ref(&*self.how).expose_provenance() as u64)
    }

    fn goes_on(&mut self, cqe: Cqe) -> bool {
        was_interrupted(cqe)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        descriptor(cqe)
    }

    fn orphaned(self, cqe: Cqe) {
        drop(descriptor(cqe));
    }
}

/// `statx(2)` by path.
pub(super) struct Stat {
    pub(super) dir: Option<Arc<OwnedFd>>,
    pub(super) path: CString,
    /// `AT_*`.
    pub(super) flags: i32,
    pub(super) stat: Box<libc::statx>,
}

impl Operation for Stat {
    const OPCODE: u8 = opcode::STATX;
    type Output = io::Result<Box<libc::statx>>;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
        let sqe = Sqe::new(Self::OPCODE, start_of_walk(&self.dir)).at(self.path.as_ptr().cast(), mask);
        let sqe = sqe.op_flags(self.flags.cast_unsigned());
        sqe.offset(std::ptr::from_mut(&mut *self.stat).expose_provenance() as u64)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(|_| self.stat)
    }
}
