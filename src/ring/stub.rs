//! A backend for tests whose kernel does what the test says: no waiting, and no queue unless an enter is to
//! leave something there.
#![forbid(unsafe_code)]

use super::Ring;
use super::backend::{Backend, Wait};
use crate::base::inbox::Inbox;
use crate::metrics::Counters;
use crate::sys::eventfd::EventFd;
use crate::sys::sqe::{Cqe, Sqe};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the kernel does, and what it has been asked for.
#[derive(Default)]
pub(crate) struct Kernel {
    /// The submission queue takes nothing.
    pub(crate) is_full: Cell<bool>,
    /// How many entries more it takes, if not any number.
    pub(crate) room: Cell<Option<usize>>,
    /// What the next enters answer: how many of the entries in the queue they take, or an errno.
    pub(crate) answers: RefCell<VecDeque<Result<usize, i32>>>,
    queued: RefCell<Vec<Sqe>>,
    /// It says that an enter would bring something, and none does.
    pub(crate) claims_work: Cell<bool>,
    /// It keeps completions aside for want of room.
    pub(crate) keeps_some: Cell<bool>,
    /// Completions that it has dropped.
    pub(crate) lost: Cell<u32>,
    /// It registers no such group of buffers.
    pub(crate) refuses: Cell<Option<u16>>,
    pub(crate) taken: RefCell<Vec<Sqe>>,
    pub(crate) completed: RefCell<Vec<Cqe>>,
    /// What completes with a later enter: the one that follows so many.
    pub(crate) completes_after: Cell<Option<(usize, Cqe)>>,
    /// Every enter.
    pub(crate) enters: RefCell<Vec<Wait>>,
    /// How long each takes.
    pub(crate) enter_takes: Cell<Duration>,
}

struct Stub(Rc<Kernel>);

impl Backend for Stub {
    fn has_room(&self) -> bool {
        !self.0.is_full.get() && self.0.room.get() != Some(0)
    }

    fn push(&mut self, sqe: &Sqe) -> bool {
        let has_room = self.has_room();
        if has_room {
            let mut queued = self.0.queued.borrow_mut();
            if queued.is_empty() && self.0.answers.borrow().is_empty() {
                self.0.taken.borrow_mut().push(*sqe);
            } else {
                queued.push(*sqe);
            }
            self.0.room.set(self.0.room.get().map(|room| room - 1));
        }
        has_room
    }

    fn queued(&self) -> usize {
        self.0.queued.borrow().len()
    }

    fn has_deferred(&self) -> bool {
        self.0.claims_work.get()
    }

    fn has_overflowed(&self) -> bool {
        self.0.keeps_some.get()
    }

    fn has_visible(&mut self) -> bool {
        !self.0.completed.borrow().is_empty()
    }

    fn enter(&mut self, wait: Wait) -> io::Result<usize> {
        self.0.enters.borrow_mut().push(wait);
        let begun = Instant::now();
        while begun.elapsed() < self.0.enter_takes.get() {
            std::hint::spin_loop();
        }
        let mut queued = self.0.queued.borrow_mut();
        let answer = self.0.answers.borrow_mut().pop_front().unwrap_or(Ok(queued.len()));
        let takes = answer.map_err(io::Error::from_raw_os_error)?;
        self.0.taken.borrow_mut().extend(queued.drain(..takes));
        match self.0.completes_after.take() {
            Some((0, cqe)) => self.0.completed.borrow_mut().push(cqe),
            later => self.0.completes_after.set(later.map(|(enters, cqe)| (enters - 1, cqe))),
        }
        Ok(takes)
    }

    fn reap(&mut self, into: &mut Vec<Cqe>) -> u32 {
        into.append(&mut self.0.completed.borrow_mut());
        self.0.lost.get()
    }

    fn register_buffers(&mut self, _: NonNull<u8>, _: u16, group: u16) -> io::Result<()> {
        if self.0.refuses.get() == Some(group) { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(()) }
    }

    fn cancel_all(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn limit_workers(&mut self, _: u32, _: u32, _: &[usize]) -> io::Result<()> {
        Ok(())
    }

    fn sizes(&self) -> (u32, u32) {
        (1, 4)
    }
}

/// A ring of the core with this inbox, and its kernel.
pub(crate) fn ring(inbox: Arc<Inbox>) -> (Rc<Ring>, Rc<Kernel>) {
    let kernel = Rc::new(Kernel::default());
    let bell = Arc::new(EventFd::new().unwrap());
    let ring = Ring::new(Box::new(Stub(Rc::clone(&kernel))), inbox, bell, Arc::new(Counters::default()));
    (Rc::new(ring), kernel)
}
