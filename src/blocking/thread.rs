//! A thread of the pool, from its start to its end.
//!
//! Owns what a thread does: it answers the summons it was started for, runs jobs as long as there are any,
//! and waits for a summons until its time is up. Before it sleeps it looks for a moment whether it is
//! summoned, if that pays (`base::spin`); of all threads that wait, at most one looks. Who is summoned is
//! decided in line.rs.
#![forbid(unsafe_code)]

use super::pool::{Books, Shared};
use super::sleeper::Sleeper;
use crate::base::guard::contained;
use crate::base::spin::Spin;
use std::cell::Cell;
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::Instant;

impl Shared {
    /// A thread of the pool.
    pub(super) fn work(self: &Arc<Self>, number: usize) {
        let _left = Left { pool: self, number };
        WORKS_FOR.set(self.address());
        let mut has_served = false;
        contained(|| {
            (self.config.around)(&mut || {
                if !std::mem::replace(&mut has_served, true) {
                    self.serve(number);
                }
            });
        });
        if !has_served {
            self.serve(number);
        }
    }

    /// Answers the summons the thread was started for, and then as long as there is work.
    fn serve(self: &Arc<Self>, number: usize) {
        let mut books = self.lock();
        books.line.answer();
        let mut bed =
            Bed { sleeper: Arc::new(Sleeper::of_this_thread()), spin: Spin::new(self.config.spin_window) };
        loop {
            books = self.run_all(books);
            match self.wait(books, number, &mut bed) {
                Some(summoned) => books = summoned,
                None => break,
            }
        }
    }

    /// Runs jobs until there is none to take.
    fn run_all<'a>(self: &'a Arc<Self>, mut books: MutexGuard<'a, Books>) -> MutexGuard<'a, Books> {
        let mut now = Instant::now();
        while let Some((lane, job)) = books.line.take(now) {
            // The end of a job may have made one more ready than we took.
            let summons = books.line.summon();
            drop(books);
            // If a thread is refused here, nothing is stranded: this one comes back to the line.
            let _ = self.call(summons);
            job.run();
            now = Instant::now();
            books = self.lock();
            books.line.finish(lane);
        }
        books
    }

    /// Sleeps until summoned, and looks for a moment before if that pays. `None` if the thread has left the
    /// line and must end.
    fn wait<'a>(
        &'a self,
        mut books: MutexGuard<'a, Books>,
        number: usize,
        bed: &mut Bed,
    ) -> Option<MutexGuard<'a, Books>> {
        if books.line.is_closed() {
            books.line.leave(number);
            return None;
        }
        bed.sleeper.clear();
        let window = bed.spin.window();
        let looks = books.line.become_idle(number, &bed.sleeper, window.is_some());
        let since = Instant::now();
        let until = since.checked_add(self.config.keep_alive);
        if let Some(window) = window.filter(|_| looks) {
            drop(books);
            bed.sleeper.look(window);
            books = self.lock();
            books.line.fall_asleep(number);
        }
        let mut slept = false;
        while !books.line.was_summoned(number) {
            // Not summoned: the time is up, or this was for a job that uses `park` itself.
            if until.is_some_and(|until| Instant::now() >= until) {
                books.line.leave(number);
                return None;
            }
            drop(books);
            slept = true;
            match until {
                Some(until) => thread::park_timeout(until.saturating_duration_since(Instant::now())),
                None => thread::park(),
            }
            books = self.lock();
        }
        bed.sleeper.judge(&mut bed.spin, since, slept);
        books.line.answer();
        Some(books)
    }
}

/// What a thread waits with.
struct Bed {
    sleeper: Arc<Sleeper>,
    spin: Spin,
}

/// Says that a thread of the pool leaves, however it does.
struct Left<'a> {
    pool: &'a Shared,
    number: usize,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.pool.lock().threads.leaves(self.number);
        self.pool.gone.notify_all();
    }
}

thread_local! {
    /// The pool that this thread belongs to (its address; 0 is none).
    static WORKS_FOR: Cell<usize> = const { Cell::new(0) };
}

/// Whether this thread works for the pool at `address`; false for 0.
pub(crate) fn works_for(address: usize) -> bool {
    address != 0 && WORKS_FOR.get() == address
}
