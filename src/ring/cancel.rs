//! Cancelling: what is asked for, what is owed, what is repeated.
//!
//! A cancel names its target by `user_data` (never by descriptor) and its own result proves nothing
//! (kernel-notes/cancel-and-close.md). The ring therefore keeps a reference to every cell it was asked to
//! cancel, sends the cancel, and repeats it from time to time until the cell has had its final CQE. It is not
//! the policy of when to cancel.

use super::cell::{CellRef, KernelRef};
use super::flight::Flight;
use super::{Ring, TAG_CANCEL};
use crate::base::guard::contained;
use crate::sys::fork;
use crate::sys::sqe::{SQE_SKIP_SUCCESS, Sqe, opcode};
use std::task::Waker;
use std::time::{Duration, Instant};

/// How long a cancel is given before it is repeated for the first time; doubled each time up to
/// [`REPEAT_MOST`], because an op that cannot be interrupted (a hung disk) is asked in vain.
const REPEAT_AFTER: Duration = Duration::from_millis(2);
/// The longest pause between two repeats.
const REPEAT_MOST: Duration = Duration::from_secs(1);

/// A cancel that has not been confirmed by the target's final CQE.
struct Pending {
    target: CellRef,
    sent: Option<Instant>,
    patience: Duration,
}

impl Pending {
    fn is_due(&self, now: Instant) -> bool {
        self.sent.is_none_or(|sent| now.duration_since(sent) >= self.patience)
    }
}

/// The cancels of one ring.
#[derive(Default)]
pub(crate) struct Cancels {
    pending: Vec<Pending>,
    /// Ops taken off the backlog. Who cancels may hold what a completion needs, so they complete with the
    /// others.
    withdrawn: Vec<KernelRef>,
}

impl Cancels {
    /// Ops that were withdrawn and have not completed yet.
    pub(crate) fn withdrawn(&self) -> usize {
        self.withdrawn.len()
    }

    /// Whether a cancel is to be sent or repeated, or a withdrawn op to be completed.
    pub(crate) fn is_due(&self) -> bool {
        if self.pending.is_empty() {
            return !self.withdrawn.is_empty();
        }
        let now = Instant::now();
        !self.withdrawn.is_empty() || self.pending.iter().any(|cancel| cancel.is_due(now))
    }
}

impl Ring {
    /// Cancels an op of this ring. It still completes, with ECANCELED or with what it had achieved.
    pub(crate) fn cancel(&self, target: &CellRef) {
        // In a forked child: the queues are not mapped, and the op is the parent's.
        if fork::is_child() {
            return;
        }
        match target.flight(self) {
            Flight::Withdrawn | Flight::Final => {}
            // It is still on its way here from a thread that is no core: the request travels with it. Or it
            // is just being described, and its own buffer cancels it: the request comes back to it.
            Flight::Fresh => target.cancel_on_arrival(),
            Flight::Backlogged => self.withdraw(target),
            Flight::Submitted => {
                let sent = self.send_cancel(target).then(Instant::now);
                self.cancels.borrow_mut().pending.push(Pending {
                    target: target.clone(),
                    sent,
                    patience: REPEAT_AFTER,
                });
            }
        }
    }

    /// Whether the op was asked to end, and has not.
    pub(super) fn is_cancelled(&self, target: &CellRef) -> bool {
        let wanted = target.user_data();
        self.cancels.borrow().pending.iter().any(|cancel| cancel.target.user_data() == wanted)
    }

    /// Takes an op off the backlog: the kernel never hears of it.
    fn withdraw(&self, target: &CellRef) {
        target.set_flight(self, Flight::Withdrawn);
        let wanted = target.user_data();
        let mut backlog = self.backlog.borrow_mut();
        let at = backlog.iter().position(|kernels| kernels.user_data() == wanted);
        let kernels = at.and_then(|at| backlog.remove(at)).expect("it is on the backlog");
        self.cancels.borrow_mut().withdrawn.push(kernels);
    }

    /// Completes what was withdrawn since the last turn.
    pub(super) fn complete_withdrawn(&self, wakers: &mut Vec<Waker>) {
        let withdrawn = std::mem::take(&mut self.cancels.borrow_mut().withdrawn);
        for kernels in withdrawn {
            self.end(kernels, -libc::ECANCELED, wakers);
        }
    }

    fn send_cancel(&self, target: &CellRef) -> bool {
        let mut sqe = Sqe::new(opcode::ASYNC_CANCEL, -1);
        sqe.addr = target.user_data();
        sqe.flags = SQE_SKIP_SUCCESS;
        sqe.user_data = TAG_CANCEL;
        self.push_or_flush(&sqe)
    }

    /// Sends what could not be sent and repeats what has had no effect. Drops nothing: this runs between the
    /// park re-check and the wait, where nobody may be woken.
    pub(super) fn repeat_cancels(&self) {
        let mut cancels = self.cancels.borrow_mut();
        if cancels.pending.is_empty() {
            return;
        }
        let now = Instant::now();
        for cancel in &mut cancels.pending {
            if cancel.target.flight(self) != Flight::Final && cancel.is_due(now) {
                cancel.patience = (cancel.patience * 2).min(REPEAT_MOST);
                cancel.sent = self.send_cancel(&cancel.target).then_some(now);
            }
        }
    }

    /// Lets go of the cells that have had their final CQE. Theirs may be the last references, so a drop may
    /// close descriptors and wake tasks.
    pub(super) fn forget_confirmed(&self) {
        if self.cancels.borrow().pending.is_empty() {
            return;
        }
        let is_final = |cancel: &mut Pending| cancel.target.flight(self) == Flight::Final;
        let confirmed: Vec<Pending> = self.cancels.borrow_mut().pending.extract_if(.., is_final).collect();
        for cancel in confirmed {
            contained(|| drop(cancel));
        }
    }

    /// How long the ring may be left alone while cancels are unconfirmed.
    pub(crate) fn cancel_patience(&self) -> Option<Duration> {
        if fork::is_child() {
            // Nothing is confirmed here.
            return None;
        }
        let cancels = self.cancels.borrow();
        if !cancels.withdrawn.is_empty() {
            return Some(Duration::ZERO);
        }
        let waiting = cancels.pending.iter().filter(|cancel| cancel.target.flight(self) != Flight::Final);
        waiting.map(|cancel| cancel.patience).min()
    }
}
