//! A ring whose kernel is the model: what is submitted is completed when the model says so.
//!
//! With the reactions of the real one (`src/ring/mod.rs`, `cancel.rs`) as far as they touch cells: the order
//! in which an op is marked and completed, and what becomes of a cancel.

use super::cell::{CellRef, KernelRef};
use super::flight::Flight;
use super::memory::Memory;
use crate::base::inbox::Inbox;
use crate::base::message::Message;
use crate::sys::sqe::{Cqe, RES_GONE, Sqe};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

/// One core's ring.
pub(crate) struct Ring {
    pub(super) inbox: Arc<Inbox>,
    pub(super) memory: RefCell<Memory>,
    flying: RefCell<Vec<KernelRef>>,
    pub(crate) targets: RefCell<Vec<CellRef>>,
    closing: Cell<bool>,
}

loom::thread_local! {
    static CURRENT: RefCell<Option<Rc<Ring>>> = RefCell::new(None);
}

/// As the real one.
pub(crate) fn with_current<R>(use_it: impl FnOnce(Option<&Ring>) -> R) -> R {
    let ring = CURRENT.with(|current| current.borrow().clone());
    use_it(ring.as_deref())
}

/// Makes a ring this thread's.
pub(crate) fn enter() -> Rc<Ring> {
    let ring = Rc::new(Ring {
        inbox: Arc::new(Inbox::new(Box::new(|| ()))),
        memory: RefCell::default(),
        flying: RefCell::default(),
        targets: RefCell::default(),
        closing: Cell::new(false),
    });
    CURRENT.with(|current| current.replace(Some(Rc::clone(&ring))));
    ring
}

impl Ring {
    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    pub(super) fn is_home(&self, cell: &CellRef) -> bool {
        Arc::ptr_eq(&self.inbox, cell.home())
    }

    pub(super) fn submit(&self, kernels: KernelRef) {
        if self.closing.get() {
            return self.end(kernels, RES_GONE);
        }
        kernels.fill(self, &mut Sqe::default());
        kernels.set_flight(self, Flight::Submitted);
        self.flying.borrow_mut().push(kernels);
    }

    pub(super) fn cancel(&self, target: &CellRef) {
        match target.flight(self) {
            Flight::Fresh => target.cancel_on_arrival(),
            Flight::Submitted => self.targets.borrow_mut().push(target.clone()),
            Flight::Backlogged | Flight::Withdrawn | Flight::Final => {}
        }
    }

    fn end(&self, kernels: KernelRef, res: i32) {
        kernels.set_flight(self, Flight::Final);
        let mut wakers = Vec::new();
        kernels.complete(Cqe::made_up(res), Some(self), &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The final completions of all that is in flight; then the confirmed cancels are forgotten.
    pub(crate) fn reap(&self, res: i32) {
        for kernels in self.flying.take() {
            self.end(kernels, res);
        }
        let targets = self.targets.take();
        assert!(targets.iter().all(|target| target.flight(self) == Flight::Final));
    }

    /// What has come to the inbox.
    pub(crate) fn take_inbox(&self) {
        self.inbox.take_pinned().for_each(Message::deliver);
    }

    /// The end of the core: no more submissions, and then no more messages.
    pub(crate) fn close(&self, res: i32) {
        self.closing.set(true);
        self.take_inbox();
        self.reap(res);
        drop(self.inbox.close());
    }
}
