//! Sending datagrams: independent ops, each one datagram. One that the kernel gave up without a reason is
//! submitted again.
#![forbid(unsafe_code)]

use super::socket::Shared;
use crate::base::coop;
use crate::buf::IoBuf;
use crate::io::{Stop, explain, stoppable, stopped};
use crate::ring::Ring;
use crate::ring::message::Outgoing;
use crate::ring::op::{Op, Operation};
use crate::ring::transfer::was_given_up;
use crate::sys::sqe::{Cqe, Sqe, opcode};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A send of one datagram.
struct SendOne<B> {
    shared: Arc<Shared>,
    message: Outgoing<B>,
}

impl<B: IoBuf> Operation for SendOne<B> {
    const OPCODE: u8 = opcode::SENDMSG;
    type Output = (io::Result<usize>, B);

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        self.message.describe(self.shared.fd(), 0)
    }

    fn goes_on(&mut self, cqe: Cqe) -> bool {
        was_given_up(cqe)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        self.message.finish(cqe)
    }
}

/// The future of [`UdpSocket::send_to`](super::UdpSocket::send_to) and
/// [`UdpSocket::send`](super::UdpSocket::send).
#[must_use = "a send does nothing unless it is awaited"]
pub struct Send<'a, B: IoBuf> {
    shared: &'a Arc<Shared>,
    to: Option<SocketAddr>,
    buf: Option<B>,
    op: Option<Op<SendOne<B>>>,
    why: Option<io::ErrorKind>,
}

impl<'a, B: IoBuf> Send<'a, B> {
    pub(super) fn new(shared: &'a Arc<Shared>, buf: B, to: Option<SocketAddr>) -> Self {
        Self { shared, to, buf: Some(buf), op: None, why: None }
    }
}

// The buffer moves into the op's cell before the kernel sees it: nothing in the future is pointed at.
impl<B: IoBuf> Unpin for Send<'_, B> {}

impl<B: IoBuf> Future for Send<'_, B> {
    type Output = (io::Result<usize>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let budget = ready!(coop::poll_proceed(cx));
        if this.op.is_none() {
            let buf = this.buf.take().expect("polled after completion");
            if let Some(why) = this.why {
                return Poll::Ready((Err(stopped(why)), buf));
            }
            let message = Outgoing::new(buf, this.to.map(Into::into));
            this.op = Some(Op::new(SendOne { shared: Arc::clone(this.shared), message }));
        }
        let op = this.op.as_mut().expect("made above");
        let (result, buf) = ready!(Pin::new(op).poll(cx));
        this.op = None;
        budget.made_progress();
        Poll::Ready((explain(result, this.why), buf))
    }
}

impl<B: IoBuf> Stop for Send<'_, B> {
    fn stop(&mut self, why: io::ErrorKind) {
        self.why = Some(why);
        if let Some(op) = &self.op {
            op.cancel();
        }
    }
}

stoppable!(Send<'a, B: IoBuf>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::UdpSocket;
    use crate::sys::sqe::{RES_FORKED, RES_GONE};

    #[test]
    fn a_send_that_the_kernel_gave_up_goes_on_and_nobody_is_told() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let shared = UdpSocket::from_std(socket).unwrap().shared;
        let mut op = SendOne { shared, message: Outgoing::new([0u8; 4], None) };
        for res in [-libc::EAGAIN, -libc::EINTR] {
            assert!(op.goes_on(Cqe::made_up(res)), "{res}");
        }
        for res in [0, 4, -libc::ECONNREFUSED, -libc::ECANCELED, RES_GONE, RES_FORKED] {
            assert!(!op.goes_on(Cqe::made_up(res)), "{res}");
        }
    }
}
