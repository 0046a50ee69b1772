//! Calm runtimes: each core hears from one thread only, which waits for its answer. A wake that is lost is
//! made up for by nobody.

use crate::support::Random;
use crate::world::{lock, step};
use ringwork::runtime::Runtime;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// How long a thread spins before it wakes its task, as a power of two: from nothing to well beyond the time
/// in which a core falls asleep.
const SPINS_LOG: u64 = 12;

/// A ball between a thread and a task.
#[derive(Default)]
struct Ball {
    /// Throws so far: odd ones are the thread's.
    throws: AtomicU64,
    over: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// Has a thread and a task of each core play ball for a while.
pub(crate) fn play(runtime: &Runtime, random: &mut Random) {
    let until = Instant::now() + Duration::from_millis(50 + random.below(200));
    let players: Vec<_> = (0..runtime.handle().cores())
        .map(|core| {
            let ball = Arc::new(Ball::default());
            let (hers, may_move) = (Arc::clone(&ball), random.chance(2));
            let task = async move { catch(&hers).await };
            let task = match may_move {
                true => runtime.spawn(task),
                false => runtime.handle().spawn_on(core, move || task),
            };
            let random = random.fork();
            (thread::spawn(move || throw(&ball, random, until)), task)
        })
        .collect();
    for (thread, task) in players {
        let throws = thread.join().expect("a player stays");
        assert_eq!(runtime.block_on(task).expect("so does its task"), throws);
    }
}

/// The task's part: how many it caught.
async fn catch(ball: &Ball) -> u64 {
    let mut caught = 0;
    poll_fn(|cx| {
        *lock(&ball.waker) = Some(cx.waker().clone());
        if ball.throws.load(Ordering::SeqCst) % 2 == 1 {
            caught += 1;
            step();
            ball.throws.fetch_add(1, Ordering::SeqCst);
        }
        if ball.over.load(Ordering::SeqCst) { Poll::Ready(caught) } else { Poll::Pending }
    })
    .await
}

/// The thread's part: how many it threw.
fn throw(ball: &Ball, mut random: Random, until: Instant) -> u64 {
    let mut thrown = 0;
    while Instant::now() < until {
        let most = 1 << random.below(SPINS_LOG);
        for _ in 0..random.below(most) {
            std::hint::spin_loop();
        }
        ball.throws.fetch_add(1, Ordering::SeqCst);
        thrown += 1;
        wake(ball);
        while ball.throws.load(Ordering::SeqCst) % 2 == 1 {
            thread::yield_now();
        }
    }
    ball.over.store(true, Ordering::SeqCst);
    wake(ball);
    thrown
}

fn wake(ball: &Ball) {
    // Not before its first poll, which finds the ball.
    if let Some(waker) = lock(&ball.waker).take() {
        waker.wake();
    }
}
