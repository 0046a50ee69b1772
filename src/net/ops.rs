//! The ops of a stream as the ring sees them.
//!
//! Owns what each puts into its SQE and what becomes of its result with and without a future. The order in
//! which they may be in flight is the lanes' (turn.rs, recv.rs).
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

use super::flow::{Picked, Start};
use super::poll_write;
use super::relay::Completed;
use super::shared::Shared;
use crate::base::guard::contained;
use crate::base::reach;
use crate::buf::{IoBuf, IoBufMut, PooledBuf};
use crate::ring::ends::tells_ends;
use crate::ring::gather::Gathered;
use crate::ring::multi::Handler;
use crate::ring::op::{Op, Operation, submit_orphan};
use crate::ring::transfer::{Inward, Outward};
use crate::ring::{Ring, with_current};
use crate::sys;
use crate::sys::sqe::{self, Cqe, RES_GONE, Sqe, opcode};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

/// A one-shot receive into a buffer.
pub(crate) struct RecvOne<B> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) into: Inward<B>,
    pub(crate) start: Start,
}

impl<B: IoBufMut> Operation for RecvOne<B> {
    const OPCODE: u8 = opcode::RECV;
    type Output = (io::Result<usize>, B);

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        self.start.put_into(self.into.describe(Sqe::new(Self::OPCODE, self.shared.fd())))
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        let Self { shared, into, .. } = self;
        // The buffer first: if it panics, the receive is over by the drop of its future.
        let taken = Taken { shared: &shared, cqe };
        let output = into.finish(cqe);
        std::mem::forget(taken);
        shared.change_recv(|side| side.single_done(cqe));
        output
    }

    fn orphaned(self, cqe: Cqe) {
        let Self { shared, into, .. } = self;
        let mut kept = None;
        // The buffer may be foreign code, and nobody but this says that the receive is over.
        contained(|| {
            let (asked, start) = (into.room(), into.lands_at());
            let (result, buf) = into.finish(cqe);
            let read = result.ok().filter(|n| *n > 0);
            kept = Some((read.map(|n| PooledBuf::copied(&buf.as_slice()[start..start + n])), asked));
        });
        shared.change_recv(|side| {
            match kept {
                Some((bytes, asked)) => {
                    bytes.into_iter().for_each(|bytes| side.keep(bytes));
                    side.keep_end(cqe, asked);
                }
                // Its bytes are lost.
                None if cqe.res > 0 => side.keep_end(Cqe::made_up(-libc::EFAULT), 0),
                None => side.keep_end(cqe, 0),
            }
            side.single_done(cqe)
        });
    }
}

/// Bytes that have come into a buffer which may panic: forgotten once it has not.
struct Taken<'a> {
    shared: &'a Shared,
    cqe: Cqe,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        // Its bytes are lost, and whoever receives next must not take what follows for what is next.
        if self.cqe.res > 0 {
            self.shared.recv().keep_end(Cqe::made_up(-libc::EFAULT), 0);
        }
    }
}

/// A one-shot receive that belongs to the stream and to no future: its bytes go to the queue.
pub(super) struct RecvAhead {
    pub(super) shared: Arc<Shared>,
    pub(super) into: Inward<PooledBuf>,
    pub(super) start: Start,
}

impl Operation for RecvAhead {
    const OPCODE: u8 = opcode::RECV;
    type Output = ();

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        self.start.put_into(self.into.describe(Sqe::new(Self::OPCODE, self.shared.fd())))
    }

    fn finish(self, cqe: Cqe) {
        self.orphaned(cqe);
    }

    fn orphaned(self, cqe: Cqe) {
        let asked = self.into.room();
        let (_, bytes) = self.into.finish(cqe);
        self.shared.change_recv(|side| side.ahead_done(cqe, asked, bytes));
    }
}

/// A receive of the stream's own into buffers that the kernel picks.
pub(crate) struct RecvPicked {
    shared: Arc<Shared>,
    how: Picked,
    /// Once it has emptied the socket the stream's end is looked for. The home core's alone.
    looks: AtomicBool,
}

impl RecvPicked {
    pub(super) fn new(shared: &Arc<Shared>, how: Picked) -> Self {
        Self { shared: Arc::clone(shared), how, looks: AtomicBool::new(true) }
    }

    /// Looks whether the stream has ended behind the bytes that emptied the socket, and if it has, ends the
    /// receive, which might never tell (kernel-notes/multishot-end.md); the next one begins with the end.
    ///
    /// Once for each receive, for what had come by the time it was armed. What comes while it waits it
    /// tells, on a kernel that tells ends.
    #[cold]
    fn look_for_end(&self) {
        self.looks.store(!tells_ends(), Ordering::Relaxed);
        if sys::io::has_hung_up(self.shared.fd(), 0) {
            self.shared.recv().disarm();
        }
    }
}

impl Handler for RecvPicked {
    const OPCODE: u8 = opcode::RECV;

    fn describe(&self, _ring: &Ring) -> Sqe {
        let mut sqe = Sqe::new(Self::OPCODE, self.shared.fd());
        sqe.flags = sqe::SQE_BUFFER_SELECT;
        sqe.buf_index = self.how.group as u16;
        sqe.ioprio = if self.how.once { 0 } else { sqe::RECV_MULTISHOT };
        if self.how.poll_first {
            sqe.ioprio |= sqe::RECV_POLL_FIRST;
        }
        sqe
    }

    fn complete(&self, cqe: Cqe, ring: &Ring, wakers: &mut Vec<Waker>) {
        if cqe.res == -libc::ENOBUFS {
            ring.note_starved(self.how.group);
        }
        let chunk = cqe.buffer().map(|id| ring.picked(self.how.group, id, cqe.res.max(0) as u32));
        let chunk = chunk.filter(|chunk| !chunk.is_empty());
        let may_pass = || ring.refusal().is_none() && !self.shared.recv_turn.is_wanted();
        let completed = self.shared.recv().completed(cqe, chunk, self.how.group, may_pass);
        match completed {
            Completed::Concerns(concerned) => concerned.each(|waker| wakers.push(waker)),
            Completed::Onward(onward) => onward.go(&self.shared, wakers),
        }
        if self.looks.load(Ordering::Relaxed) && cqe.more() && !cqe.sock_nonempty() {
            self.look_for_end();
        }
    }
}

/// The most that one part of a message has: little enough that a peer which reads in the smallest steps does
/// not bring it to a helper thread (kernel-notes/send-tries.md), and enough that the cost of a part is small
/// beside that of its bytes.
const PART: usize = 128 * 1024;
const SEND_FLAGS: i32 = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

/// The most that is sent on the spot: some ten microseconds of copying.
const ON_THE_SPOT: usize = 64 * 1024;

/// Whether a message of so many bytes is better sent on the spot ([`send_now`]): an op would cost a turn of
/// its own (ring/lull.rs).
#[inline]
pub(super) fn leaves_on_the_spot(len: usize) -> bool {
    with_current(|ring| ring.is_some_and(|ring| ring.may_call(|| (1..=ON_THE_SPOT).contains(&len))))
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

    fn settle(&mut self, ring: &Ring) {
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
    let has_core = with_current(|ring| ring.is_some()) || reach::has_core();
    assert!(has_core, "{}", reach::NO_RUNTIME);
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
        if from.is_few()
            && leaves_on_the_spot(from.len())
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

    fn settle(&mut self, ring: &Ring) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{cell, multi};

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_cell_of_a_receive_that_the_stream_makes_is_one_cache_line() {
        assert!(multi::memory_of::<RecvPicked>() <= cell::ALIGN);
    }
}
