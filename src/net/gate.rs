//! What an accept has to pass before it may take a connection: the pause of its listener, and a place among
//! the allowed connections.
//!
//! The pause is the listener's and not one accept's: whoever finds that there is no room for one more socket
//! begins it, and all who accept there wait until it is over, those included that come later.
#![forbid(unsafe_code)]

use super::Connected;
use super::listener::Shared;
use super::permit::Permit;
use super::shared::Handle;
use super::single::Accepted;
use super::waiting::Ticket;
use crate::sys::sqe::Cqe;
use crate::time::{Sleep, sleep_until};
use std::io;
use std::task::{Context, Poll, ready};

/// Of one accept.
#[derive(Default)]
pub(super) struct Gate {
    /// Until an op or a connection has it.
    pub(super) permit: Option<Permit>,
    /// Among those who wait for one.
    ticket: Ticket,
    pause: Option<Box<Sleep>>,
}

impl Gate {
    /// Open once there is a place among the allowed connections (at the limit nothing is accepted: the
    /// backlog holds the rest) and no pause is on.
    ///
    /// # Errors
    /// If the runtime shuts down while it waits.
    pub(super) fn poll_open(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(pause) = &mut self.pause {
                let over = ready!(pause.poll_within_op(cx));
                self.pause = None;
                over?;
            }
            self.pause = shared.side().paused_until().map(|until| Box::new(sleep_until(until)));
            if self.pause.is_none() {
                break;
            }
        }
        if let (Some(permits), None) = (&shared.permits, &self.permit) {
            self.permit = permits.take(&mut self.ticket, cx.waker());
            if self.permit.is_none() {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Whether there is a place for one who does not wait for it.
    pub(super) fn try_open(&mut self, shared: &Shared) -> bool {
        if let (Some(permits), None) = (&shared.permits, &self.permit) {
            self.permit = permits.try_take();
        }
        shared.permits.is_none() || self.permit.is_some()
    }

    /// Who accepts goes.
    pub(super) fn leave(&mut self, shared: &Shared) {
        if let Some(permits) = &shared.permits {
            permits.leave(&mut self.ticket);
        }
    }

    /// Nobody has come. Somebody may be waiting for the place at another listener.
    pub(super) fn give_back(&mut self) {
        self.permit = None;
    }

    /// An accept was refused: what to tell who accepts, unless there is just a pause, or nothing.
    pub(super) fn refused(&mut self, shared: &Shared, refused: &io::Error) -> Option<io::Error> {
        let mut side = shared.side();
        side.failed(refused.raw_os_error().unwrap_or(libc::EIO));
        let error = side.error.take();
        shared.begin_pause(side);
        error.map(|errno| Cqe::error(-errno))
    }

    /// The connection for which it was open, unless that has brought a permit of its own.
    pub(super) fn admit<S: Connected>(&mut self, accepted: Accepted) -> S {
        let Accepted { fd, permit, forks } = accepted;
        let permit = permit.or_else(|| self.permit.take()).map(Permit::used);
        S::from_handle(Handle::known_since(forks, fd, permit))
    }
}
