//! `TcpListener`: one multishot accept per listener, with a high-water mark.
//!
//! # States of the accept side (under one lock, as in recv.rs)
//! | state | meaning | left by |
//! |---|---|---|
//! | Disarmed | no multishot in any ring | `accept` finds nothing: arms, or accepts once (no core; a limit) |
//! | Armed | multishot accept on its home core | high-water mark, descriptor limit, drop: Cancelling |
//! | Cancelling | told to end | the final CQE: Disarmed |
//!
//! A one-shot accept may be in flight beside an armed multishot: of a thread that is no core, and of a core
//! that accepts for a stuck one (beside.rs).
//!
//! Sockets accepted and not claimed wait in the queue; the rest wait in the kernel's backlog, where nothing
//! is lost. A multishot takes what is there before anybody can stop it, so a listener with a limit accepts
//! one at a time, each with its permit (single.rs); what such an accept has taken for a future that is gone
//! has its permit in the queue, so the queue is looked at before a permit is waited for. A listener that
//! shares its limit with others arms nothing and goes by together.rs. EMFILE and the like end the multishot
//! and pause accepting for a moment (gate.rs, kernel-notes/accept-emfile.md).
#![forbid(unsafe_code)]

use super::gate::Gate;
use super::permit::Permits;
use super::refusals::{Hook, Refusals};
use super::single::{AcceptOne, Accepted, poll_single};
use super::together::Together;
use super::waiting::{Ticket, Waiting};
use super::{Connected, TcpStream, UnixStream};
use crate::base::coop;
use crate::ring::Ring;
use crate::ring::multi::{self, Armed, Handler};
use crate::ring::op::Op;
use crate::ring::opened::descriptor;
use crate::sys::fork;
use crate::sys::sqe::{self, Cqe, RES_GONE, Sqe, opcode};
use crate::time::Instant;
use socket2::SockRef;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

/// Accepted and unclaimed sockets above which the multishot is cancelled.
const HIGH_WATER: usize = 64;
/// How long accepting pauses when the process has no descriptor left.
const PAUSE: Duration = Duration::from_millis(50);
/// So few descriptors below the limit accepting pauses after each socket, for the sake of the rest of the
/// process. It does not stop: who has few at all would serve nobody.
const RESERVE: u64 = 16;

#[derive(Default)]
enum Mode {
    #[default]
    Disarmed,
    Armed(Armed),
    Cancelling,
}

#[derive(Default)]
pub(super) struct AcceptSide {
    pub(super) queue: VecDeque<Accepted>,
    mode: Mode,
    pub(super) waiting: Waiting,
    /// One-shot accepts that have not completed.
    pub(super) singles: usize,
    /// The listener is at its end: somebody waits for the last of them.
    pub(super) draining: bool,
    pub(super) error: Option<i32>,
    /// No descriptors, or the like: accepting is to pause before it is tried again.
    pub(super) exhausted: Option<i32>,
    paused_until: Option<Instant>,
}

/// What the listener and its cells share.
pub(super) struct Shared {
    pub(super) fd: OwnedFd,
    side: Mutex<AcceptSide>,
    descriptor_limit: u64,
    pub(super) permits: Option<Arc<Permits>>,
    refusals: Refusals,
    /// Nobody else has the socket, as far as is known. Relaxed is enough: who closes the listener has it to
    /// himself, behind all who have looked at its descriptor.
    ours: AtomicBool,
}

impl Shared {
    /// `ours`: nobody else has the socket.
    pub(super) fn new(fd: OwnedFd, permits: Option<Arc<Permits>>, hook: Hook, ours: bool) -> Self {
        let descriptor_limit = crate::sys::limits::open_files();
        let (refusals, ours) = (Refusals::new(hook), AtomicBool::new(ours));
        Self { fd, side: Mutex::default(), descriptor_limit, permits, refusals, ours }
    }

