//! Cancelling: what is asked for, what is owed, what is repeated.
//!
//! A cancel names its target by `user_data` (never by descriptor) and its own result proves nothing
//! (kernel-notes/cancel-and-close.md). The ring therefore keeps a reference to every cell it was asked to
//! cancel, sends the cancel, and repeats it from time to time until the cell has had its final CQE. It is not
//! the policy of when to cancel.

use super::cell::{CellRef, Flight};
use super::{Ring, TAG_CANCEL};
use crate::base::guard::contained;
use crate::sys::sqe::{Cqe, SQE_SKIP_SUCCESS, Sqe, opcode};
use std::task::Waker;
use std::time::{Duration, Instant};

/// How long a cancel is given before it is repeated. An op that cannot be interrupted (a disk read) is asked
/// again and again, so this bounds the useless work.
const REPEAT_AFTER: Duration = Duration::from_millis(2);

/// A cancel that has not been confirmed by the target's final CQE.
struct Pending {
    target: CellRef,
    sent: Option<Instant>,
}

/// The cancels of one ring.
#[derive(Default)]
pub(crate) struct Cancels {
    pending: Vec<Pending>,
    /// Ops taken off the backlog. Who cancels may hold what a completion needs, so they complete with the others.
    withdrawn: Vec<CellRef>,
}

impl Cancels {
    /// Ops that were withdrawn and have not completed yet.
    pub(crate) fn withdrawn(&self) -> usize {
        self.withdrawn.len()
    }
}

impl Ring {
    /// Cancels an op of this ring. It still completes, with ECANCELED or with what it had achieved.
    pub(crate) fn cancel(&self, target: &CellRef) {
        match target.flight(self) {
            Flight::Fresh | Flight::Withdrawn | Flight::Final => {}
            Flight::Backlogged => self.withdraw(target),
            Flight::Submitted => {
                let sent = self.send_cancel(target).then(Instant::now);
                self.cancels.borrow_mut().pending.push(Pending { target: target.clone(), sent });
            }
        }
    }

    /// Takes an op off the backlog: the kernel never hears of it.
    fn withdraw(&self, target: &CellRef) {
        target.set_flight(self, Flight::Withdrawn);
        let wanted = target.user_data();
        self.backlog.borrow_mut().retain(|cell| cell.user_data() != wanted);
        self.cancels.borrow_mut().withdrawn.push(target.clone());
    }

    /// Completes what was withdrawn since the last turn.
    pub(super) fn complete_withdrawn(&self, wakers: &mut Vec<Waker>) {
        let withdrawn = std::mem::take(&mut self.cancels.borrow_mut().withdrawn);
        for cell in withdrawn {
            contained(|| cell.complete(Cqe::made_up(-libc::ECANCELED), Some(self), wakers));
            contained(|| drop(cell));
        }
    }

    fn send_cancel(&self, target: &CellRef) -> bool {
        let mut sqe = Sqe::new(opcode::ASYNC_CANCEL, -1);
        sqe.addr = target.user_data();
        sqe.flags = SQE_SKIP_SUCCESS;
        sqe.user_data = TAG_CANCEL;
        self.push_or_flush(&sqe)
    }

    /// Sends what could not be sent and repeats what has had no effect.
    pub(super) fn repeat_cancels(&self) {
        if self.cancels.borrow().pending.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut pending = std::mem::take(&mut self.cancels.borrow_mut().pending);
        pending.retain_mut(|cancel| {
            if cancel.target.flight(self) == Flight::Final {
                return false;
            }
            if cancel.sent.is_none_or(|sent| now.duration_since(sent) >= REPEAT_AFTER) {
                cancel.sent = self.send_cancel(&cancel.target).then_some(now);
            }
            true
        });
        self.cancels.borrow_mut().pending.append(&mut pending);
    }

    /// How long the ring may be left alone while cancels are unconfirmed.
    pub(crate) fn cancel_patience(&self) -> Option<Duration> {
        let cancels = self.cancels.borrow();
        if !cancels.withdrawn.is_empty() {
            return Some(Duration::ZERO);
        }
        let waits = cancels.pending.iter().any(|cancel| cancel.target.flight(self) != Flight::Final);
        waits.then_some(REPEAT_AFTER)
    }
}
