//! What the two directions of a TLS stream share.
//!
//! # States of receiving
//! | state | next receive |
//! |---|---|
//! | plaintext ready | takes it |
//! | nothing ready, no end | waits for the socket, gives what it brings to the engine, looks again |
//! | ended: the peer said so | end of the stream, each time |
//! | ended: the socket did, the peer had not said so | `UnexpectedEof`, each time |
//! | ended: protocol error or alert | that error, each time |
//!
//! Received ciphertext goes to the engine in the poll that got it from the socket, so no future ever holds
//! bytes: dropping one loses none. Who may receive is the lane's turn: without it two receivers could swap
//! what the socket gave them in order.
//!
//! # States of sending
//! | state | next send |
//! |---|---|
//! | open | encrypts and sends |
//! | closed: the close was made | `BrokenPipe` |
//! | cut: a message is not complete on the wire and will not be | `BrokenPipe` |
//!
//! A record is made only by a caller that has the turn of the socket's send lane, under the lock, and is
//! in flight before the turn passes on. So records leave in the order of their numbers.
//!
//! # What is owed
//! What the engine owes the peer goes in front of the next record. Whoever makes it owed looks at the lane
//! then ([`Inner::send_owed`]), and whoever has had the lane's turn looks for something owed, after it has
//! passed the turn, also if it could not make its record. What is owed is said before the lane is asked for
//! and looked for after the turn has passed, so one of the two sees the other:
//!
//! | the lane | what is owed leaves |
//! |---|---|
//! | free | at once |
//! | a future has the turn, or it was granted to one | when that looks, or a later one in line does |
//! | a send without a future is in flight | behind it, as the next op |
//! | one begins meanwhile | in front of its record; if there comes none, when its caller looks |
//! | a future has the turn that is dropped before it looks | with the next call that sends |
//! | what was owed before is in flight | with the next call that sends |
//!
//! Nobody looks when a send without a future is over. Whether one is in flight is asked under the send side's
//! lock, under which its last completion passes the turn as well (`net::poll_write`): who is told that there
//! is none does not find the lane taken for it.
//!
//! The next call that sends is the next message, also if it is refused, or a flush. Behind close_notify
//! nothing is owed, because the peer looks at no more and the socket may be closed; nor behind a cut.
//!
//! The lock is held while records are encrypted or decrypted (at most four of 16 KiB for a send, one
//! received buffer for a receive) and never across an await or a system call.
#![forbid(unsafe_code)]

use super::engine::{Engine, Sink};
use super::error;
use super::session::Session;
use super::spare;
use crate::buf::{self, IoBuf, PooledBuf, Slice};
use crate::net::poll_write::put_behind;
use crate::net::{LaneSend, Lists, Receivers, TcpStream, Word};
use rustls::Error;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

/// Bytes as they are sent.
pub(super) type Sealed = Slice<Vec<u8>>;

/// A TLS stream without its handle.
pub(super) struct Inner {
    pub(super) tcp: TcpStream,
    pub(super) session: Session,
    /// The order of receivers; that of senders is the TCP stream's.
    receiving: Word,
    lists: Lists,
    /// The socket has been handed over: the handle's drop leaves it alone.
    pub(super) handed_over: AtomicBool,
    /// What the state says whenever its lock is given up, for those who look for each message: [`OWES`] for
    /// who passes the turn of the lane, [`READY`] for who has the turn of receiving.
    says: AtomicU8,
    state: Mutex<State>,
}

/// What the lock guards.
pub(super) struct State {
    pub(super) engine: Engine,
    /// Plaintext that was received and not taken.
    ready: Option<PooledBuf>,
    end: Option<End>,
    pub(super) sending: Sending,
}

/// Something is to go to the peer, and may.
const OWES: u8 = 1;
/// A receive gets something without asking the socket.
const READY: u8 = 2;

/// The state while it is locked.
pub(super) struct Locked<'a> {
    state: MutexGuard<'a, State>,
    says: &'a AtomicU8,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Before the lock is free, and before whoever makes something owed asks for the lane: if that is
        // taken then, the one who has it sees this after passing it on.
        self.says.store(self.state.says(), Ordering::Release);
    }
}

