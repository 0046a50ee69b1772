//! What one stream receives, sent on by another: the inside of a proxy.
//!
//! Owns the choice between two ways, by what comes. Messages are received into the runtime's buffers and
//! those are sent off, as a proxy would write it itself. Bulk goes through a pipe, by `splice(2)` on the
//! spot: the kernel passes pages on, and nobody copies them (carry.rs).
//!
//! # The lanes
//! The receive lane is the forwarding's until another receiver waits with a place in it, and then until the
//! piece at hand is on its way. Who polls without a future has no place (turn.rs): the turn passes for it
//! between two messages, but not between two rounds of bulk, and the forwarding may be back first. The send
//! lane is taken for each piece anew, so that another sender comes in between two pieces and not into one.
//! Most messages do not come to the task at all: the completion that brings one sends it on (relay.rs).
//!
//! # What if
//! - *The future is dropped*: what it had received and not sent goes back to the front of the receive side's
//!   queue, before the turn passes. No byte is lost, none is sent twice.
//! - *A side fails*: what was not sent on goes back, too, and the error says how many bytes were, as far as
//!   one knows on this side: those in a ring's hands count, though the failure may be theirs.
//! - *The task moves on*: nothing here belongs to a core.
//! - *There is no pipe to be had, or a socket does not splice*: bulk goes through buffers as well, and a pipe
//!   is asked for again after a while.
//! - *The runtime goes down, the process forks*: as for a receive and for a send; system calls in between are
//!   not made in a child.
#![forbid(unsafe_code)]

use super::carry::{self, End};
use super::poll_write;
use super::receive::RecvPooled;
use super::relay::Relay;
use super::send_off;
use super::shared::Shared;
use super::turn::SendTurn;
use crate::buf::PooledBuf;
use crate::ring::pool::BUFFER_SIZE;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Where [`TcpStream::forward_to`](super::TcpStream::forward_to) sends: a stream, or the send half of one.
///
/// Only this crate's streams are such targets.
pub trait ForwardTarget: sealed::Sealed {}

pub(super) mod sealed {
    //! A target must have a send lane.

    use super::super::shared::Shared;
    use std::sync::Arc;

    /// Not to be implemented elsewhere, nor called.
    pub trait Sealed {
        /// What the stream's handles share.
        fn target(&self) -> &Arc<Shared>;
    }
}

/// Which of two streams has ended [`TcpStream::forward_to`](super::TcpStream::forward_to) with an error, and
/// how many bytes had been sent on before.
///
/// That is what the kernel has taken, or a ring on its way there: no fewer than have arrived, and more if
/// they have been lost with the connection. What was received and not sent on is received next from the
/// stream that was to be forwarded.
///
/// ```
/// use std::io::{self, ErrorKind};
/// use ringwork::net::ForwardError;
///
/// let error = ForwardError::Send { error: ErrorKind::BrokenPipe.into(), sent: 4096 };
/// assert_eq!(error.sent(), 4096);
/// assert_eq!(io::Error::from(error).kind(), ErrorKind::BrokenPipe);
/// ```
#[derive(Debug)]
pub enum ForwardError {
    /// The one that receives.
    Recv {
        /// Why.
        error: io::Error,
        /// How many bytes had been sent on, at most.
        sent: u64,
    },
    /// The one that sends.
    Send {
        /// Why.
        error: io::Error,
        /// How many bytes had been sent on, at most.
        sent: u64,
    },
}

impl ForwardError {
    /// How many bytes had been sent on, at most.
    pub fn sent(&self) -> u64 {
        match self {
            Self::Recv { sent, .. } | Self::Send { sent, .. } => *sent,
        }
    }
}

impl fmt::Display for ForwardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Recv { .. } => "receiving what is to be sent on",
            Self::Send { .. } => "sending on what was received",
        })
    }
}

impl std::error::Error for ForwardError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Recv { error, .. } | Self::Send { error, .. } => Some(error),
        }
    }
}

