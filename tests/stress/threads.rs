//! Threads that are no cores and do to a runtime what its users' threads do: spawn, join, abort, wake, block.

use crate::kit::Event;
use crate::life::{child, talk};
use crate::support::Random;
use crate::world::{Token, World, step};
use futures_executor::block_on;
use ringwork::task::{AbortHandle, JoinHandle};
use ringwork::time::{Duration, sleep};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

/// One thread's own things.
struct Hand {
    world: Arc<World>,
    random: Random,
    tasks: Vec<JoinHandle<Token>>,
    aborts: Vec<AbortHandle>,
}

/// Starts a thread that goes on until the world is over. What it holds then lies in the world.
pub(crate) fn start(world: &Arc<World>, random: Random) -> thread::JoinHandle<()> {
    let hand = Hand { world: Arc::clone(world), random, tasks: Vec::new(), aborts: Vec::new() };
    thread::spawn(move || hand.work())
}

impl Hand {
    fn work(mut self) {
        while !self.world.is_over() {
            step();
            self.act();
        }
        for task in self.tasks {
            drop(self.world.tasks.leave(task, &mut self.random));
        }
    }

    fn act(&mut self) {
        let Self { world, random, tasks, aborts } = self;
        match random.below(16) {
            0..4 if world.has_room() => {
                let _entered = random.chance(2).then(|| world.handle.enter());
                let task = child(world, random, 0);
                aborts.push(task.abort_handle());
                tasks.push(task);
            }
            4..6 if !tasks.is_empty() => {
                let task = tasks.swap_remove(random.below(tasks.len() as u64) as usize);
                join(world, random, task);
            }
            6 if !tasks.is_empty() => {
                drop(tasks.swap_remove(random.below(tasks.len() as u64) as usize));
            }
            7 if !aborts.is_empty() => {
                aborts.swap_remove(random.below(aborts.len() as u64) as usize).abort();
            }
            8..11 => self.wake(),
            11 => block_on_io(world, random),
            12 => drop(world.handle.metrics()),
            13 => {
                if let Some(task) = world.tasks.take(random) {
                    join(world, random, task);
                }
            }
            14 => thread::sleep(Duration::from_micros(random.below(1_000))),
            _ => thread::yield_now(),
        }
    }

    fn wake(&mut self) {
        let (world, random) = (&self.world, &mut self.random);
        for _ in 0..random.below(20) {
            world.events.take(random).iter().for_each(Event::set);
            match world.wakers.take(random) {
                Some(waker) if random.chance(4) => {
                    waker.wake_by_ref();
                    drop(world.wakers.leave(waker, random));
                }
                Some(waker) if random.chance(2) => waker.wake(),
                other => drop(other),
            }
        }
    }
}

/// A handle that is waited for gives its output or says why not.
fn join(world: &World, random: &mut Random, task: JoinHandle<Token>) {
    let joined = match random.below(2) {
        0 => block_on(task),
        _ => world.handle.block_on(task),
    };
    if let Err(error) = joined {
        assert!(error.is_cancelled() || error.is_panic());
    }
}

/// I/O and timers from outside. When the runtime goes, the ops fail and the timers panic, as documented.
fn block_on_io(world: &World, random: &mut Random) {
    let nap = Duration::from_micros(random.below(3_000));
    let talks = random.chance(2);
    let call = || {
        world.handle.block_on(async {
            match talks {
                true => drop(talk(world, random).await),
                false => sleep(nap).await,
            }
        });
    };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        assert!(text.contains("has shut down"), "{text}");
    }
}
