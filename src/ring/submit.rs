//! The way of an op to the kernel: described into the submission queue, or onto the backlog until that has
//! room.
//!
//! Describing an op runs foreign code, which may cancel and submit other ops. Those do not take the room
//! that the op is described for: what is submitted waits on the backlog, and a cancel for the next turn.
//!
//! Owns the order in which ops go out. When they go, with which enter, and what completes are
//! [`super::Ring`]'s.

use super::Ring;
use super::cell::KernelRef;
use super::flight::Flight;
use crate::base::guard::{self, broken, contained};
#[cfg(feature = "tracing")]
use crate::sys::sqe::Cqe;
use crate::sys::sqe::{Sqe, opcode};
use std::task::Waker;

impl Ring {
    /// Takes an op: into the submission queue, or onto the backlog.
    #[inline]
    pub(crate) fn submit(&self, kernels: KernelRef) {
        if let Some(refusal) = self.refusal() {
            return self.refuse(kernels, refusal);
        }
        let may_push = !self.describing.get() && self.backlog.borrow().is_empty();
        let refused = if may_push { self.try_push(kernels) } else { Err(kernels) };
        if let Err(kernels) = refused {
            kernels.set_flight(self, Flight::Backlogged);
            self.backlog.borrow_mut().push_back(kernels);
        }
    }

    /// Writes the cell's SQE; the kernel has the op then. A full queue is flushed once. An op is described
    /// only when it goes out, because describing it may take memory of the arena.
    ///
    /// # Errors
    /// The op, if there is no room.
    #[inline]
    fn try_push(&self, kernels: KernelRef) -> Result<(), KernelRef> {
        if !self.make_room() {
            return Err(kernels);
        }
        let mut sqe = Sqe::new(opcode::NOP, -1);
        let mut described = false;
        // Describing asks the buffer where it is, and a buffer may be foreign code.
        self.describing.set(true);
        contained(|| {
            kernels.fill(self, &mut sqe);
            described = true;
        });
        self.describing.set(false);
        if !described {
            self.refuse(kernels, -libc::EFAULT);
            return Ok(());
        }
        if !self.backend.borrow_mut().push(&sqe) {
            broken("a submission queue with room refused an entry");
        }
        kernels.set_flight(self, Flight::Submitted);
        self.in_flight.set(self.in_flight.get() + 1);
        kernels.stay();
        #[cfg(feature = "tracing")]
        self.watch.submitted(&sqe);
        Ok(())
    }

    /// Completes an op that the kernel never hears of.
    fn refuse(&self, kernels: KernelRef, res: i32) {
        kernels.set_flight(self, Flight::Final);
        let mut wakers = Vec::new();
        self.end(kernels, res, &mut wakers);
        for waker in wakers {
            guard::wake(waker);
        }
    }

    /// Completes an op with a result that is none of the kernel's.
    pub(super) fn end(&self, kernels: KernelRef, res: i32, wakers: &mut Vec<Waker>) {
        // The kernel may have had a part of it.
        #[cfg(feature = "tracing")]
        self.watch.has_result(Cqe { user_data: kernels.user_data(), ..Cqe::made_up(res) }, false);
        kernels.end(res, Some(self), wakers);
    }

    #[inline]
    fn make_room(&self) -> bool {
        if self.backend.borrow().has_room() {
            return true;
        }
        self.flush();
        self.backend.borrow().has_room()
    }

    /// Queues an entry that is no op's. False if there is no room for it.
    pub(super) fn push_or_flush(&self, sqe: &Sqe) -> bool {
        !self.describing.get() && self.make_room() && self.backend.borrow_mut().push(sqe)
    }

    /// Gives the queue what waits for room in it. Says whether there was any.
    pub(super) fn drain_backlog(&self) -> bool {
        let mut had_any = false;
        loop {
            let Some(kernels) = self.backlog.borrow_mut().pop_front() else { return had_any };
            had_any = true;
            // Describing it runs foreign code, which may cancel it.
            kernels.set_flight(self, Flight::Fresh);
            if let Err(kernels) = self.try_push(kernels) {
                kernels.set_flight(self, Flight::Backlogged);
                self.backlog.borrow_mut().push_front(kernels);
                return true;
            }
        }
    }
}