    /// The descriptor, for somebody else, who may make another one of the same socket.
    pub(super) fn show(&self) -> BorrowedFd<'_> {
        self.ours.store(false, Ordering::Relaxed);
        self.fd.as_fd()
    }

    /// Whether what is done to the socket, and not only to this descriptor, concerns nobody else.
    pub(super) fn is_ours(&self) -> bool {
        self.ours.load(Ordering::Relaxed) && !fork::is_child()
    }

    /// The listener goes: nobody connects from here on. The descriptor closes when the accept in flight has
    /// ended; a socket that somebody else may have, too, may be listened on there, and is left as it is.
    pub(super) fn close(&self) {
        if self.is_ours() {
            let _ = SockRef::from(&self.fd).shutdown(Shutdown::Both);
        }
        self.disarm();
    }

    /// Pauses accepting, and says so, if there was no room for one more socket; whether it does. Lets go of
    /// the lock.
    pub(super) fn begin_pause(&self, mut side: MutexGuard<'_, AcceptSide>) -> bool {
        let Some(errno) = side.exhausted.take() else { return false };
        side.paused_until = Some(Instant::now() + PAUSE);
        drop(side);
        self.refusals.tell(errno);
        true
    }

    pub(super) fn side(&self) -> MutexGuard<'_, AcceptSide> {
        self.side.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a limit of connections that other listeners are under, too: nobody waits with a
    /// permit then (together.rs).
    pub(super) fn shares_its_limit(&self) -> bool {
        self.permits.as_ref().is_some_and(|permits| permits.are_shared())
    }

    /// Whether one more descriptor would leave too few for the rest of the process. The kernel hands out the
    /// lowest free number, so a high one means that nearly all are taken.
    pub(super) fn is_near_limit(&self, fd: &OwnedFd) -> bool {
        let next = fd.as_raw_fd() as u64 + RESERVE;
        // The limit may have been raised since the socket was bound.
        next >= self.descriptor_limit && next >= crate::sys::limits::open_files()
    }

    /// Ends the multishot; ready when no accept is in flight any more.
    pub(super) fn poll_disarmed(&self, ticket: &mut Ticket, cx: &mut Context<'_>) -> Poll<()> {
        let mut side = self.side();
        side.disarm();
        side.draining = true;
        if matches!(side.mode, Mode::Disarmed) && side.singles == 0 {
            return Poll::Ready(());
        }
        note(side, ticket, cx);
        Poll::Pending
    }

    /// The next of what was accepted and not claimed.
    pub(super) fn take_queued(&self) -> Option<Accepted> {
        self.side().queue.pop_front()
    }

    /// The same for an accept, which waits no more if there is one.
    pub(super) fn claim_queued(&self, ticket: &mut Ticket) -> Option<Accepted> {
        let mut side = self.side();
        let accepted = side.queue.pop_front()?;
        let waker = side.waiting.forget(ticket);
        drop(side);
        drop(waker);
        Some(accepted)
    }

    /// An accept goes.
    pub(super) fn leave(&self, ticket: &mut Ticket) {
        if ticket.is_taken() {
            let waker = self.side().waiting.forget(ticket);
            drop(waker);
        }
    }

    /// Ends the multishot; the listener is gone or going.
    pub(super) fn disarm(&self) {
        self.side().disarm();
    }
}

/// The task of `cx` is to be woken when a socket is queued or an accept has ended. Lets go of the lock.
pub(super) fn note(mut side: MutexGuard<'_, AcceptSide>, ticket: &mut Ticket, cx: &Context<'_>) {
    let replaced = side.waiting.note(ticket, cx.waker());
    drop(side);
    drop(replaced);
}

impl AcceptSide {
    fn disarm(&mut self) {
        if let Mode::Armed(armed) = &self.mode {
            armed.cancel();
            self.mode = Mode::Cancelling;
        }
    }
}

/// A stretch that is over: accepts wake in order.
struct AcceptMany(Arc<Shared>);

impl Handler for AcceptMany {
    const OPCODE: u8 = opcode::ACCEPT;

    fn describe(&self, _ring: &Ring) -> Sqe {
        let mut sqe = Sqe::new(Self::OPCODE, self.0.fd.as_raw_fd());
        sqe.ioprio = sqe::ACCEPT_MULTISHOT;
        sqe.op_flags(libc::SOCK_CLOEXEC as u32)
    }

    fn complete(&self, cqe: Cqe, ring: &Ring, wakers: &mut Vec<Waker>) {
        let mut side = self.0.side();
        match descriptor(cqe) {
            Ok(fd) => {
                let near = self.0.is_near_limit(&fd);
                side.queue.push_back(Accepted { fd, permit: None, forks: ring.forks() });
                if near {
                    side.exhausted = Some(libc::EMFILE);
                }
                if near || side.queue.len() >= HIGH_WATER {
                    side.disarm();
                }
            }
            // The listener may go on in another runtime; in this one the next accept says that it is gone.
            Err(_) if cqe.res == RES_GONE => {}
            Err(_) => side.failed(-cqe.res),
        }
        if !cqe.more() {
            side.mode = Mode::Disarmed;
        }
        // All of them: one that goes before it has come for this would swallow a wake that is meant for
        // another.
        side.waiting.hand_to(wakers);
    }
}

impl AcceptSide {
    /// Until when accepting pauses, if it does.
    pub(super) fn paused_until(&mut self) -> Option<Instant> {
        self.paused_until = self.paused_until.filter(|until| Instant::now() < *until);
        self.paused_until
    }

    pub(super) fn failed(&mut self, errno: i32) {
        match errno {
            libc::ECANCELED => {}
            errno if has_no_room(errno) => self.exhausted = Some(errno),
            // The connection died in the backlog, or the protocol says so (`accept(2)`): the next one may be
            // fine.
            libc::ECONNABORTED | libc::EPROTO | libc::EINTR | libc::EAGAIN => {}
            errno => self.error = Some(errno),
        }
    }
}

