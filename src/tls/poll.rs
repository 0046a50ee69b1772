//! Receiving and sending without a future, for the poll-shaped traits.
//!
//! Owns [`poll_read`], [`poll_write`], [`poll_flush`] and [`poll_shutdown`]: the tables of `state.rs`, over
//! what `net::poll_read` and `net::poll_write` do for a socket. It knows no trait: the adapters are
//! `compat`'s, a few lines each.
//!
//! # Receiving
//! A call takes the turn of receivers only for as long as it looks, so one that is never repeated holds
//! nobody up; while a future has the turn it stands by. Plaintext goes into the caller's buffer where there
//! is room, and what is left becomes ready for the next receive, of either shape.
//!
//! # Sending
//! A call encrypts what it takes right behind what was taken before and has not left: one record or several,
//! made under the lock of the socket's send side, which with the turn that is held while anything is in
//! flight keeps the records in the order of their numbers (`net::poll_write::poll_put`). A record that is
//! made leaves, also if nobody polls any more. If one cannot, the stream is cut: the next call says why, and
//! those after it that nothing can follow.
//!
//! What is owed to the peer goes in front of the next record, behind a call that is refused one, or with a
//! flush.
//!
//! # What if
//! - *The waiting task is dropped, or moves*: as for a socket; nothing here belongs to a call.
//! - *The last handle is dropped*: what was taken still leaves, within the limits of the socket
//!   (`net::poll_write`), and the peer sees an end that nobody announced, unless [`poll_shutdown`] came
//!   first.
//! - *The runtime goes down*: what has not left is cut and the connection reset.
#![forbid(unsafe_code)]

use super::TlsStream;
use super::error;
use super::spare;
use super::state::{Inner, Sending};
use crate::base::coop;
use crate::net::poll_read::poll_recv_pooled;
use crate::net::poll_write;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

/// Plaintext of one record: what a call may add to a socket that has taken nearly all it takes.
const RECORD: usize = 16 * 1024;
/// Plaintext one call takes at most: four records, some tens of microseconds.
const MOST: usize = 4 * RECORD;

/// Takes at most `room` bytes, which `put` appends to the caller's buffer; zero is the end that the peer
/// announced (or no room).
///
/// # Errors
/// As [`TlsStream::recv`](super::TlsStream::recv).
pub(crate) fn poll_read(
    stream: &TlsStream,
    cx: &mut Context<'_>,
    room: usize,
    mut put: impl FnMut(&[u8]),
) -> Poll<io::Result<usize>> {
    if room == 0 {
        return Poll::Ready(Ok(0));
    }
    let inner = stream.inner();
    // Only for as long as this looks.
    let Ok(_turn) = inner.recv_turn().visit(cx.waker()) else { return Poll::Pending };
    loop {
        let budget = ready!(coop::poll_proceed(cx));
        let ready = inner.take_ready();
        if let Some(ready) = ready {
            budget.made_progress();
            return Poll::Ready(ready.map(|mut ready| {
                let n = ready.len().min(room);
                put(&ready[..n]);
                ready.advance(n);
                if !ready.is_empty() {
                    inner.state().put_back(ready);
                }
                n
            }));
        }
        drop(budget);
        let received = ready!(poll_recv_pooled(&inner.tcp, cx))?;
        let mut taken = 0;
        let owes = {
            let mut state = inner.state();
            state.take_in(received, &mut |plain| {
                let n = plain.len().min(room - taken);
                put(&plain[..n]);
                taken += n;
                n
            });
            state.engine.owes()
        };
        if owes {
            inner.send_owed();
        }
        if taken > 0 {
            return Poll::Ready(Ok(taken));
        }
    }
}

