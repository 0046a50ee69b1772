//! The send lane of a stream for rooms above: messages that may be made only when their turn has come.
//!
//! TLS numbers its records while it encrypts them, so they must leave in the order in which they were
//! made. [`LaneSend`] separates the turn from the send: first the turn, then the bytes, then the op, then
//! perhaps more bytes, and only then the next caller. A send in flight whose `LaneSend` is dropped goes on
//! and keeps the turn until its final completion; it is cancelled with the last handle, as every send. What
//! leaves on the spot (ops.rs) has no op, and the turn is the caller's all the time.
#![forbid(unsafe_code)]

use super::ops::{SendWhole, assert_reach};
use super::poll_write;
use super::shared::Shared;
use super::turn::Place;
use super::{Connected, TcpStream};
use crate::buf::IoBuf;
use crate::ring::Ring;
use crate::ring::op::{Op, Operation};
use crate::sys::sqe::{Cqe, Sqe};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A caller of the send lane that makes its bytes when it has the turn.
pub(crate) struct LaneSend<'a, B: IoBuf> {
    shared: &'a Arc<Shared>,
    place: Place,
    sending: Option<Sending<B>>,
}

/// A send that was started.
enum Sending<B: IoBuf> {
    /// By an op.
    Op(Op<SendPart<B>>),
    /// On the spot: it is over.
    Over(io::Result<usize>, B),
}

impl<'a, B: IoBuf> LaneSend<'a, B> {
    /// A caller that has not asked for its turn yet.
    pub(crate) fn new(stream: &'a TcpStream) -> Self {
        Self { shared: stream.handle().shared(), place: Place::OUTSIDE, sending: None }
    }

    /// Takes the turn, or waits for it.
    pub(crate) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Before anything is made that would be lost.
        assert_reach();
        self.shared.send_turn().poll_enter(&mut self.place, cx)
    }

    /// Whether a message before this one was cut after its caller had gone. For who has the turn.
    pub(crate) fn follows_a_cut(&self) -> bool {
        debug_assert!(self.place == Place::THROUGH, "only the turn says that those before are over");
        self.shared.is_torn()
    }

    /// Makes a send of these bytes. It is on its way once [`LaneSend::poll_sent`] has been called. That comes
    /// next, for a part of it may be out.
    pub(crate) fn start(&mut self, buf: B) {
        let is_alone = self.place == Place::THROUGH && self.sending.is_none();
        debug_assert!(is_alone, "one send at a time, with the turn");
        self.sending = Some(match SendWhole::begin(Arc::clone(self.shared), buf) {
            Ok(part) => Sending::Op(Op::new(SendPart(part)).detach()),
            Err((result, buf)) => Sending::Over(result, buf),
        });
    }

    /// Whether a send was started and is not done.
    pub(crate) fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Waits until the bytes are out. The turn stays with the caller.
    pub(crate) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<(io::Result<usize>, B)> {
        if let Some(Sending::Op(op)) = &mut self.sending {
            let sent = ready!(Pin::new(op).poll(cx));
            self.sending = None;
            return Poll::Ready(sent);
        }
        match self.sending.take() {
            Some(Sending::Over(result, buf)) => Poll::Ready((result, buf)),
            _ => panic!("no send was started"),
        }
    }

    /// Passes the turn on: the message is complete.
    pub(crate) fn pass(&mut self) {
        debug_assert!(self.sending.is_none(), "a send in flight keeps the turn");
        self.shared.leave_send(std::mem::take(&mut self.place));
    }
}

impl<B: IoBuf> Drop for LaneSend<'_, B> {
    fn drop(&mut self) {
        match self.sending.take() {
            Some(Sending::Op(op)) if op.cell().is_some() => {
                self.shared.note_orphan(op.cell().expect("just seen").clone());
                drop(op);
            }
            sending => {
                // It panicked before it had a cell, in a foreign waker: a part may have left on the spot.
                if matches!(sending, Some(Sending::Op(_))) {
                    self.shared.note_cut();
                }
                self.shared.leave_send(std::mem::take(&mut self.place));
            }
        }
    }
}

impl TcpStream {
    /// Whether a message was cut with nobody there to be told. For who has the send lane's turn.
    pub(crate) fn is_torn(&self) -> bool {
        self.shared().is_torn()
    }

    /// Whether nobody had the send lane's turn a moment ago.
    pub(crate) fn is_lane_free(&self) -> bool {
        self.shared().send_turn().is_free()
    }
}

/// A part of a message. Unlike [`SendWhole`] it leaves the turn to the caller, unless the caller is gone.
struct SendPart<B>(SendWhole<B, true>);

impl<B: IoBuf> Operation for SendPart<B> {
    const OPCODE: u8 = SendWhole::<B, true>::OPCODE;
    type Output = (io::Result<usize>, B);

    fn describe(&mut self, ring: &Ring) -> Sqe {
        self.0.describe(ring)
    }

    #[inline]
    fn goes_on(&mut self, cqe: Cqe) -> bool {
        self.0.goes_on(cqe)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        self.0.from.all(cqe)
    }

    fn orphaned(self, cqe: Cqe) {
        if !self.0.from.is_whole() {
            // Also if nothing of it has left: the next record has the number behind its own.
            poll_write::lost(&self.0.shared, cqe, true);
        }
        self.0.shared.orphan_sent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::poll_write::{poll_write, put_behind};
    use crate::runtime::{Builder, Pin as Pinning};
    use socket2::{Domain, Socket, Type};
    use std::future::poll_fn;
    use std::io::{IoSlice, Read};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::mpsc::channel;
    use std::task::Waker;
    use std::thread;
    use std::time::Duration;

    /// A connection that takes a few KiB until its second end is read from.
    fn narrow_pair() -> (std::net::TcpStream, std::net::TcpStream) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.set_recv_buffer_size(4096).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(1).unwrap();
        let listener = TcpListener::from(listener);
        let one = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        socket2::SockRef::from(&one).set_send_buffer_size(4096).unwrap();
        (one, listener.accept().unwrap().0)
    }

    #[test]
    fn who_finds_no_write_in_flight_does_not_find_the_lane_taken_for_it() {
        const ALL: usize = 64 * 1024;
        let (one, mut other) = narrow_pair();
        let runtime = Builder::new().cores(1).pin(Pinning::Off).build().unwrap();
        let stream = runtime.block_on(async {
            let stream = TcpStream::from_std(one).unwrap();
            let n = poll_fn(|cx| poll_write(&stream, cx, &[IoSlice::new(&[7; ALL])])).await;
            assert_eq!(n.unwrap(), ALL);
            Arc::new(stream)
        });
        // The turn can pass on only by way of the list, and not while that is held.
        assert!(stream.shared().send_turn().stand_by(Waker::noop()), "nobody reads");
        let held = stream.shared().send_turn().hold_list();
        let (found, finds) = channel();
        let looker = thread::spawn({
            let stream = Arc::clone(&stream);
            move || {
                while put_behind(&*stream, |_| {}) {
                    thread::yield_now();
                }
                found.send(stream.is_lane_free()).unwrap();
            }
        });
        other.read_exact(&mut [0; ALL]).unwrap();
        // By now the write is over, or will be soon. Whoever is told so early is told wrongly.
        if let Ok(free) = finds.recv_timeout(Duration::from_millis(200)) {
            assert!(free, "no write is in flight and the lane is taken");
        }
        drop(held);
        assert!(finds.recv().unwrap());
        looker.join().unwrap();
    }
}
