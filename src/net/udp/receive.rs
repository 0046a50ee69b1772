//! Receiving datagrams.
//!
//! Owns the driver of the receive lane: the turn, what is kept, one op. A dropped future cancels its op; the
//! turn stays with the op until its final completion, which keeps what came all the same. One that the kernel
//! gave up without a reason is submitted again, with its turn.
#![forbid(unsafe_code)]

use super::socket::Shared;
use crate::base::coop;
use crate::base::guard::contained;
use crate::buf::{self, IoBufMut};
use crate::io::{Stop, explain, stoppable, stopped};
use crate::net::turn::Place;
use crate::ring::Ring;
use crate::ring::message::{Arrived, Incoming};
use crate::ring::op::{Op, Operation};
use crate::ring::transfer::was_given_up;
use crate::sys::fork;
use crate::sys::sqe::{Cqe, RES_FORKED, RES_GONE, Sqe, opcode};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A datagram that was received; see [`UdpSocket::recv_datagram`](super::UdpSocket::recv_datagram).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Bytes of it that are in the buffer.
    pub len: usize,
    /// Bytes that it had when it arrived.
    pub whole: usize,
    /// Who sent it.
    pub from: SocketAddr,
}

impl Datagram {
    /// Whether the buffer had no room for all of it.
    pub fn is_cut(&self) -> bool {
        self.len < self.whole
    }
}

/// What an op has received for a future that was gone.
pub(super) enum Kept {
    /// A datagram, as far as the future's buffer had room for it.
    Bytes(Box<[u8]>, Arrived),
    /// An error that nobody was told.
    Error(i32),
}

/// Whether a result says nothing about the socket.
fn is_of_the_op(res: i32) -> bool {
    [-libc::ECANCELED, -libc::EINTR, -libc::EAGAIN, -512, RES_GONE, RES_FORKED].contains(&res)
}

/// A receive of one datagram. Passes the turn on when it is over.
struct ReceiveOne<B> {
    shared: Arc<Shared>,
    message: Incoming<B>,
    peeks: bool,
}

impl<B: IoBufMut> Operation for ReceiveOne<B> {
    const OPCODE: u8 = opcode::RECVMSG;
    type Output = (io::Result<Arrived>, B);

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        self.message.describe(self.shared.fd(), if self.peeks { libc::MSG_PEEK } else { 0 })
    }

    fn goes_on(&mut self, cqe: Cqe) -> bool {
        was_given_up(cqe)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        let done = self.message.finish(cqe);
        self.shared.turn().pass();
        done
    }

    fn orphaned(self, cqe: Cqe) {
        let Self { shared, message, peeks } = self;
        let is_told = cqe.res < 0 && !is_of_the_op(cqe.res);
        let mut kept = is_told.then_some(Kept::Error(cqe.res));
        // The buffer may be foreign code, and nobody but this says that the receive is over. If it panics its
        // datagram is lost.
        contained(|| {
            let start = message.lands_at();
            let (result, buf) = message.finish(cqe);
            // After a peek it is still in the kernel.
            if let (Ok(arrived), false) = (result, peeks) {
                kept = Some(Kept::Bytes(buf.as_slice()[start..start + arrived.len].into(), arrived));
            }
        });
        if kept.is_some() {
            *shared.kept() = kept;
        }
        shared.turn().pass();
    }
}

/// Drives one receive.
struct Receiver<'a, B: IoBufMut> {
    shared: &'a Arc<Shared>,
    peeks: bool,
    place: Place,
    buf: Option<B>,
    op: Option<Op<ReceiveOne<B>>>,
    why: Option<io::ErrorKind>,
}

impl<'a, B: IoBufMut> Receiver<'a, B> {
    fn new(shared: &'a Arc<Shared>, buf: B, peeks: bool) -> Self {
        Self { shared, peeks, place: Place::OUTSIDE, buf: Some(buf), op: None, why: None }
    }

    /// Nothing of this receiver's is in flight: the turn passes on.
    fn leave(&mut self) {
        self.shared.turn().leave(std::mem::take(&mut self.place));
    }

    fn take_buf(&mut self) -> B {
        self.buf.take().expect("polled after completion")
    }

