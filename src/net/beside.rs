//! Accepting from a listener whose own core is stuck.
//!
//! Owns [`Beside`], a hold on the listener for other cores, and [`AcceptBeside`], what such a core has in
//! flight. The stuck core's accept stays armed in its ring, takes nothing while its thread is stuck, and
//! swallows the wake of every accept that sleeps beside it (kernel-notes/accept-beside-multishot.md). So this
//! polls the socket, and accepts once each time the poll completes. What wins a race against being dropped
//! goes to the listener's queue. It does not know which core is stuck.
//!
//! A listener that is to close cannot wait for its core either: those who helped it would serve whoever comes
//! for as long as the core is stuck. So one of them takes the rest and closes it from here
//! ([`AcceptBeside::poll_last`]). The core finds that out when it drains: nobody is left.
#![forbid(unsafe_code)]

use super::TcpStream;
use super::gate::Gate;
use super::listener::{Shared, note};
use super::rest::Rest;
use super::single::{AcceptOne, Accepted, poll_single};
use super::together::Together;
use super::waiting::Ticket;
use crate::base::coop;
use crate::ring::Ring;
use crate::ring::op::{Op, Operation};
use crate::sys;
use crate::sys::sqe::{Cqe, Sqe, opcode};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A hold on a listener. It keeps the descriptor, but does not keep the listener from closing.
#[derive(Clone)]
pub(crate) struct Beside(pub(super) Arc<Shared>);

impl Beside {
    /// Connections that have come and that nobody has claimed: of the kernel's and of the listener's queue.
    pub(crate) fn waiting(&self) -> usize {
        let queued = self.0.side().queue.len();
        queued + sys::io::accept_queue(self.0.fd.as_raw_fd()).unwrap_or(0)
    }

    /// Nothing in flight yet.
    pub(crate) fn accepting(&self) -> AcceptBeside {
        AcceptBeside {
            shared: Arc::clone(&self.0),
            gate: Gate::default(),
            together: Together::default(),
            readable: None,
            single: None,
            ticket: Ticket::default(),
            end: End::default(),
        }
    }
}

/// How far the listener is with its end, as far as this core brings it about.
#[derive(Default)]
enum End {
    #[default]
    Open,
    /// The accept in flight was told to end.
    Withdraws,
    /// Those that wait are taken.
    Takes(Rest),
    Closed,
}

/// A poll for connections, not exclusive: it completes for each that comes, whoever takes it.
pub(super) struct Readable(Arc<Shared>);

impl Readable {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }
}

impl Operation for Readable {
    const OPCODE: u8 = opcode::POLL_ADD;
    type Output = i32;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        Sqe::poll(self.0.fd.as_raw_fd(), libc::POLLIN)
    }

    fn finish(self, cqe: Cqe) -> i32 {
        cqe.res
    }
}

/// What one core accepts from another's listener. Dropping it cancels what is in flight.
pub(crate) struct AcceptBeside {
    shared: Arc<Shared>,
    gate: Gate,
    /// Used instead of the others under a limit that listeners share.
    together: Together,
    readable: Option<Op<Readable>>,
    single: Option<Op<AcceptOne>>,
    /// Among those who wait for a socket.
    ticket: Ticket,
    end: End,
}

impl Drop for AcceptBeside {
    fn drop(&mut self) {
        self.shared.leave(&mut self.ticket);
        self.gate.leave(&self.shared);
    }
}

