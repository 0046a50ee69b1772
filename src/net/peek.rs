//! Looking at received bytes without taking them.
//!
//! Owns the future of a stream's `peek`: a pooled receive that puts what it got back in front before its turn
//! passes, so that nobody is in between.
#![forbid(unsafe_code)]

use super::receive::RecvPooled;
use super::shared::Shared;
use crate::buf::{self, IoBufMut};
use crate::io::{Stop, stoppable};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The future of [`TcpStream::peek`](super::TcpStream::peek) and
/// [`UnixStream::peek`](super::UnixStream::peek).
#[must_use = "a peek does nothing unless it is awaited"]
pub struct Peek<'a, B: IoBufMut> {
    receive: RecvPooled<'a>,
    buf: Option<B>,
}

impl<'a, B: IoBufMut> Peek<'a, B> {
    pub(super) fn new(shared: &'a Arc<Shared>, buf: B) -> Self {
        Self { receive: RecvPooled::new(shared), buf: Some(buf) }
    }
}

// No op points at the buffer: what is received lies in another one.
impl<B: IoBufMut> Unpin for Peek<'_, B> {}

impl<B: IoBufMut> Future for Peek<'_, B> {
    type Output = (io::Result<usize>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let buf = this.buf.as_mut().expect("polled after completion");
        let result = match buf::without_room(buf) {
            Some(answer) => answer,
            None => match ready!(this.receive.poll_chunk(cx)) {
                Ok(chunk) => {
                    let n = this.receive.pour(chunk).shown_to(buf);
                    this.receive.pass(None);
                    Ok(n)
                }
                Err(error) => {
                    this.receive.pass(None);
                    Err(error)
                }
            },
        };
        Poll::Ready((result, this.buf.take().expect("just seen")))
    }
}

impl<B: IoBufMut> Stop for Peek<'_, B> {
    fn stop(&mut self, why: io::ErrorKind) {
        self.receive.stop(why);
    }
}

stoppable!(Peek<'a, B: IoBufMut>);
