//! What a `tracing` subscriber sees of ops: an event when one goes out, and one when it is done.
//!
//! Built with the feature `tracing` only. Owns [`Watch`], a ring's table of the ops that somebody has heard
//! go out, and when; a cell is the same with the feature and without. All events are on the target
//! `ringwork::op`, level TRACE:
//!
//! | message | when | fields |
//! |---|---|---|
//! | `submitted` | the entry is in the submission queue | `op`, `op.id`, `fd` |
//! | `progressed` | a result is there, and the op goes on | the same, `result` or `error`, `us` |
//! | `completed` | the last result is there | the same |
//!
//! `op` is the kernel's name without `IORING_OP_`, `op.id` a number that no other op has while this one is in
//! flight, `fd` the descriptor if the op has one, `result` what the op gives (bytes, or a descriptor),
//! `error` what it fails with, `us` the microseconds since it was submitted. What goes on is a multishot,
//! or a message of which another part is submitted.
//!
//! An op that its own task submits is heard inside that task's span. It is done in the core's loop, outside
//! of all spans and before anybody is woken: its events are joined by `op.id`. What no ring sees has no
//! events: ops that are refused or withdrawn, and what is done by a call on the spot (`fs` and `net` say
//! where). Cancels and the doorbell are the ring's own business.
//!
//! Whoever listens is foreign code: it is called when nothing of the ring is borrowed, and its panic is
//! contained.
#![forbid(unsafe_code)]

use crate::base::guard::contained;
use crate::base::heard::is_heard;
use crate::sys::sqe::{Cqe, Sqe, opcode};
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Instant;
use tracing::{Level, field};

/// The ops of one ring that a subscriber knows of.
#[derive(Debug, Default)]
pub(super) struct Watch {
    known: RefCell<HashMap<u64, Known>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    op: &'static str,
    fd: Option<i32>,
    since: Instant,
}

impl Watch {
    /// The entry is in the queue.
    #[inline]
    pub(super) fn submitted(&self, sqe: &Sqe) {
        if is_heard() {
            self.note(sqe);
        }
    }

    /// A result has come, after which the op goes on or is over.
    #[inline]
    pub(super) fn has_result(&self, cqe: Cqe, goes_on: bool) {
        if !self.known.borrow().is_empty() {
            self.tell(cqe, goes_on);
        }
    }

    #[cold]
    fn note(&self, sqe: &Sqe) {
        // Asking is foreign code, too.
        contained(|| {
            if !tracing::enabled!(target: "ringwork::op", Level::TRACE) {
                return;
            }
            let name = opcode::USED.iter().find(|(number, _)| *number == sqe.opcode);
            let op = name.map_or("?", |(_, name)| *name);
            let fd = Some(sqe.fd).filter(|fd| *fd >= 0);
            self.known.borrow_mut().insert(sqe.user_data, Known { op, fd, since: Instant::now() });
            tracing::trace!(target: "ringwork::op", op, op.id = sqe.user_data, fd, "submitted");
        });
    }

    #[cold]
    fn tell(&self, cqe: Cqe, goes_on: bool) {
        let known = if goes_on {
            self.known.borrow().get(&cqe.user_data).copied()
        } else {
            self.known.borrow_mut().remove(&cqe.user_data)
        };
        let Some(Known { op, fd, since }) = known else { return };
        let us = since.elapsed().as_micros() as u64;
        let (result, error) = match cqe.result() {
            Ok(result) => (Some(result), None),
            Err(error) => (None, Some(field::display(error))),
        };
        let message = if goes_on { "progressed" } else { "completed" };
        contained(|| {
            tracing::trace!(
                target: "ringwork::op", op, op.id = cqe.user_data, fd, result, error, us, "{message}"
            );
        });
    }
}