impl AcceptBeside {
    /// The next connection; first those that the stuck core had accepted and nobody has claimed. `None` once
    /// the listener is at its end or broken, which is its own core's affair.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<TcpStream>> {
        if self.shared.shares_its_limit() {
            if self.shared.side().draining {
                return Poll::Ready(None);
            }
            return self.together.poll_accept(&mut self.gate, &self.shared, cx).map(Result::ok);
        }
        // What is queued may be many.
        let unit = ready!(coop::poll_proceed(cx));
        let accepted = ready!(self.poll_accepted(cx));
        unit.made_progress();
        Poll::Ready(accepted.map(|accepted| self.gate.admit(accepted)))
    }

    fn poll_accepted(&mut self, cx: &mut Context<'_>) -> Poll<Option<Accepted>> {
        loop {
            if let Some(accepted) = self.shared.claim_queued(&mut self.ticket) {
                return Poll::Ready(Some(accepted));
            }
            // One that is asleep may have to be woken by hand: see below.
            let single = poll_single(&mut self.single, &self.shared, &mut self.gate.permit, cx);
            let is_asleep = match single {
                Poll::Ready(Some(accepted)) => return Poll::Ready(Some(accepted)),
                Poll::Ready(None) => false,
                Poll::Pending => true,
            };
            let side = self.shared.side();
            if side.draining || side.error.is_some() {
                return Poll::Ready(None);
            }
            if self.shared.begin_pause(side) {
                continue;
            }
            let may_accept = is_asleep || self.gate.poll_open(&self.shared, cx).is_ready();
            if may_accept && self.poll_readable(cx).is_ready() {
                if !self.accept_once() {
                    return Poll::Ready(None);
                }
                continue;
            }
            // What another accept left behind is queued, without a completion of ours.
            let side = self.shared.side();
            if side.queue.is_empty() {
                note(side, &mut self.ticket, cx);
                return Poll::Pending;
            }
        }
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let readable = self.readable.get_or_insert_with(|| Op::new(Readable::new(&self.shared)));
        let _res = ready!(Pin::new(readable).poll(cx));
        self.readable = None;
        Poll::Ready(())
    }

    /// Begins an accept, in the place of one that is asleep: that one did not hear of the connection that the
    /// poll has seen. False if the listener is at its end.
    fn accept_once(&mut self) -> bool {
        // Outside of the lock: it may have completed, and then its socket is queued, with its permit.
        let was_asleep = self.single.take().is_some();
        if was_asleep && !self.gate.try_open(&self.shared) {
            // The next poll waits for a place.
            return true;
        }
        let mut side = self.shared.side();
        if side.draining {
            return false;
        }
        let permit = self.gate.permit.take();
        self.single = Some(Op::new(AcceptOne::new(&self.shared, &mut side, permit)));
        true
    }

    /// The next of those that wait, and of them no more than did at the first call and than there is room
    /// for. Then nobody can connect any more, if the socket is ours; else it is left to the others. Ready
    /// after that only for what accepts in flight had taken. Instead of [`Self::poll_accept`] from then on.
    pub(crate) fn poll_last(&mut self, cx: &mut Context<'_>) -> Poll<TcpStream> {
        // What is queued may be many.
        let unit = ready!(coop::poll_proceed(cx));
        let stream = ready!(self.poll_taken(cx));
        unit.made_progress();
        Poll::Ready(stream)
    }

    fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<TcpStream> {
        loop {
            if let Some(accepted) = self.shared.claim_queued(&mut self.ticket) {
                return Poll::Ready(self.gate.admit(accepted));
            }
            match &mut self.end {
                End::Open => {
                    self.withdraw();
                    self.end = End::Withdraws;
                }
                End::Withdraws => {
                    let single = poll_single(&mut self.single, &self.shared, &mut self.gate.permit, cx);
                    if let Some(accepted) = ready!(single) {
                        return Poll::Ready(self.gate.admit(accepted));
                    }
                    self.end = End::Takes(Rest::of(&self.shared).unwrap_or_default());
                }
                End::Takes(rest) => {
                    if let Some(stream) = rest.next(&self.shared, &mut self.gate) {
                        return Poll::Ready(stream);
                    }
                    self.shared.close();
                    self.gate.give_back();
                    self.gate.leave(&self.shared);
                    self.end = End::Closed;
                }
                End::Closed => {
                    let side = self.shared.side();
                    if side.queue.is_empty() {
                        note(side, &mut self.ticket, cx);
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Tells what is in flight to end. The accept is waited for: it has taken a connection, or its place is
    /// there for one of those that wait.
    fn withdraw(&mut self) {
        (self.readable, self.together) = (None, Together::default());
        match &self.single {
            Some(single) if single.cell().is_some() => single.cancel(),
            // It has not begun.
            _ => self.single = None,
        }
    }
}
