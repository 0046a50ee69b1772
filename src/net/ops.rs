//! The ops by which a stream sends, as the ring sees them.
//!
//! Owns what each puts into its SQE and what becomes of its result with and without a future. The order in
//! which they may be in flight is the lane's (turn.rs).
//!
//! # Parts of a message
//! A send moves its message in parts of at most [`PART`] bytes, one in the kernel at a time, each with
//! `MSG_WAITALL`, so that it has one CQE also against a slow reader. Not all of it in one: an op that finds
//! its socket full too often is moved to a helper thread, which waits there for the peer, and a core has few
//! of those (kernel-notes/send-tries.md). The rest of a part that the kernel cut short is the next part's.
//!
//! | | event | what happens |
//! |---|---|---|
//! | 1 | a CQE with bytes, some are left; or with an error that says nothing of the socket | the next part |
//! | 2 | the same, and the op was cancelled, or the runtime goes down | as if the next part had failed so |
//! | 3 | a CQE with the last bytes, or with another error | the op is over, and its turn passes |
//!
//! All parts are one op to everybody above (`Operation::goes_on`): it has one cell, so a cancel reaches
//! whichever part is in flight; the home core submits the next one, whether a future waits, is not polled, or
//! is gone; and the turn stays with the op. What was sent is the sum of the parts, or the error if there is
//! nothing to sum up, or if the caller asked for all or nothing. An op that ends short with its future gone
//! marks the stream as torn: nothing follows it, and what became of it is kept for whoever asks
//! (`poll_write::lost`).
//!
//! # On the spot
//! A message of up to [`ON_THE_SPOT`] bytes, of one buffer or of a few, goes out by a system call of its own,
//! with the turn and before there is an op, if its core has little to do ([`leaves_on_the_spot`]). The socket
//! takes all of it: the send is over, as if its op had been. It takes a part, or nothing: an op moves the
//! rest, and the sum includes that part. It has an error: that is the send's, because a socket tells an error
//! once (kernel-notes/send-now.md).
#![forbid(unsafe_code)]

use super::poll_write;
use super::shared::Shared;
use crate::base::guard::contained;
use crate::base::reach;
use crate::buf::IoBuf;
use crate::ring::gather::Gathered;
use crate::ring::op::{Op, Operation, submit_orphan};
use crate::ring::transfer::Outward;
use crate::ring::{Ring, with_current};
use crate::sys;
use crate::sys::sqe::{Cqe, RES_GONE, Sqe, opcode};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

/// The most that one part of a message has: little enough that a peer which reads in the smallest steps does
/// not bring it to a helper thread (kernel-notes/send-tries.md), and enough that the cost of a part is small
/// beside that of its bytes.
const PART: usize = 128 * 1024;
const SEND_FLAGS: i32 = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

/// The most that is sent on the spot: some ten microseconds of copying.
const ON_THE_SPOT: usize = 64 * 1024;

/// Whether a message of so many bytes is better sent on the spot ([`send_now`]): an op would cost a turn of
/// its own (ring/lull.rs).
///
/// # Panics
/// If no op could be submitted from here, either.
#[inline]
pub(super) fn leaves_on_the_spot(len: usize) -> bool {
    with_current(|ring| match ring {
        Some(ring) => ring.may_call(|| (1..=ON_THE_SPOT).contains(&len)),
        None => {
            assert_core();
            false
        }
    })
}

/// For who has the send turn: sends on the spot, by `call`. What the send is told if it is over with that;
/// `None` if an op has to move what is left.
fn send_now(call: impl FnOnce() -> Option<io::Result<usize>>) -> Option<io::Result<usize>> {
    let mut told = None;
    // Where its bytes are a buffer says, which may be foreign code. If that panics it does so for the op,
    // too, which then ends with an error and passes the turn.
    contained(|| told = call());
    if let Some(Ok(_)) = told {
        with_current(|ring| ring.map(|ring| ring.counters().sends_on_the_spot.add(1)));
    }
    told
}