/// How receiving ended.
#[derive(Clone)]
enum End {
    Said,
    Truncated,
    Failed(Error),
}

/// Whether more can be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    Open,
    Closed,
    Cut,
}

impl Inner {
    /// The order of receivers.
    pub(super) fn recv_turn(&self) -> Receivers<'_> {
        self.lists.of_receivers(&self.receiving)
    }

    /// A stream after its handshake, with plaintext that came with the last message of it, and perhaps the
    /// end.
    pub(super) fn new(
        tcp: TcpStream,
        engine: Engine,
        ready: Option<PooledBuf>,
        session: Session,
    ) -> Arc<Self> {
        let mut state = State { engine, ready, end: None, sending: Sending::Open };
        state.note_end();
        Arc::new(Self {
            tcp,
            session,
            receiving: Word::default(),
            lists: Lists::default(),
            handed_over: AtomicBool::new(false),
            says: AtomicU8::new(state.says()),
            state: Mutex::new(state),
        })
    }

    /// The state; see the module header for how long it is held.
    pub(super) fn state(&self) -> Locked<'_> {
        // Should rustls or a provider panic half-way, rustls's own state says that it has failed.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { state, says: &self.says }
    }

    /// The state of a stream that nobody else has.
    pub(super) fn into_state(self) -> (TcpStream, State) {
        (self.tcp, self.state.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for the turn to make records. If a message before was cut with nobody there to be told, the
    /// stream is told now.
    pub(super) fn poll_turn(&self, lane: &mut LaneSend<'_, Sealed>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(lane.poll_turn(cx));
        if lane.follows_a_cut() {
            self.cut();
        }
        Poll::Ready(())
    }

    /// As `poll_turn`, for a caller without a future that has the turn.
    pub(super) fn note_cut(&self) {
        if self.tcp.is_torn() {
            self.cut();
        }
    }

    /// Sends what the engine owes the peer, if the lane is free or a send without a future has it, and waits
    /// for nothing.
    pub(super) fn send_owed(&self) {
        let mut cx = Context::from_waker(Waker::noop());
        // Again after each turn that was had: who found the lane taken meanwhile went away.
        while self.owes() {
            if put_behind(&self.tcp, |out| out.extend(self.state().engine.take_owed())) {
                return;
            }
            let mut lane: LaneSend<'_, Sealed> = LaneSend::new(&self.tcp);
            if self.poll_turn(&mut lane, &mut cx).is_pending() {
                drop(lane);
                // Whoever has the turn looks. If nobody has, it may have been granted to this call, and who
                // passed it has found it granted.
                if self.tcp.is_lane_free() {
                    continue;
                }
                return;
            }
            if !self.owes() {
                continue;
            }
            let owed = self.state().engine.take_owed();
            let all = owed.len();
            lane.start(owed.slice(..));
            // Dropped in flight it goes on.
            let Poll::Ready((sent, _)) = lane.poll_sent(&mut cx) else { return };
            // The error is the next send's.
            let _ = self.judge(sent, all);
        }
    }

    /// Whether something is to go to the peer, and may.
    fn owes(&self) -> bool {
        self.says.load(Ordering::Acquire) & OWES != 0
    }

    /// What a receive gets without asking the socket. For who has the turn of receiving.
    pub(super) fn take_ready(&self) -> Option<io::Result<PooledBuf>> {
        // Only who has that turn makes something ready.
        if self.says.load(Ordering::Acquire) & READY == 0 {
            return None;
        }
        self.state().take_ready()
    }

    /// The result of a send of `all` sealed bytes. If they are not all out, the stream is cut.
    pub(super) fn judge(&self, sent: io::Result<usize>, all: usize) -> io::Result<()> {
        match sent {
            Ok(n) if n == all => Ok(()),
            sent => {
                self.cut();
                sent.and(Err(io::ErrorKind::WriteZero.into()))
            }
        }
    }

    /// A message is not complete on the wire and will not be: nothing may follow it.
    pub(super) fn cut(&self) {
        self.state().sending = Sending::Cut;
    }
}

impl State {
    fn says(&self) -> u8 {
        let owes = self.engine.owes() && self.sending == Sending::Open;
        let ready = self.ready.is_some() || self.end.is_some();
        (if owes { OWES } else { 0 }) | (if ready { READY } else { 0 })
    }

    /// What a receive gets without asking the socket: plaintext, or the end.
    pub(super) fn take_ready(&mut self) -> Option<io::Result<PooledBuf>> {
        if let Some(ready) = self.ready.take() {
            return Some(Ok(ready));
        }
        self.end.as_ref().map(|end| match end {
            End::Said => Ok(PooledBuf::end_of_stream()),
            End::Truncated => Err(error::truncated("the connection ended without close_notify")),
            End::Failed(error) => Err(error::protocol(error.clone())),
        })
    }

    /// Puts back what a receive did not take.
    pub(super) fn put_back(&mut self, rest: PooledBuf) {
        debug_assert!(self.ready.is_none(), "taken by the same receive");
        self.ready = Some(rest);
    }

    /// Takes in what the socket gave. Plaintext goes to `direct`, which says how much it has taken; the
    /// rest becomes ready. An empty buffer is the end of the socket.
    pub(super) fn take_in(&mut self, received: PooledBuf, direct: &mut dyn FnMut(&[u8]) -> usize) {
        debug_assert!(self.ready.is_none() && self.end.is_none(), "the socket was asked in need");
        if received.is_empty() {
            self.end = Some(End::Truncated);
            return;
        }
        // The engine remembers an error.
        (self.ready, _) = open(&mut self.engine, received, direct);
        self.note_end();
    }

    fn note_end(&mut self) {
        self.end = match self.engine.failed() {
            Some(error) => Some(End::Failed(error.clone())),
            None => self.engine.peer_closed().then_some(End::Said),
        };
    }

    /// Whether a message may be sent.
    pub(super) fn check_sendable(&self) -> io::Result<()> {
        match self.sending {
            Sending::Open => Ok(()),
            Sending::Closed => Err(error::not_sendable("the send direction was closed")),
            Sending::Cut => Err(error::not_sendable("an earlier message was cut and nothing can follow it")),
        }
    }

    /// Encrypts one piece of a message into `out`, behind what is owed; returns how many bytes to send.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        self.check_sendable()?;
        self.engine.seal(plain, out).map_err(error::protocol)
    }

    /// Encrypts one piece behind what `out` holds, behind what is owed. `out` holds no more than that
    /// afterwards, and no more than before on an error.
    pub(super) fn seal_behind(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.check_sendable()?;
        self.engine.seal_behind(plain, out).map_err(error::protocol)
    }

    /// Makes close_notify in `out`, behind what is owed; returns how many bytes to send, or none if the
    /// close was made before.
    pub(super) fn seal_close(&mut self, out: &mut Vec<u8>) -> io::Result<Option<usize>> {
        match self.sending {
            Sending::Open => {
                let n = self.engine.seal_close(out).map_err(error::protocol)?;
                self.sending = Sending::Closed;
                Ok(Some(n))
            }
            Sending::Closed => Ok(None),
            Sending::Cut => self.check_sendable().map(|()| None),
        }
    }
}

/// Decrypts a received buffer; what `direct` does not take comes back, in the same buffer where it fits.
pub(super) fn open(
    engine: &mut Engine,
    mut received: PooledBuf,
    direct: &mut dyn FnMut(&[u8]) -> usize,
) -> (Option<PooledBuf>, Result<(), Error>) {
    // As much is needed as came, or more if a record had begun before.
    let (mut rest, length) = (Vec::new(), received.len());
    let sink: Sink<'_> = &mut |plain: &[u8]| {
        let taken = direct(plain);
        if taken < plain.len() {
            if rest.capacity() == 0 {
                rest = spare::take(length.max(plain.len()));
                rest.clear();
            }
            rest.extend_from_slice(&plain[taken..]);
        }
    };
    let result = engine.take_in(&mut received, sink);
    if rest.is_empty() {
        return (None, result);
    }
    received.truncate(0);
    if buf::IoBufMut::capacity(&received) < rest.len() {
        received = PooledBuf::heap(rest.len());
    }
    buf::fill(&mut received, &rest);
    spare::put(rest);
    (Some(received), result)
}
