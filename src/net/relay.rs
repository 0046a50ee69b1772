//! Messages that are sent on where they complete, without a turn of the task that forwards them.
//!
//! Owns the place in a stream's receive side where a forwarding says that it waits, and for whom ([`Relay`]),
//! and the way of one message from the completion that brought it to what sends it ([`Onward`]). A
//! task that is woken, polled and put to sleep again for each message costs as much as the message itself.
//!
//! # States
//! Under the receive side's lock.
//!
//! | state | the receive turn | a completion that brings a message |
//! |---|---|---|
//! | none, at rest | anybody's | queues it and wakes |
//! | waiting | the forwarding's | sends it on; if that may not be, queues it and wakes |
//!
//! | from | event | to |
//! |---|---|---|
//! | none | a forwarding begins (a second one of the same stream does without) | at rest |
//! | at rest | it finds nothing to receive, and is not on another core than the receive | waiting |
//! | waiting | who waits for bytes is woken, for whatever reason; it waits on another core | at rest |
//! | at rest, waiting | the forwarding ends or is dropped, before its turn passes | none |
//!
//! A message may be sent on if it is the next one (nothing is queued), more are to come and not in bulk,
//! nobody waits for the receive turn, nobody who has polled waits for bytes, the ring takes ops, and the send
//! lane is free.
//!
//! # What if
//! - *The future is dropped* meanwhile, by another thread: the lock decides. The message is queued and stays
//!   with the stream, or it has the send lane's turn and counts as sent. `Shared::off` is set under that lock
//!   too, so whoever drops the last handle of the target afterwards sees it (send_off.rs).
//! - *The future is forgotten* (`mem::forget`): its turn never passes, and what comes is sent on until the
//!   stream's last handle is dropped.
//! - *What was sent before was cut*: that is seen with the send turn only, and to pass the turn on wakes,
//!   which is not for under a lock. So it is looked for afterwards, and the message goes back to the front.
//!   Nothing can have come in behind it: completions of one receive come one after another.
//! - *The task should move*: idle cores take tasks that are runnable, and one that is never woken never is.
//!   So one message of [`IN_A_ROW`] wakes the task. One that waits on another core than the receive is woken
//!   for each, until the receive follows it (recv.rs).
//! - *The runtime goes down, the process forks*: a ring that takes no ops sends nothing on.
#![forbid(unsafe_code)]

use super::reader::Concerned;
use super::send_off;
use super::shared::Shared;
use crate::buf::PooledBuf;
use std::sync::Arc;
use std::task::Waker;

/// Of so many messages in a row one goes through the task, which then counts the others.
pub(crate) const IN_A_ROW: u8 = 16;

/// A forwarding's place in the receive side. Small, because every stream has room for one.
pub(crate) struct Relay {
    to: Arc<Shared>,
    /// Bytes sent on that the forwarding has not counted yet. It does whenever a message wakes it.
    sent: u32,
    waiting: bool,
    in_a_row: u8,
}

impl Relay {
    /// At rest.
    pub(super) fn new(to: &Arc<Shared>) -> Self {
        Self { to: Arc::clone(to), sent: 0, waiting: false, in_a_row: 0 }
    }

    /// The forwarding waits for the next message; `here` unless that comes to another core.
    pub(super) fn waits(&mut self, here: bool) {
        self.waiting = here;
    }

    /// It is woken.
    pub(super) fn rests(&mut self) {
        self.waiting = false;
    }

    /// Bytes sent on since this was last asked.
    pub(super) fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.sent).into()
    }

    /// The next message has come: on its way, if the forwarding waits for it and nothing stands against it.
    #[inline]
    pub(super) fn pass(&mut self, bytes: PooledBuf) -> Result<Onward, PooledBuf> {
        if !self.waiting {
            return Err(bytes);
        }
        self.in_a_row += 1;
        if self.in_a_row == IN_A_ROW || !send_off::begin(&self.to) {
            self.in_a_row = 0;
            return Err(bytes);
        }
        // Of fewer than `IN_A_ROW` buffers.
        self.sent += bytes.len() as u32;
        Ok(Onward { to: Arc::clone(&self.to), bytes })
    }

    /// A message did not leave.
    fn has_not_sent(&mut self, len: usize) {
        self.sent = self.sent.saturating_sub(len as u32);
    }
}

/// What a completion leads to.
#[must_use]
pub(crate) enum Completed {
    /// To be woken.
    Concerns(Concerned),
    /// To be sent on.
    Onward(Onward),
}

/// A message with the send turn of the stream to which it goes.
#[must_use = "the send lane stays taken"]
pub(crate) struct Onward {
    to: Arc<Shared>,
    bytes: PooledBuf,
}

impl Onward {
    /// Sends it, without the lock. `from` is the stream that has received it.
    #[inline]
    pub(super) fn go(self, from: &Shared, wakers: &mut Vec<Waker>) {
        if let Err((to, bytes)) = send_off::go_on(self.to, self.bytes) {
            turn_back(from, bytes, wakers);
            send_off::give_up(&to);
        }
    }
}

/// Back to the stream that has received it: its forwarding is told why by its own attempt to send.
#[cold]
fn turn_back(from: &Shared, bytes: PooledBuf, wakers: &mut Vec<Waker>) {
    let concerned = {
        let mut side = from.recv();
        if let Some(relay) = side.relay() {
            relay.has_not_sent(bytes.len());
        }
        side.put_back(bytes);
        side.concerned()
    };
    concerned.each(|waker| wakers.push(waker));
}