    /// With the turn: what was kept of a dropped receive, copied into the buffer.
    fn take_kept(&mut self) -> Option<io::Result<Arrived>> {
        let mut kept = self.shared.kept();
        let found = match kept.as_ref()? {
            Kept::Error(res) => Err(Cqe::error(*res)),
            Kept::Bytes(bytes, arrived) => {
                let len = buf::fill(self.buf.as_mut().expect("polled after completion"), bytes);
                Ok(Arrived { len, ..arrived.clone() })
            }
        };
        let taken = if self.peeks && found.is_ok() { None } else { kept.take() };
        drop(kept);
        drop(taken);
        Some(found)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(io::Result<Arrived>, B)> {
        let budget = ready!(coop::poll_proceed(cx));
        if self.op.is_none() {
            if let Some(why) = self.why {
                self.leave();
                return Poll::Ready((Err(stopped(why)), self.take_buf()));
            }
            // A datagram would be lost for nothing.
            if let Some(Err(full)) = self.buf.as_ref().and_then(buf::without_room) {
                self.leave();
                return Poll::Ready((Err(full), self.take_buf()));
            }
            if self.shared.turn().poll_enter(&mut self.place, cx).is_pending() {
                // In a child of fork the turn of an op that the parent has never passes.
                let Err(error) = fork::check() else { return Poll::Pending };
                self.leave();
                return Poll::Ready((Err(error), self.take_buf()));
            }
            // What the parent keeps is told to the parent.
            if let Err(error) = fork::check() {
                self.leave();
                return Poll::Ready((Err(error), self.take_buf()));
            }
            if let Some(found) = self.take_kept() {
                self.leave();
                budget.made_progress();
                return Poll::Ready((found, self.take_buf()));
            }
            let message = Incoming::new(self.take_buf());
            let shared = Arc::clone(self.shared);
            self.op = Some(Op::new(ReceiveOne { shared, message, peeks: self.peeks }));
        }
        let op = self.op.as_mut().expect("made above");
        let (result, buf) = ready!(Pin::new(op).poll(cx));
        self.op = None;
        // The op passed the turn on when it finished.
        self.place = Place::OUTSIDE;
        budget.made_progress();
        Poll::Ready((explain(result, self.why), buf))
    }

    fn stop(&mut self, why: io::ErrorKind) {
        self.why = Some(why);
        if let Some(op) = &self.op {
            op.cancel();
        }
    }
}

impl<B: IoBufMut> Drop for Receiver<'_, B> {
    fn drop(&mut self) {
        match self.op.take() {
            // It is cancelled, and passes the turn on at its final completion.
            Some(op) if op.cell().is_some() => drop(op),
            _ => self.leave(),
        }
    }
}

/// Who sent it, as std's type.
fn sender(arrived: &Arrived) -> io::Result<SocketAddr> {
    arrived.from.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

macro_rules! receives {
    ($(#[$doc:meta])* $name:ident -> $output:ty, $arrived:ident => $result:expr) => {
        $(#[$doc])*
        #[must_use = "a receive does nothing unless it is awaited"]
        pub struct $name<'a, B: IoBufMut>(Receiver<'a, B>);

        impl<'a, B: IoBufMut> $name<'a, B> {
            pub(super) fn new(shared: &'a Arc<Shared>, buf: B, peeks: bool) -> Self {
                Self(Receiver::new(shared, buf, peeks))
            }
        }

        // The buffer moves into the op's cell before the kernel sees it: nothing in the future is pointed at.
        impl<B: IoBufMut> Unpin for $name<'_, B> {}

        impl<B: IoBufMut> Future for $name<'_, B> {
            type Output = (io::Result<$output>, B);

            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                let (result, buf) = ready!(self.0.poll(cx));
                Poll::Ready((result.and_then(|$arrived| $result), buf))
            }
        }

        impl<B: IoBufMut> Stop for $name<'_, B> {
            fn stop(&mut self, why: io::ErrorKind) {
                self.0.stop(why);
            }
        }

        stoppable!($name<'a, B: IoBufMut>);
    };
}

receives! {
    /// The future of [`UdpSocket::recv`](super::UdpSocket::recv).
    Recv -> usize, arrived => Ok(arrived.len)
}

receives! {
    /// The future of [`UdpSocket::recv_from`](super::UdpSocket::recv_from) and
    /// [`UdpSocket::peek_from`](super::UdpSocket::peek_from).
    RecvFrom -> (usize, SocketAddr), arrived => Ok((arrived.len, sender(&arrived)?))
}

receives! {
    /// The future of [`UdpSocket::recv_datagram`](super::UdpSocket::recv_datagram).
    RecvDatagram -> Datagram, arrived => {
        Ok(Datagram { len: arrived.len, whole: arrived.whole, from: sender(&arrived)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::UdpSocket;

    #[test]
    fn a_receive_that_the_kernel_gave_up_goes_on_and_nobody_is_told() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let shared = UdpSocket::from_std(socket).unwrap().shared;
        let mut op = ReceiveOne { shared, message: Incoming::new([0u8; 4]), peeks: false };
        for res in [-libc::EAGAIN, -libc::EINTR] {
            assert!(op.goes_on(Cqe::made_up(res)), "{res}");
        }
        for res in [0, 4, -libc::ECONNREFUSED, -libc::ECANCELED, RES_GONE, RES_FORKED] {
            assert!(!op.goes_on(Cqe::made_up(res)), "{res}");
        }
    }
}
