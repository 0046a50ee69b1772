//! What ended a stream's receive side, in one small word: every stream has one.
//!
//! Owns the difference between results that say something about the stream and those that do not. Who is
//! told, and how often, is the receive side's (recv.rs).
#![forbid(unsafe_code)]

use crate::sys::sqe::RES_GONE;
use std::num::NonZeroI32;

/// What ended the receive side: a negative result, or [`End::EOF`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End(NonZeroI32);

impl End {
    /// The end of the stream.
    pub(super) const EOF: Self = Self(NonZeroI32::MAX);

    /// Of a negative result; none of another one.
    pub(super) fn error(res: i32) -> Option<Self> {
        if res < 0 { NonZeroI32::new(res).map(Self) } else { None }
    }

    /// The negative result, unless it is the end of the stream.
    pub(super) fn failure(self) -> Option<i32> {
        (self != Self::EOF).then(|| self.0.get())
    }
}

/// Whether a receive that ended like this says nothing about the stream: the next one starts anew (after
/// ENOBUFS one-shot, into a heap buffer). EAGAIN: the kernel gave up although nobody had asked it not to wait
/// (kernel-notes/msg-waitall-send.md). EINTR and ERESTARTSYS: it was interrupted on a helper thread
/// (kernel-notes/cancel-and-close.md).
pub(super) fn is_no_end(res: i32) -> bool {
    [-libc::ENOBUFS, -libc::ECANCELED, -libc::EAGAIN, -libc::EINTR, -512, RES_GONE].contains(&res)
}