/// Describes the next part of a message.
#[inline]
fn describe_part<B: IoBuf>(from: &mut Outward<B>, shared: &Shared) -> Sqe {
    from.describe_part(Sqe::new(opcode::SEND, shared.fd()), PART).op_flags(SEND_FLAGS as u32)
}

/// A send of a whole message. If an error cuts it, the send is told that (`ALL`), or how much has left.
pub(crate) struct SendWhole<B, const ALL: bool> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) from: Outward<B>,
}

impl<B: IoBuf, const ALL: bool> SendWhole<B, ALL> {
    /// For who has the send turn: the op that has to move the message, or what is left of it.
    ///
    /// # Errors
    /// What the send is told, if it has left on the spot or failed so. The turn is still the caller's.
    // Always: as a call of its own it takes a dozen instructions of a send.
    #[inline(always)]
    pub(super) fn begin(shared: Arc<Shared>, buf: B) -> Result<Self, (io::Result<usize>, B)> {
        if leaves_on_the_spot(buf.len()) {
            return Self::now(shared, buf);
        }
        Ok(Self { shared, from: Outward::new(buf) })
    }

    #[inline(never)]
    fn now(shared: Arc<Shared>, buf: B) -> Result<Self, (io::Result<usize>, B)> {
        let mut from = Outward::new(buf);
        match send_now(|| from.send_now(shared.fd())) {
            Some(result) => Err((result, from.into_inner())),
            None => Ok(Self { shared, from }),
        }
    }
}

impl<B: IoBuf, const ALL: bool> Operation for SendWhole<B, ALL> {
    const OPCODE: u8 = opcode::SEND;
    type Output = (io::Result<usize>, B);

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        describe_part(&mut self.from, &self.shared)
    }

    #[inline]
    fn goes_on(&mut self, cqe: Cqe) -> bool {
        self.from.goes_on(cqe)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        // The buffer first: if it panics, the drop of the future passes the turn on.
        let output = if ALL { self.from.all(cqe) } else { self.from.sum(cqe) };
        self.shared.sent();
        output
    }

    fn orphaned(self, cqe: Cqe) {
        if !self.from.is_whole() {
            poll_write::lost(&self.shared, cqe, self.from.has_begun());
        }
        self.shared.orphan_sent();
    }
}

/// What is done when a message that was promised to leave has left, or has failed.
type Over<B> = fn(&Arc<Shared>, io::Result<usize>, B);

/// A send of bytes that were promised to leave (poll_write.rs, send_off.rs). Nobody waits for the op: its
/// completion goes on by itself.
struct SendPromised<B> {
    shared: Arc<Shared>,
    from: Outward<B>,
    over: Over<B>,
    /// The ring knows of the promise.
    owed: bool,
}

impl<B: IoBuf> SendPromised<B> {
    fn new(shared: Arc<Shared>, from: Outward<B>, over: Over<B>) -> Self {
        Self { shared, from, over, owed: false }
    }

    #[cold]
    fn has_failed(&self, res: i32) {
        if self.from.has_begun() {
            self.shared.note_cut();
        }
        if [RES_GONE, -libc::ECANCELED].contains(&res) && !sys::fork::is_child() {
            // Bytes that were taken are lost for no fault of the connection's. Its FIN must not say that this
            // was all.
            let _ = sys::io::reset(self.shared.fd());
        }
    }
}

/// Sends bytes that were promised to leave, of which there are some, on the spot or by an op. The turn is the
/// send's from here on, and `over` is called when it has ended, which may be before this returns. So from
/// here on nothing foreign may run that is not contained.
#[inline]
pub(super) fn send_promised<B: IoBuf>(shared: Arc<Shared>, from: Outward<B>, over: Over<B>) {
    if leaves_on_the_spot(from.left()) {
        return send_promised_now(shared, from, over);
    }
    submit_orphan(SendPromised::new(shared, from, over));
}

#[inline(never)]
fn send_promised_now<B: IoBuf>(shared: Arc<Shared>, mut from: Outward<B>, over: Over<B>) {
    match send_now(|| from.send_now(shared.fd())) {
        Some(result) => over(&shared, result, from.into_inner()),
        None => submit_orphan(SendPromised::new(shared, from, over)),
    }
}

