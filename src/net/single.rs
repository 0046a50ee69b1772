//! One accept: for one permit, from a thread that is no core, or beside a stuck core's.
//!
//! Owns [`AcceptOne`] and what any accept brings, [`Accepted`]. The op has the permit for the connection that
//! it may take, and not the future that began it: dropped, a future is gone at once, and its op may still
//! take a connection, which then waits in the listener's queue, permit and all. It does not decide when to
//! accept.
#![forbid(unsafe_code)]

use super::listener::{AcceptSide, Shared};
use super::permit::Permit;
use crate::base::guard;
use crate::ring::Ring;
use crate::ring::op::{Op, Operation};
use crate::ring::opened::descriptor;
use crate::sys::fork;
use crate::sys::sqe::{Cqe, Sqe, opcode};
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A socket that was accepted. Dropped, it closes before its place is free.
pub(super) struct Accepted {
    pub(super) fd: OwnedFd,
    /// If the accept had one.
    pub(super) permit: Option<Permit>,
    /// What [`fork::count`] said before it came.
    pub(super) forks: u32,
}

/// The op.
pub(super) struct AcceptOne {
    shared: Arc<Shared>,
    permit: Option<Permit>,
    forks: u32,
}

impl AcceptOne {
    pub(super) fn new(shared: &Arc<Shared>, side: &mut AcceptSide, permit: Option<Permit>) -> Self {
        side.singles += 1;
        Self { shared: Arc::clone(shared), permit, forks: fork::count() }
    }

    /// What it has brought.
    fn accepted(&mut self, cqe: Cqe) -> Option<Accepted> {
        let fd = descriptor(cqe).ok()?;
        Some(Accepted { fd, permit: self.permit.take(), forks: self.forks })
    }
}

impl Drop for AcceptOne {
    fn drop(&mut self) {
        let mut side = self.shared.side();
        side.singles -= 1;
        let waiting = side.draining.then(|| side.waiting.take());
        drop(side);
        waiting.into_iter().flatten().for_each(guard::wake);
    }
}

impl Operation for AcceptOne {
    const OPCODE: u8 = opcode::ACCEPT;
    /// Or why there is none, and the permit.
    type Output = Result<Accepted, (i32, Option<Permit>)>;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        Sqe::new(Self::OPCODE, self.shared.fd.as_raw_fd()).op_flags(libc::SOCK_CLOEXEC as u32)
    }

    fn finish(mut self, cqe: Cqe) -> Self::Output {
        self.accepted(cqe).ok_or_else(|| (cqe.res, self.permit.take()))
    }

    fn orphaned(mut self, cqe: Cqe) {
        // Accepted for nobody yet: the next accept finds it.
        if let Some(accepted) = self.accepted(cqe) {
            let mut side = self.shared.side();
            side.queue.push_back(accepted);
            let waiting = side.waiting.take();
            drop(side);
            waiting.for_each(guard::wake);
        }
    }
}

/// Polls the accept, if one is in flight: what it has brought, or nothing if there was none or it failed. The
/// permit of one that failed comes back.
pub(super) fn poll_single(
    single: &mut Option<Op<AcceptOne>>,
    shared: &Shared,
    permit: &mut Option<Permit>,
    cx: &mut Context<'_>,
) -> Poll<Option<Accepted>> {
    let Some(op) = single else { return Poll::Ready(None) };
    let done = ready!(Pin::new(op).poll(cx));
    *single = None;
    Poll::Ready(match done {
        Ok(accepted) => Some(accepted),
        Err((res, own)) => {
            shared.side().failed(-res);
            *permit = own;
            None
        }
    })
}
