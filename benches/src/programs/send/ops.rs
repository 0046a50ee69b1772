//! The operations of `Send` tasks, for any runtime of several workers: in kind and number those of tokio's
//! own benchmarks. Each goes on until the meter says that its time is over and reads the clock once a round.

use tokio::sync::oneshot;

use super::{Countdown, Workers};
use crate::meter::Meter;

const SPAWNED: u64 = 10_000;
const YIELDING: u64 = 200;
const YIELDS: u64 = 1000;
const PAIRS: u64 = 1000;
const CHAIN: u64 = 1000;

/// Spawns many tasks that have nothing to do and waits until all have run.
pub(super) async fn spawn_many<W: Workers>(meter: &mut Meter) {
    loop {
        let (countdown, all) = Countdown::new(SPAWNED);
        for _ in 0..SPAWNED {
            let countdown = countdown.clone();
            W::start(async move { countdown.one_is_done() });
        }
        all.await.expect("the last task sends");
        if !meter.tick(SPAWNED, None) {
            return;
        }
    }
}

/// Tasks that yield, all at once.
pub(super) async fn yield_many<W: Workers>(meter: &mut Meter) {
    loop {
        let (countdown, all) = Countdown::new(YIELDING);
        for _ in 0..YIELDING {
            let countdown = countdown.clone();
            W::start(async move {
                for _ in 0..YIELDS {
                    W::yield_now().await;
                }
                countdown.one_is_done();
            });
        }
        all.await.expect("the last task sends");
        if !meter.tick(YIELDING * YIELDS, None) {
            return;
        }
    }
}

/// Pairs of tasks of which one asks and one answers, once.
pub(super) async fn pair_ping_pong<W: Workers>(meter: &mut Meter) {
    loop {
        let (countdown, all) = Countdown::new(PAIRS);
        for _ in 0..PAIRS {
            let countdown = countdown.clone();
            W::start(async move {
                ask::<W>().await;
                countdown.one_is_done();
            });
        }
        all.await.expect("the last pair sends");
        if !meter.tick(PAIRS, None) {
            return;
        }
    }
}

async fn ask<W: Workers>() {
    let (ping, pinged) = oneshot::channel();
    let (pong, ponged) = oneshot::channel();
    W::start(async move {
        pinged.await.expect("the first of the pair sends");
        pong.send(()).expect("the first of the pair waits");
    });
    ping.send(()).expect("the second of the pair waits");
    ponged.await.expect("the second of the pair sends");
}

/// Spawns a task that spawns a task, and so on; awaits the last.
pub(super) async fn chained_spawn<W: Workers>(meter: &mut Meter) {
    loop {
        let (done, last) = oneshot::channel();
        link::<W>(CHAIN, done);
        last.await.expect("the last task sends");
        if !meter.tick(CHAIN, None) {
            return;
        }
    }
}

fn link<W: Workers>(left: u64, done: oneshot::Sender<()>) {
    W::start(async move {
        match left {
            1 => done.send(()).expect("the first one waits"),
            _ => link::<W>(left - 1, done),
        }
    });
}
