//! Tasks that are always ready, as many as fill the steal queue and more: each gets its turn.

use crate::kit::{bounded, wait_for};
use crate::{BUSY, IN_A_ROW, INJECTOR_EVERY, STEAL_QUEUE, TURN, polls};
use ringwork::runtime::{Builder, Handle, Pin, Steal};
use ringwork::task::yield_now;
use ringwork::time::Duration;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How often each of so many tasks is to be polled.
const TIMES: u64 = 5;

/// Spawns `count` tasks of which each yields for ever. Returns how often each was polled, and how many polls
/// there were in all.
fn least_polled(count: u64, steal: Steal) -> (u64, u64) {
    let runtime = Builder::new().cores(1).pin(Pin::Off).steal(steal).build().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let counts: Arc<Vec<AtomicU64>> = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
    let (stop, all) = (Arc::clone(&over), Arc::clone(&counts));
    let spawning = runtime.handle().spawn_on(0, move || async move {
        for n in 0..count as usize {
            let (stop, all) = (Arc::clone(&stop), Arc::clone(&all));
            drop(ringwork::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    all[n].fetch_add(1, Ordering::Relaxed);
                    yield_now().await;
                }
            }));
        }
    });
    runtime.block_on(spawning).unwrap();
    let from = polls(runtime.handle());
    wait_for("enough polls", || polls(runtime.handle()) - from >= TIMES * longest_wait(count));
    let least = counts.iter().map(|count| count.load(Ordering::Relaxed)).min().unwrap();
    over.store(true, Ordering::Relaxed);
    (least, polls(runtime.handle()) - from)
}

/// Once for the injector, of which every other poll is one if it is as deep as the queue, and once for the
/// queue, as long as either has been: a turn keeps to what it has seen when it began. An injector that is not
/// deep has one poll in so many, as has any before the core has been busy for a while.
fn longest_wait(count: u64) -> u64 {
    let injected = count.saturating_sub(STEAL_QUEUE / 2).min(STEAL_QUEUE / 8);
    BUSY + 3 * count + 2 * STEAL_QUEUE + TURN + INJECTOR_EVERY * injected
}

/// A task that the injector gave out used to go back there if the queue was full. With one task more than
/// the queue holds, or a multiple of half of it more, that was the same task every time.
#[test]
fn every_task_gets_its_turn_however_many_are_always_ready() {
    bounded(|| {
        for steal in [Steal::After(Duration::from_micros(200)), Steal::Never] {
            for count in [1, 2, 255, 256, 257, 258, 386, 515, 700, 20_000] {
                let (least, all) = least_polled(count, steal);
                assert!(least >= TIMES - 1, "{steal:?}, {count} tasks: {least} of {all} polls for one");
            }
        }
    });
}

/// What overflows beside a local task that is always ready used to have one poll in sixty-one, as soon as the
/// steal queue was empty.
#[test]
fn tasks_that_overflow_beside_a_local_task_have_the_turns_of_the_steal_queue() {
    const COUNT: u64 = 10_000;
    bounded(|| {
        let runtime = Builder::new().cores(1).pin(Pin::Off).build().unwrap();
        let burst = runtime.handle().spawn_on(0, || async {
            let over = Rc::new(Cell::new(false));
            let stop = Rc::clone(&over);
            let spins = ringwork::spawn_local(async move {
                while !stop.get() {
                    yield_now().await;
                }
            });
            let handle = Handle::current();
            let from = polls(&handle);
            let tasks: Vec<_> = (0..COUNT).map(|_| ringwork::spawn(async {})).collect();
            assert!(handle.metrics().injector_depth > COUNT / 2);
            for task in tasks {
                task.await.unwrap();
            }
            over.set(true);
            spins.await.unwrap();
            polls(&handle) - from
        });
        let all = runtime.block_on(burst).unwrap();
        // They are as good as in one queue, once the core has been busy for a while.
        let bound = BUSY + TURN + (IN_A_ROW + 1) * COUNT;
        println!("{all} polls of at most {bound}");
        assert!(all <= bound, "{all} polls of at most {bound}");
    });
}
