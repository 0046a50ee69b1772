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
//! one at a time, each with its permit; one that shares its limit with others arms nothing and goes by
//! together.rs. EMFILE and the like end the multishot and pause accepting for a
//! moment (kernel-notes/accept-emfile.md).
#![forbid(unsafe_code)]

use super::permit::{Permit, Permits};
use super::refusals::{Hook, Refusals};
use super::shared::Handle;
use super::together::Together;
use super::waiting::{Ticket, Waiting};
use super::{Connected, TcpStream, UnixStream};
use crate::ring::Ring;
use crate::ring::multi::{self, Armed, Handler};
use crate::ring::op::{Op, Operation};
use crate::ring::opened::descriptor;
use crate::sys::fork;
use crate::sys::sqe::{self, Cqe, RES_GONE, Sqe, opcode};
use crate::time::{Sleep, sleep};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
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
    pub(super) queue: VecDeque<OwnedFd>,
    mode: Mode,
    waiting: Waiting,
    /// One-shot accepts that have not completed.
    singles: usize,
    /// The listener is at its end: somebody waits for the last of them.
    pub(super) draining: bool,
    pub(super) error: Option<i32>,
    /// No descriptors, or the like: accepting pauses before it is tried again.
    pub(super) exhausted: Option<i32>,
}

/// What the listener and its cells share.
pub(super) struct Shared {
    pub(super) fd: OwnedFd,
    side: Mutex<AcceptSide>,
    descriptor_limit: u64,
    pub(super) permits: Option<Arc<Permits>>,
    pub(super) refusals: Refusals,
}

impl Shared {
    pub(super) fn new(fd: OwnedFd, permits: Option<Arc<Permits>>, hook: Hook) -> Self {
        let descriptor_limit = crate::sys::limits::open_files();
        let refusals = Refusals::new(hook);
        Self { fd, side: Mutex::default(), descriptor_limit, permits, refusals }
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
    pub(super) fn take_queued(&self) -> Option<OwnedFd> {
        self.side().queue.pop_front()
    }

    /// The same for an accept, which waits no more if there is one.
    pub(super) fn claim_queued(&self, ticket: &mut Ticket) -> Option<OwnedFd> {
        let mut side = self.side();
        let fd = side.queue.pop_front()?;
        let waker = side.waiting.forget(ticket);
        drop(side);
        drop(waker);
        Some(fd)
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

    fn complete(&self, cqe: Cqe, _ring: &Ring, wakers: &mut Vec<Waker>) {
        let mut side = self.0.side();
        match descriptor(cqe) {
            Ok(fd) => {
                let near = self.0.is_near_limit(&fd);
                side.queue.push_back(fd);
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

/// One accept: for one permit, from a thread that is no core, or beside a stuck core's.
pub(super) struct AcceptOne(Arc<Shared>);

impl AcceptOne {
    pub(super) fn new(shared: &Arc<Shared>, side: &mut AcceptSide) -> Self {
        side.singles += 1;
        Self(Arc::clone(shared))
    }
}

impl Drop for AcceptOne {
    fn drop(&mut self) {
        let mut side = self.0.side();
        side.singles -= 1;
        let waiting = side.draining.then(|| side.waiting.take());
        drop(side);
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Operation for AcceptOne {
    const OPCODE: u8 = opcode::ACCEPT;
    type Output = (i32, Option<OwnedFd>);

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        Sqe::new(Self::OPCODE, self.0.fd.as_raw_fd()).op_flags(libc::SOCK_CLOEXEC as u32)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        (cqe.res, descriptor(cqe).ok())
    }

    fn orphaned(self, cqe: Cqe) {
        // Accepted for nobody yet: the next accept finds it.
        if let Ok(fd) = descriptor(cqe) {
            let mut side = self.0.side();
            side.queue.push_back(fd);
            let waiting = side.waiting.take();
            drop(side);
            waiting.for_each(Waker::wake);
        }
    }
}

/// What an accept has to pass before it may take a connection.
#[derive(Default)]
pub(super) struct Gate {
    permit: Option<Permit>,
    /// Among those who wait for one.
    ticket: Ticket,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Gate {
    /// Open once there is a place among the allowed connections (at the limit nothing is accepted: the
    /// backlog holds the rest) and no pause is on.
    pub(super) fn poll_open(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if let (Some(permits), None) = (&shared.permits, &self.permit) {
            self.permit = permits.take(&mut self.ticket, cx.waker());
            if self.permit.is_none() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Whether there is a place for one who does not wait for it.
    pub(super) fn try_open(&mut self, shared: &Shared) -> bool {
        if let (Some(permits), None) = (&shared.permits, &self.permit) {
            self.permit = permits.try_take();
        }
        shared.permits.is_none() || self.permit.is_some()
    }

    /// The process is out of descriptors, or the like: closed for a moment, and said so.
    pub(super) fn pause(&mut self, shared: &Shared, errno: i32) {
        shared.refusals.tell(errno);
        self.pause = Some(Box::pin(sleep(PAUSE)));
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
        let (error, exhausted) = (side.error.take(), side.exhausted.take());
        drop(side);
        if let Some(errno) = exhausted {
            self.pause(shared, errno);
        }
        error.map(|errno| Cqe::error(-errno))
    }

    /// The connection for which it was open.
    pub(super) fn admit<S: Connected>(&mut self, fd: OwnedFd) -> S {
        let permit = self.permit.take().map(Permit::used);
        S::from_handle(Handle::new(fd, permit))
    }
}

/// Polls the one-shot accept, if one is in flight: the socket, or none if there was no accept or it failed.
pub(super) fn poll_single(
    single: &mut Option<Op<AcceptOne>>,
    shared: &Shared,
    cx: &mut Context<'_>,
) -> Poll<Option<OwnedFd>> {
    let Some(op) = single else { return Poll::Ready(None) };
    let (res, fd) = ready!(Pin::new(op).poll(cx));
    *single = None;
    if fd.is_none() {
        shared.side().failed(-res);
    }
    Poll::Ready(fd)
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
        if let Some(errno) = side.exhausted.take() {
            drop(side);
            self.gate.pause(self.shared, errno);
            return Ok(Wait::Again);
        }
        if matches!(side.mode, Mode::Disarmed) {
            let limited = self.shared.permits.is_some();
            let armed = if limited { None } else { multi::arm(AcceptMany(Arc::clone(self.shared))) };
            let Some(armed) = armed else {
                self.single = Some(Op::new(AcceptOne::new(self.shared, &mut side)));
                return Ok(Wait::Again);
            };
            side.mode = Mode::Armed(armed?);
        }
        note(side, &mut self.ticket, cx);
        Ok(Wait::Pending)
    }

    /// The accept of this future is in flight, and yet a socket may be queued that another one left behind.
    fn wait_beside_single(&mut self, cx: &Context<'_>) -> Wait {
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
        loop {
            ready!(this.gate.poll_open(this.shared, cx));
            let claimed = match this.shared.claim_queued(&mut this.ticket) {
                Some(fd) => Some(fd),
                None => match poll_single(&mut this.single, this.shared, cx) {
                    Poll::Ready(fd) => fd,
                    Poll::Pending => match this.wait_beside_single(cx) {
                        Wait::Again => continue,
                        Wait::Pending => return Poll::Pending,
                    },
                },
            };
            if let Some(fd) = claimed {
                return Poll::Ready(Ok(this.gate.admit(fd)));
            }
            match this.wait(cx) {
                Err(error) => return Poll::Ready(Err(error)),
                Ok(Wait::Pending) => return Poll::Pending,
                Ok(Wait::Again) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