/// Encrypts what there is room for of `bufs`; the number is zero only if they are empty.
///
/// # Errors
/// As [`TlsStream::send`](super::TlsStream::send), of bytes taken before or of these.
///
/// # Panics
/// On a thread that is no core and has entered no runtime.
pub(crate) fn poll_write(
    stream: &TlsStream,
    cx: &mut Context<'_>,
    bufs: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let all: usize = bufs.iter().map(|buf| buf.len()).sum();
    if all == 0 {
        return Poll::Ready(Ok(0));
    }
    let inner = stream.inner();
    let sealed = poll_write::poll_put(&inner.tcp, cx, |out| {
        inner.note_cut();
        let n = all.min(MOST.saturating_sub(out.len()).max(RECORD));
        with_first(bufs, n, |plain| inner.state().seal_behind(plain, out)).map(|()| n)
    });
    // What the socket could not send before cuts the stream; what cannot be encrypted now does not.
    Poll::Ready(looked(inner, told(inner, ready!(sealed)).flatten()))
}

/// Ready when all that was written has been handed to the kernel, and what is owed to the peer is on its way.
///
/// # Errors
/// As [`poll_write`], of bytes taken before.
pub(crate) fn poll_flush(stream: &TlsStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let inner = stream.inner();
    told(inner, ready!(poll_write::poll_flush(&inner.tcp, cx)))?;
    inner.send_owed();
    Poll::Ready(Ok(()))
}

/// Says what has become of what was written, and waits for nothing. See `net::poll_write::poll_send_off`.
///
/// # Errors
/// As [`poll_flush`].
#[cfg_attr(not(feature = "hyper"), allow(dead_code))]
pub(crate) fn poll_send_off(stream: &TlsStream) -> Poll<io::Result<()>> {
    let inner = stream.inner();
    told(inner, ready!(poll_write::poll_send_off(&inner.tcp)))?;
    inner.send_owed();
    Poll::Ready(Ok(()))
}

/// Announces the end behind all that was written and closes the send direction. To be called until it is
/// ready.
///
/// # Errors
/// As [`poll_write`], of bytes taken before.
pub(crate) fn poll_shutdown(stream: &TlsStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let inner = stream.inner();
    if inner.state().sending == Sending::Open {
        let closed = poll_write::poll_put(&inner.tcp, cx, |out| {
            inner.note_cut();
            let mut state = inner.state();
            match state.sending {
                Sending::Open => {
                    state.engine.seal_close_behind(out).map_err(error::protocol)?;
                    state.sending = Sending::Closed;
                    Ok(())
                }
                Sending::Closed => Ok(()),
                Sending::Cut => state.check_sendable(),
            }
        });
        looked(inner, told(inner, ready!(closed)).flatten())?;
    } else if inner.state().sending == Sending::Cut {
        return Poll::Ready(inner.state().check_sendable());
    }
    Poll::Ready(told(inner, ready!(poll_write::poll_shutdown(&inner.tcp, cx))))
}

/// An error of the socket's send side means that a record did not leave.
fn told<T>(inner: &Inner, result: io::Result<T>) -> io::Result<T> {
    if result.is_err() {
        inner.cut();
    }
    result
}

/// A call that had the turn and made no record has passed it: see the header of `state.rs`.
fn looked<T>(inner: &Inner, result: io::Result<T>) -> io::Result<T> {
    if result.is_err() {
        inner.send_owed();
    }
    result
}

/// Calls `seal` with the first `n` bytes of `bufs` in one piece. What lies in several of them is copied
/// together first: a record costs more than a copy of what is in it.
fn with_first<R>(bufs: &[IoSlice<'_>], n: usize, seal: impl FnOnce(&[u8]) -> R) -> R {
    if let Some(first) = bufs.iter().find(|buf| !buf.is_empty())
        && first.len() >= n
    {
        return seal(&first[..n]);
    }
    let mut together = spare::take(n);
    together.clear();
    for buf in bufs {
        let left = n - together.len();
        together.extend_from_slice(&buf[..buf.len().min(left)]);
    }
    let sealed = seal(&together);
    spare::put(together);
    sealed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_several_buffers_is_one_piece() {
        let all = ["", "ab", "", "cdefg", "h", ""];
        let bufs: Vec<_> = all.iter().map(|part| IoSlice::new(part.as_bytes())).collect();
        let whole = all.concat();
        for n in 1..=whole.len() {
            with_first(&bufs, n, |piece| assert_eq!(piece, &whole.as_bytes()[..n]));
        }
    }
}
