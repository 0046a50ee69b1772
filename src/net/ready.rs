//! Waiting until a stream can be received from, or sent to, for who then moves bytes by a system call.
//!
//! Owns the poll of the ring and nothing else: who may wait for what is the lanes' business (turn.rs). What
//! it says is a hint; by the time of the call the socket may be as before.
#![forbid(unsafe_code)]

use super::shared::Shared;
use crate::ring::Ring;
use crate::ring::op::Operation;
use crate::sys::sqe::{Cqe, Sqe, opcode};
use std::io;
use std::sync::Arc;

/// Waits until the socket has bytes, or takes more.
pub(crate) struct Ready {
    shared: Arc<Shared>,
    events: libc::c_short,
}

impl Ready {
    /// Until there is something to receive, the end included.
    pub(super) fn to_receive(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), events: libc::POLLIN }
    }

    /// Until there is room to send.
    pub(super) fn to_send(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), events: libc::POLLOUT }
    }
}

impl Operation for Ready {
    const OPCODE: u8 = opcode::POLL_ADD;
    type Output = io::Result<()>;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        Sqe::poll(self.shared.fd(), self.events)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(|_| ())
    }
}
