//! Bulk from one stream to another through a pipe, for `forward.rs`.
//!
//! Owns the loop around `splice(2)`, and what becomes of bytes that are in a pipe when nobody wants to send
//! them any more. A round moves what the socket has, up to a pipe's content, and waits in the ring where a
//! socket has nothing or takes nothing. A pipe is held only while there are bytes in it, also while a peer
//! does not read them.
//!
//! It is bulk for as long as rounds are at least a buffer long, as for receives (flow.rs): for less, a round
//! is two system calls and a poll, where a message of the same length is one receive and one send of the
//! ring. Before the first round a receive that is in flight has to end: its bytes come first. Rounds that
//! never have to wait go on until the task's budget is spent, or, outside of tasks, for some MiB.
#![forbid(unsafe_code)]

use super::flow::SMALL_RUN;
use super::forward::ForwardError;
use super::pipes::Taken;
use super::poll_write;
use super::ready::Ready;
use super::send_off;
use super::shared::Shared;
use super::turn::Place;
use crate::base::coop;
use crate::buf::PooledBuf;
use crate::ring::op::Op;
use crate::ring::pool::BUFFER_SIZE;
use crate::sys::fork;
use crate::task::yield_now;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Bytes after which it pauses also without a budget: outside of tasks, two streams that pass the same bytes
/// to each other would else hold their thread for ever.
const UNBROKEN: usize = 4 << 20;

/// How it ended.
pub(super) enum End {
    /// What comes is no bulk any more, or something that only a receive can tell: the end, or an urgent byte.
    Bulk,
    /// There is no pipe, or one of the sockets does not splice.
    Pipes,
}

/// Sends on what comes, for as long as it is bulk, and counts it in `all`.
pub(super) async fn bulk(from: &Arc<Shared>, to: &Arc<Shared>, all: &mut u64) -> Result<End, ForwardError> {
    let mut load = Load { from, place: Place::OUTSIDE, pipe: None };
    let idle = poll_fn(|cx| {
        // Each time: in a child of fork the end of what is in flight does not come.
        fork::check()?;
        ready!(from.recv_turn().poll_enter(&mut load.place, cx));
        poll_idle(from, cx)
    });
    idle.await.map_err(|error| ForwardError::Recv { error, sent: *all })?;
    {
        let mut side = from.recv();
        if !side.is_bulk_and_idle() {
            // Something has come in between: bytes that were received, or another receiver.
            return Ok(End::Bulk);
        }
        side.taken_elsewhere();
    }
    let (mut small, mut unbroken) = (0, 0);
    while small < SMALL_RUN {
        if from.recv_turn().has_waiting() {
            // It is bulk all the same, and this comes back behind who waits.
            return Ok(End::Bulk);
        }
        let filled = load.fill().await.map_err(|error| ForwardError::Recv { error, sent: *all })?;
        let Some(len) = filled else { return Ok(End::Pipes) };
        if len == 0 {
            break;
        }
        let drained = load.drain(to, all).await;
        if !drained.map_err(|error| ForwardError::Send { error, sent: *all })? {
            return Ok(End::Pipes);
        }
        small = if len < BUFFER_SIZE as usize { small + 1 } else { 0 };
        coop::consume_for(len as u64).await;
        unbroken += len;
        if unbroken >= UNBROKEN {
            unbroken = 0;
            yield_now().await;
        }
    }
    from.recv().saw_messages();
    Ok(End::Bulk)
}

/// Ends a receive in flight, unless somebody waits for one. For who has the turn.
fn poll_idle(from: &Shared, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    if from.recv_turn().has_waiting() {
        return Poll::Ready(Ok(()));
    }
    from.poll_disarmed(cx.waker()).map(Ok)
}

/// What has left one socket and not reached the other, and the turn to receive more.
struct Load<'a> {
    from: &'a Arc<Shared>,
    place: Place,
    /// A pipe with bytes in it.
    pipe: Option<Taken>,
}

impl Load<'_> {
    /// Takes what the socket has, and waits if that is nothing. Zero is for a receive to look into: the end,
    /// or an urgent byte, which is there and does not pass through a pipe. `None` if there is no pipe, or if
    /// the socket does not splice.
    async fn fill(&mut self) -> io::Result<Option<usize>> {
        let mut has_waited = false;
        loop {
            if fork::is_child() {
                return Err(fork::error());
            }
            let Some(mut pipe) = Taken::new() else { return Ok(None) };
            self.from.set_nonblocking()?;
            let filled = pipe.fill(self.from.fd());
            if let Ok(len @ 1..) = filled {
                self.pipe = Some(pipe);
                return Ok(Some(len));
            }
            pipe.give_back();
            match filled.map_err(|error| (error.kind(), error)) {
                Err((io::ErrorKind::WouldBlock, _)) if !has_waited => {
                    Op::new(Ready::to_receive(self.from)).await?;
                    has_waited = true;
                }
                Ok(_) | Err((io::ErrorKind::WouldBlock, _)) => return Ok(Some(0)),
                Err((io::ErrorKind::InvalidInput, _)) => return Ok(None),
                Err((_, error)) => return Err(error),
            }
        }
    }

    /// Sends all of it, counted in `all`, and waits where the socket is full. False if that does not splice.
    async fn drain(&mut self, to: &Arc<Shared>, all: &mut u64) -> io::Result<bool> {
        let _turn = send_off::take_turn(to).await?;
        poll_write::check_whole(to)?;
        while let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.held() > 0) {
            if fork::is_child() {
                return Err(fork::error());
            }
            to.set_nonblocking()?;
            let held = pipe.held();
            let drained = pipe.drain(to.fd());
            *all += (held - pipe.held()) as u64;
            match drained {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Op::new(Ready::to_send(to)).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.unload();
                    return Ok(false);
                }
                drained => drained?,
            }
        }
        self.unload();
        Ok(true)
    }

    /// Lets go of the pipe. What was not sent goes back, in front of what comes next.
    fn unload(&mut self) {
        let Some(mut pipe) = self.pipe.take() else { return };
        // In a child of fork what is in it is the parent's to send.
        if pipe.held() > 0 && !fork::is_child() {
            let bytes = PooledBuf::copied(&pipe.take());
            if !bytes.is_empty() {
                self.from.change_recv(|side| {
                    side.put_back(bytes);
                    side.concerned()
                });
            }
        }
        pipe.give_back();
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.unload();
        self.from.recv_turn().leave(std::mem::take(&mut self.place));
    }
}