/// Whether the system has no room for one more socket.
pub(super) fn has_no_room(errno: i32) -> bool {
    matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
}

/// Whether an accept was refused because nothing listens (`accept(2)`): somebody who has the socket, too, has
/// shut it down, or it is none.
pub(crate) fn is_of_the_listener(errno: i32) -> bool {
    matches!(errno, libc::EINVAL | libc::EBADF | libc::ENOTSOCK | libc::EOPNOTSUPP)
}

/// The future of [`TcpListener::accept_stream`](super::TcpListener::accept_stream) and
/// [`UnixListener::accept_stream`](super::UnixListener::accept_stream).
#[must_use = "an accept does nothing unless it is awaited"]
pub struct Accept<'a, S = TcpStream> {
    accepting: Accepting<'a>,
    _kind: PhantomData<fn() -> S>,
}

impl<'a, S> Accept<'a, S> {
    pub(super) fn new(shared: &'a Arc<Shared>) -> Self {
        let (gate, together) = (Gate::default(), Together::default());
        let accepting = Accepting { shared, gate, together, single: None, ticket: Ticket::default() };
        Self { accepting, _kind: PhantomData }
    }
}

/// What an accept is, whatever kind of stream it brings.
struct Accepting<'a> {
    shared: &'a Arc<Shared>,
    gate: Gate,
    /// Under a limit that listeners share.
    together: Together,
    /// Else.
    single: Option<Op<AcceptOne>>,
    /// Among those who wait for a socket.
    ticket: Ticket,
}

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        self.shared.leave(&mut self.ticket);
        self.gate.leave(self.shared);
    }
}

impl Accepting<'_> {
    /// Nothing was queued: makes sure that an accept is in flight and that this future is woken.
    fn wait(&mut self, cx: &mut Context<'_>) -> io::Result<Wait> {
        let mut side = self.shared.side();
        // A socket that has come since that look woke those who waited by then, and not this future.
        if !side.queue.is_empty() {
            return Ok(Wait::Again);
        }
        if let Some(errno) = side.error.take() {
            return Err(Cqe::error(-errno));
        }
        if side.exhausted.is_some() {
            self.shared.begin_pause(side);
            return Ok(Wait::Again);
        }
        if matches!(side.mode, Mode::Disarmed) {
            let limited = self.shared.permits.is_some();
            let armed = if limited { None } else { multi::arm(AcceptMany(Arc::clone(self.shared))) };
            let Some(armed) = armed else {
                let permit = self.gate.permit.take();
                self.single = Some(Op::new(AcceptOne::new(self.shared, &mut side, permit)));
                return Ok(Wait::Again);
            };
            side.mode = Mode::Armed(armed?);
        }
        note(side, &mut self.ticket, cx);
        Ok(Wait::Pending)
    }

    /// This future has an accept in flight, or may not have one, and yet a socket may be queued that another
    /// one left behind.
    fn wait_for_others(&mut self, cx: &Context<'_>) -> Wait {
        let side = self.shared.side();
        if !side.queue.is_empty() {
            return Wait::Again;
        }
        note(side, &mut self.ticket, cx);
        Wait::Pending
    }
}

enum Wait {
    Again,
    Pending,
}

macro_rules! accepts {
    ($stream:ty) => {
        impl Future for Accept<'_, $stream> {
            type Output = io::Result<$stream>;

            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                self.accepting.poll(cx)
            }
        }
    };
}

accepts!(TcpStream);
accepts!(UnixStream);

impl Accepting<'_> {
    fn poll<S: Connected>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<S>> {
        let this = self;
        if this.shared.shares_its_limit() {
            return this.together.poll_accept(&mut this.gate, this.shared, cx);
        }
        // What has come is the parent's, and what the parent has in flight never ends here.
        fork::check()?;
        // What has come may be many.
        let unit = ready!(coop::poll_proceed(cx));
        let ready = ready!(this.poll_accepted(cx));
        unit.made_progress();
        Poll::Ready(ready.map(|accepted| this.gate.admit(accepted)))
    }

    fn poll_accepted(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let this = self;
        loop {
            if let Some(accepted) = this.shared.claim_queued(&mut this.ticket) {
                return Poll::Ready(Ok(accepted));
            }
            let single = poll_single(&mut this.single, this.shared, &mut this.gate.permit, cx);
            let may_accept = match single {
                Poll::Ready(Some(accepted)) => return Poll::Ready(Ok(accepted)),
                Poll::Ready(None) => this.gate.poll_open(this.shared, cx)?,
                Poll::Pending => Poll::Pending,
            };
            let wait = if may_accept.is_ready() { this.wait(cx) } else { Ok(this.wait_for_others(cx)) };
            match wait {
                Err(error) => return Poll::Ready(Err(error)),
                Ok(Wait::Pending) => return Poll::Pending,
                Ok(Wait::Again) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