impl<B: IoBuf> Operation for SendPromised<B> {
    const OPCODE: u8 = opcode::SEND;
    type Output = ();

    fn describe(&mut self, ring: &Ring) -> Sqe {
        ring.owes();
        self.owed = true;
        describe_part(&mut self.from, &self.shared)
    }

    #[inline]
    fn goes_on(&mut self, cqe: Cqe) -> bool {
        self.from.goes_on(cqe)
    }

    fn settle(&mut self, ring: &Ring, _is_over: bool) {
        if std::mem::take(&mut self.owed) {
            ring.has_paid();
        }
    }

    fn finish(self, cqe: Cqe) {
        self.orphaned(cqe);
    }

    fn orphaned(self, cqe: Cqe) {
        if cqe.res <= 0 {
            self.has_failed(cqe.res);
        }
        let (result, bytes) = self.from.finish(cqe);
        (self.over)(&self.shared, result, bytes);
    }
}

/// Submits an op that completes as an orphan: what comes back is to be dropped, and is good for its cell
/// before.
pub(super) fn launch<P: Operation>(operation: P) -> Op<P> {
    let mut op = Op::new(operation).detach();
    let _ = Pin::new(&mut op).poll(&mut Context::from_waker(Waker::noop()));
    op
}

/// Panics if an op could not be submitted from here, before anything depends on it.
pub(crate) fn assert_reach() {
    if !with_current(|ring| ring.is_some()) {
        assert_core();
    }
}

/// As [`assert_reach`], on a thread that is no core.
#[cold]
fn assert_core() {
    assert!(reach::has_core(), "{}", reach::NO_RUNTIME);
}

/// A send of several buffers as one message.
pub(crate) struct SendGathered<B> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) from: Gathered<B>,
}

impl<B: IoBuf> SendGathered<B> {
    /// As of [`SendWhole`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn begin(shared: Arc<Shared>, bufs: Vec<B>) -> Result<Self, (io::Result<usize>, Vec<B>)> {
        let mut from = Gathered::new(bufs);
        if !from.is_few() {
            assert_reach();
        } else if leaves_on_the_spot(from.len())
            && let Some(result) = send_now(|| from.send_now(shared.fd()))
        {
            return Err((result, from.into_inner()));
        }
        Ok(Self { shared, from })
    }
}

impl<B: IoBuf> Operation for SendGathered<B> {
    const OPCODE: u8 = opcode::SENDMSG;
    type Output = (io::Result<usize>, Vec<B>);

    fn describe(&mut self, ring: &Ring) -> Sqe {
        self.from.describe(self.shared.fd(), PART, SEND_FLAGS, ring)
    }

    fn settle(&mut self, ring: &Ring, _is_over: bool) {
        self.from.release(ring);
    }

    #[inline]
    fn goes_on(&mut self, cqe: Cqe) -> bool {
        self.from.goes_on(cqe)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        // In this order as in `SendWhole`.
        let output = self.from.sum(cqe);
        self.shared.sent();
        output
    }

    fn orphaned(self, cqe: Cqe) {
        if !self.from.is_whole() {
            poll_write::lost(&self.shared, cqe, self.from.has_begun());
        }
        self.shared.orphan_sent();
    }
}

/// A piece of a longer send: the turn stays with the caller, unless the caller is gone.
pub(crate) struct SendPiece<B> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) from: Outward<B>,
    /// A part of what this is a piece of has left.
    pub(crate) begun: bool,
}

impl<B: IoBuf> Operation for SendPiece<B> {
    const OPCODE: u8 = opcode::SEND;
    type Output = (io::Result<usize>, B);

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        describe_part(&mut self.from, &self.shared)
    }

    fn goes_on(&mut self, cqe: Cqe) -> bool {
        self.from.goes_on(cqe)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        self.from.all(cqe)
    }

    fn orphaned(self, cqe: Cqe) {
        if !self.from.is_whole() {
            poll_write::lost(&self.shared, cqe, self.begun || self.from.has_begun());
        }
        self.shared.orphan_sent();
    }
}
