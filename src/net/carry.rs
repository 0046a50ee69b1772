//! Bulk from one stream to another through a pipe, for `forward.rs`.
//!
//! Owns the loop around `splice(2)`, the pipes that a thread keeps, and what becomes of bytes that are in a
//! pipe when nobody wants to send them any more. A round moves what the socket has, up to a pipe's content,
//! and waits in the ring where a socket has nothing or takes nothing.
//!
//! It is bulk for as long as rounds are at least a buffer long: for less, a round is two system calls and a
//! poll, where a message of the same length is one receive and one send of the ring.
#![forbid(unsafe_code)]

use super::forward::ForwardError;
use super::ops::Ready;
use super::poll_write;
use super::shared::Shared;
use super::turn::{Place, SendTurn};
use crate::base::coop;
use crate::buf::PooledBuf;
use crate::ring::op::Op;
use crate::ring::pool::BUFFER_SIZE;
use crate::sys::fork;
use crate::sys::splice::Pipe;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;

/// Empty pipes that a thread keeps. Each is two descriptors.
const KEPT: usize = 8;
/// Rounds of less than a buffer, in a row, that end it.
const SMALL_RUN: u32 = 4;
/// Bytes of a round that cost a unit of the task's budget: some microseconds of the core.
const UNIT: usize = 16 * 1024;

thread_local! {
    static PIPES: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// What came of it. The number is that of the bytes that were sent on.
pub(super) enum Carried {
    /// The receiving side has ended.
    All(u64),
    /// What comes is no bulk any more.
    Bulk(u64),
    /// There is no pipe, or one of the sockets does not splice.
    Nothing,
}

/// Sends on what comes, for as long as it is bulk. Nobody receives from `from`, and its queue is empty.
pub(super) async fn bulk(from: &Arc<Shared>, to: &Arc<Shared>) -> Result<Carried, ForwardError> {
    let Some(pipe) = kept_pipe() else { return Ok(Carried::Nothing) };
    let mut load = Load { from, place: Place::Outside, pipe: Some(pipe) };
    poll_fn(|cx| from.recv_turn.poll_enter(&mut load.place, cx)).await;
    if !from.recv().is_bulk_and_idle() {
        // Another receiver has come in between.
        return Ok(Carried::Bulk(0));
    }
    from.set_nonblocking().map_err(ForwardError::Recv)?;
    to.set_nonblocking().map_err(ForwardError::Send)?;
    let (mut all, mut small) = (0, 0);
    while small < SMALL_RUN {
        let len = match load.fill().await {
            Ok(0) => {
                from.recv().saw_end();
                return Ok(Carried::All(all));
            }
            // Sockets of this kind cannot do it.
            Err(error) if all == 0 && error.kind() == io::ErrorKind::InvalidInput => {
                return Ok(Carried::Nothing);
            }
            filled => filled.map_err(ForwardError::Recv)?,
        };
        load.drain(to).await.map_err(ForwardError::Send)?;
        all += len as u64;
        small = if len < BUFFER_SIZE as usize { small + 1 } else { 0 };
        for _ in 0..len.div_ceil(UNIT) {
            coop::consume_budget().await;
        }
    }
    from.recv().saw_messages();
    Ok(Carried::Bulk(all))
}

/// What has left one socket and not reached the other, and the turn to receive more.
struct Load<'a> {
    from: &'a Arc<Shared>,
    place: Place,
    /// There until the drop.
    pipe: Option<Pipe>,
}

impl Load<'_> {
    fn pipe(&mut self) -> &mut Pipe {
        self.pipe.as_mut().expect("it goes with the load")
    }

    /// Gives back what was not sent, in front of what comes next. The pipe, if it is empty then.
    fn unload(&self, mut pipe: Pipe) -> Option<Pipe> {
        if pipe.held() == 0 {
            return Some(pipe);
        }
        // In a child of fork what is in it is the parent's to send.
        if fork::is_child() {
            return None;
        }
        let bytes = PooledBuf::copied(&pipe.take());
        self.from.change_recv(|side| {
            side.put_back(bytes);
            side.concerned()
        });
        (pipe.held() == 0).then_some(pipe)
    }

    /// Takes what the socket has; waits if that is nothing.
    async fn fill(&mut self) -> io::Result<usize> {
        loop {
            if fork::is_child() {
                return Err(fork::error());
            }
            let from = self.from.fd();
            match self.pipe().fill(from) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Op::new(Ready::to_receive(self.from)).await?;
                }
                done => return done,
            }
        }
    }

    /// Sends all of it; waits where the socket is full.
    async fn drain(&mut self, to: &Arc<Shared>) -> io::Result<()> {
        let _turn = SendTurn::take(to).await;
        poll_write::check(to)?;
        while self.pipe().held() > 0 {
            if fork::is_child() {
                return Err(fork::error());
            }
            match self.pipe().drain(to.fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Op::new(Ready::to_send(to)).await?;
                }
                done => done?,
            }
        }
        Ok(())
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        let pipe = self.pipe.take();
        if let Some(pipe) = pipe.and_then(|pipe| self.unload(pipe)) {
            keep(pipe);
        }
        self.from.recv_turn.leave(std::mem::take(&mut self.place));
    }
}

/// An empty pipe: one that is kept, or a new one if the kernel gives one.
fn kept_pipe() -> Option<Pipe> {
    let kept = PIPES.try_with(|pipes| pipes.borrow_mut().pop()).ok().flatten();
    kept.or_else(|| Pipe::new().ok())
}

fn keep(pipe: Pipe) {
    // A thread that is going down keeps nothing.
    let _ = PIPES.try_with(|pipes| {
        let mut pipes = pipes.borrow_mut();
        if pipes.len() < KEPT {
            pipes.push(pipe);
        }
    });
}
