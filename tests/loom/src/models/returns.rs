//! Models of the way home of a pool's buffers (`src/buf/returns.rs`).
//!
//! A return that is slept through shows as a deadlock, a lost buffer as a wrong list, one that two sides have
//! as a data race.

use super::explore;
use crate::buf::returns::Returns;
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Notify};
use loom::thread::{self, JoinHandle};

/// A thread that returns `ids` one after the other, and rings where it is asked to.
fn returning(returns: &Arc<Returns>, bell: &Arc<Notify>, ids: &'static [u16]) -> JoinHandle<()> {
    let (returns, bell) = (Arc::clone(returns), Arc::clone(bell));
    thread::spawn(move || {
        for id in ids {
            if returns.push(*id) {
                bell.notify();
            }
        }
    })
}

/// A core that needs all its buffers back and sleeps until it has them.
fn starved_core(preemptions: usize, first: &'static [u16], second: &'static [u16]) {
    explore(preemptions, move || {
        let count = first.len() + second.len();
        let (returns, bell) = (Arc::new(Returns::new(count)), Arc::new(Notify::new()));
        let threads = [returning(&returns, &bell, first), returning(&returns, &bell, second)];
        let mut home = Vec::new();
        loop {
            returns.take_all(|id| home.push(id));
            if home.len() == count {
                break;
            }
            returns.starve();
            if !returns.has_any() {
                bell.wait();
            }
        }
        returns.fed();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        home.sort_unstable();
        assert_eq!(home, (0..count as u16).collect::<Vec<_>>(), "each buffer came home once");
        assert!(!returns.push(0), "a core that has enough is not rung");
    });
}

/// Two threads return while the core looks, starves and goes to sleep.
pub fn a_core_without_buffers_sleeps_through_no_return() {
    starved_core(2, &[0], &[1]);
}

/// The same with two buffers of one thread.
pub fn a_core_without_buffers_sleeps_through_no_return_deep() {
    starved_core(3, &[0, 1], &[2]);
}

/// The bytes of two buffers, for loom to see who touches them.
struct Bytes([UnsafeCell<u32>; 2]);

// SAFETY: whoever has a buffer touches its bytes; that this is one at a time is what the model checks.
unsafe impl Sync for Bytes {}
// SAFETY: they are numbers.
unsafe impl Send for Bytes {}

impl Bytes {
    fn add(&self, id: u16) {
        // SAFETY: the caller has buffer `id`; loom checks it.
        self.0[usize::from(id)].with_mut(|bytes| unsafe { *bytes += 1 });
    }

    fn get(&self, id: u16) -> u32 {
        // SAFETY: as above.
        self.0[usize::from(id)].with(|bytes| unsafe { *bytes })
    }
}

/// A thread that has buffer `id`, uses it and returns it.
fn using(returns: &Arc<Returns>, bytes: &Arc<Bytes>, id: u16) -> JoinHandle<()> {
    let (returns, bytes) = (Arc::clone(returns), Arc::clone(bytes));
    thread::spawn(move || {
        bytes.add(id);
        let _ = returns.push(id);
    })
}

fn two_in_use() -> (Arc<Returns>, Arc<Bytes>, [JoinHandle<()>; 2]) {
    let (returns, bytes) = (Arc::new(Returns::new(2)), Arc::new(Bytes([0, 0].map(UnsafeCell::new))));
    let threads = [using(&returns, &bytes, 0), using(&returns, &bytes, 1)];
    (returns, bytes, threads)
}

/// What a holder did to a buffer comes before what its home does to it.
pub fn a_buffer_is_in_one_place() {
    explore(3, || {
        let (returns, bytes, threads) = two_in_use();
        returns.take_all(|id| bytes.add(id));
        returns.take_all(|id| bytes.add(id));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        returns.take_all(|id| bytes.add(id));
        assert_eq!([bytes.get(0), bytes.get(1)], [2, 2]);
    });
}

/// A buffer that the core hands on is used and returned while the core still follows the links.
pub fn a_buffer_that_is_handed_on_may_come_back_at_once() {
    explore(2, || {
        let (returns, bytes, threads) = two_in_use();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let mut again = None;
        let mut home = Vec::new();
        returns.take_all(|id| match again {
            None => again = Some(using(&returns, &bytes, id)),
            Some(_) => home.push(id),
        });
        again.expect("two were there").join().unwrap();
        returns.take_all(|id| home.push(id));
        home.sort_unstable();
        assert_eq!(home, [0, 1]);
        assert_eq!(bytes.get(0) + bytes.get(1), 3);
    });
}