impl From<ForwardError> for io::Error {
    fn from(error: ForwardError) -> io::Error {
        match error {
            ForwardError::Recv { error, .. } | ForwardError::Send { error, .. } => error,
        }
    }
}

/// Bytes after which a pipe is asked for again where there was none.
const RETRY: u64 = 1 << 20;

/// Sends on what comes until the end; how many bytes that was.
pub(super) async fn forward(from: &Arc<Shared>, to: &Arc<Shared>) -> Result<u64, ForwardError> {
    let mut forwarding = Forwarding::new(from, to);
    let mut splices_from = 0;
    loop {
        let received = poll_fn(|cx| forwarding.poll_receive(cx)).await;
        let len = received.map_err(|error| ForwardError::Recv { error, sent: forwarding.count() })?;
        if len == 0 {
            return Ok(forwarding.count());
        }
        let sent = poll_fn(|cx| forwarding.poll_send_off(cx)).await;
        sent.map_err(|error| ForwardError::Send { error, sent: forwarding.count() })?;
        // Asked seldom: it takes the lock.
        if forwarding.sent < splices_from || len < BUFFER_SIZE as usize || !from.recv().is_bulk_and_taken() {
            continue;
        }
        forwarding.count();
        forwarding.receiving.pass(None);
        // In a box: a future is as large as its largest wait, and most connections never come here.
        match Box::pin(carry::bulk(from, to, &mut forwarding.sent)).await? {
            End::Bulk => {}
            End::Pipes => splices_from = forwarding.sent + RETRY,
        }
    }
}

/// A buffer on its way, or the wait for the next one. The receive lane is its own until another receiver
/// waits between two buffers, and it holds its place in the send lane. Dropped, it puts the bytes back,
/// passes the receive turn and then the send turn.
///
/// It is polled where it is, because a future that made it and handed it over would keep room for it twice.
struct Forwarding<'a> {
    from: &'a Arc<Shared>,
    receiving: RecvPooled<'a>,
    sending: SendTurn<'a>,
    bytes: Option<PooledBuf>,
    /// The relay of `from` is this one's.
    relays: bool,
    /// Bytes sent on, without those that the relay has not told.
    sent: u64,
}

impl<'a> Forwarding<'a> {
    fn new(from: &'a Arc<Shared>, to: &'a Arc<Shared>) -> Self {
        let relay = Relay::new(to);
        let relays = from.recv().begin_relay(relay).is_ok();
        let receiving = RecvPooled::relaying(from, relays);
        Self { from, receiving, sending: SendTurn::new(to), bytes: None, relays, sent: 0 }
    }

    /// How many bytes have come, zero at the end.
    // Inline, and so a part of `forward`: as a function of its own it keeps `RecvPooled::poll` from being
    // inlined (1,154 instructions instead of 1,023 for a pooled receive).
    #[inline]
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let bytes = ready!(self.receiving.poll_chunk(cx))?;
        self.count();
        let len = bytes.len();
        self.bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        Poll::Ready(Ok(len))
    }

    fn poll_send_off(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(send_off::poll_turn(&mut self.sending, cx))?;
        // Before the bytes are taken: they stay with the stream if a send has failed.
        poll_write::check_whole(self.sending.shared())?;
        if let Some(bytes) = self.bytes.take() {
            let len = bytes.len();
            send_off::go(&mut self.sending, bytes)?;
            self.sent += len as u64;
        }
        self.receiving.pass_if_wanted();
        Poll::Ready(Ok(()))
    }

    /// How many bytes have been sent on.
    fn count(&mut self) -> u64 {
        if self.relays
            && let Some(relay) = self.from.recv().relay()
        {
            self.sent += relay.take_sent();
        }
        self.sent
    }
}

impl Drop for Forwarding<'_> {
    fn drop(&mut self) {
        // Before the turn passes: what comes then is another's.
        if self.relays {
            let relay = self.from.recv().end_relay();
            drop(relay);
        }
        if let Some(bytes) = self.bytes.take() {
            self.receiving.pass(Some(bytes));
        }
    }
}
