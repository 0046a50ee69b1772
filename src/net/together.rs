//! Accepting under a limit that several listeners share.
//!
//! An accept that waits in a ring has to have its place among the allowed connections beforehand, because
//! what it takes cannot be put back. Where listeners share a limit, one to which nobody comes would keep a
//! place from the others. So here nothing waits for a connection with a place:
//!
//! | state | place | left when |
//! |---|---|---|
//! | closed | none | a place comes free: open |
//! | open | one | `accept4(2)` takes a connection, which has the place; or none is there: idle |
//! | idle | none | the socket is readable: closed, or open at once |
//!
//! An accept begins as if it had just left idle. The socket is in non-blocking mode, so open never waits. Who
//! goes idle gives the place back, which wakes all who are closed (permit.rs): a place that one has for a
//! moment, for nothing, is lost to nobody. A poll of the socket tells all who poll it, so any number of cores
//! may accept from one listener like this, and one that is stuck holds nobody up. The limit is exact, because
//! nothing is accepted without a place. No multishot is armed and no accept is in flight at such a listener.
//!
//! Rejected: places beyond the limit for those who wait. When all of them take a connection, it is exceeded.
#![forbid(unsafe_code)]

use super::beside::Readable;
use super::connected::Connected;
use super::gate::Gate;
use super::listener::Shared;
use super::single::Accepted;
use crate::base::coop;
use crate::ring::op::Op;
use crate::sys::sqe::Cqe;
use crate::sys::{self, fork};
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// One accept.
#[derive(Default)]
pub(super) struct Together {
    /// There while idle.
    readable: Option<Op<Readable>>,
}

impl Together {
    /// The next connection, through `gate`.
    ///
    /// # Errors
    /// The socket's own.
    pub(super) fn poll_accept<S: Connected>(
        &mut self,
        gate: &mut Gate,
        shared: &Arc<Shared>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<S>> {
        loop {
            if let Some(readable) = &mut self.readable {
                let res = ready!(Pin::new(readable).poll(cx));
                self.readable = None;
                if res < 0 {
                    return Poll::Ready(Err(Cqe::error(res)));
                }
            }
            // The system call needs no ring, and what waits is the parent's.
            fork::check()?;
            // What waits may be many.
            let unit = ready!(coop::poll_proceed(cx));
            ready!(gate.poll_open(shared, cx))?;
            let forks = fork::count();
            let refused = match sys::io::accept_now(shared.fd.as_raw_fd()) {
                Ok(fd) => {
                    unit.made_progress();
                    return Poll::Ready(Ok(gate.admit(Accepted { fd, permit: None, forks })));
                }
                Err(refused) => refused,
            };
            gate.give_back();
            if refused.kind() == io::ErrorKind::WouldBlock {
                self.readable = Some(Op::new(Readable::new(shared)));
                continue;
            }
            unit.made_progress();
            if let Some(error) = gate.refused(shared, &refused) {
                return Poll::Ready(Err(error));
            }
        }
    }
}
