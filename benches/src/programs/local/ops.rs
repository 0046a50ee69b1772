//! The operations of local tasks, for any runtime. Each goes on until the meter says that its time is over
//! and reads the clock once for a batch of some thousand polls.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::Local;
use super::slot::Slot;
use crate::meter::Meter;

/// Operations for one reading of the clock: that is then under 0.1 ns of each.
const BATCH: u64 = 1000;
/// Tasks in one chain.
const CHAIN: u64 = 1000;
/// Ends the partner of a ping-pong.
const END: u64 = u64::MAX;

/// Spawns an empty task and awaits it.
pub(super) async fn spawn_join<L: Local>(meter: &mut Meter) {
    loop {
        for _ in 0..BATCH {
            L::spawn(async {}).await;
        }
        if !meter.tick(BATCH, None) {
            return;
        }
    }
}

/// Yields; there is no other task that wants to run.
pub(super) async fn yields<L: Local>(meter: &mut Meter) {
    loop {
        for _ in 0..BATCH {
            L::yield_now().await;
        }
        if !meter.tick(BATCH, None) {
            return;
        }
    }
}

/// Sends a number to another task and awaits its successor.
pub(super) async fn ping_pong<L: Local>(meter: &mut Meter) {
    let (there, back) = (Rc::new(Slot::new()), Rc::new(Slot::new()));
    L::start(answer(there.clone(), back.clone()));
    let mut number = 0;
    loop {
        for _ in 0..BATCH {
            there.send(number);
            let answer = back.recv().await;
            assert_eq!(answer, number + 1, "the partner answers with the successor");
            number = answer;
        }
        if !meter.tick(BATCH, None) {
            there.send(END);
            return;
        }
    }
}

async fn answer(there: Rc<Slot<u64>>, back: Rc<Slot<u64>>) {
    loop {
        match there.recv().await {
            END => return,
            number => back.send(number + 1),
        }
    }
}

/// Spawns a task that spawns a task, and so on; awaits the last.
pub(super) async fn chained_spawn<L: Local>(meter: &mut Meter) {
    let done = Rc::new(Slot::new());
    loop {
        link::<L>(CHAIN, done.clone());
        done.recv().await;
        if !meter.tick(CHAIN, None) {
            return;
        }
    }
}

fn link<L: Local>(left: u64, done: Rc<Slot<()>>) {
    L::start(async move {
        match left {
            1 => done.send(()),
            _ => link::<L>(left - 1, done),
        }
    });
}

/// Sets timers for some time between one minute and two, by polling each once, and drops them all.
pub(super) async fn timers<L: Local>(meter: &mut Meter, count: u64) {
    let mut timers = Vec::with_capacity(count as usize);
    loop {
        for index in 0..count {
            let time = Duration::from_micros(60_000_000 + index * 7919 % 60_000_000);
            // A box for each, with every runtime: a future that has been polled must not move.
            timers.push(Box::pin(L::sleep(time)));
        }
        poll_fn(|cx| {
            for timer in &mut timers {
                assert!(timer.as_mut().poll(cx).is_pending(), "it is due in a minute");
            }
            Poll::Ready(())
        })
        .await;
        timers.clear();
        if !meter.tick(count, None) {
            return;
        }
    }
}
