//! Ops dropped while the runtime goes down, and after it.

use crate::canary::graves_are_quiet;
use crate::stage::{AnyOp, Stage, poll_here, poll_some};
use crate::support::{LIMIT, Random, alone, descriptors, forwarding_pipes_go, runtime, within};
use ringwork::runtime::Handle;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

const ROUNDS: usize = 40;
const TASKS: usize = 6;

#[test]
fn ops_dropped_while_the_runtime_goes_down_leak_nothing() {
    let _alone = alone();
    within(LIMIT, || {
        let mut random = Random::announced();
        // The first runtime of a process opens what later ones share.
        one_runtime(&mut random);
        let start = descriptors();
        for _ in 0..ROUNDS {
            one_runtime(&mut random);
        }
        graves_are_quiet();
        let until = Instant::now() + Duration::from_secs(10);
        while descriptors() != start {
            assert!(Instant::now() < until, "{start} descriptors at the start, {} now", descriptors());
            std::thread::sleep(Duration::from_millis(5));
        }
        forwarding_pipes_go();
    });
}

/// A runtime that ends at a random moment, with ops in flight on its cores, in `block_on`, and in the hands
/// of a thread that drops them during and after the shutdown.
fn one_runtime(random: &mut Random) {
    let runtime = runtime(2);
    let (survivors, rescued) = channel::<AnyOp>();
    for n in 0..TASKS {
        let (random, handle, survivors) = (random.fork(), runtime.handle().clone(), survivors.clone());
        drop(runtime.handle().spawn_on(n % 2, move || start_for_ever(handle, random, survivors)));
    }
    drop(survivors);
    let mut outside = random.fork();
    let stage = runtime.block_on(async {
        let stage = Stage::new().await;
        // Some of these are polled by a thread that is no core.
        for _ in 0..20 {
            drop(poll_some(stage.op(&mut outside), &mut outside).await);
        }
        stage
    });
    let mut late: Vec<AnyOp> = (0..10).map(|_| stage.op(&mut outside)).collect();
    let guard = runtime.handle().enter();
    for op in &mut late {
        let _ = poll_here(op);
    }
    drop(guard);
    let dropper = std::thread::spawn(move || {
        let mut kept = Vec::new();
        for (n, op) in rescued.iter().enumerate() {
            if n % 8 == 0 { kept.push(op) } else { drop(op) }
        }
        kept
    });
    let report = runtime.shutdown_timeout(Duration::from_secs(20));
    assert!(report.is_clean(), "{report}");
    // After the runtime: polled they fail, dropped they give back what they own.
    for mut op in dropper.join().expect("dropping never panics").into_iter().chain(late) {
        let _ = poll_here_or_panic(&mut op);
        drop(op);
    }
    drop(stage);
}

/// An op that was never polled finds no runtime, nor does a forwarding that waits for its turn to send, which
/// is a panic with a message; all others answer.
fn poll_here_or_panic(op: &mut AnyOp) -> bool {
    let hook = std::panic::AssertUnwindSafe(|| poll_here(op).is_ready());
    std::panic::catch_unwind(hook).unwrap_or(false)
}

async fn start_for_ever(handle: Handle, mut random: Random, survivors: Sender<AnyOp>) {
    let mut stage = Stage::new().await;
    let mut kept = Vec::new();
    loop {
        if random.chance(20) {
            stage.renew_streams().await;
        }
        let Some(op) = poll_some(stage.op(&mut random), &mut random).await else {
            ringwork::task::yield_now().await;
            continue;
        };
        match random.below(4) {
            0 => drop(survivors.send(op)),
            1 => drop(handle.spawn_on(random.below(2) as usize, move || op)),
            _ => kept.push(op),
        }
        if kept.len() > 20 {
            drop(kept.swap_remove(random.below(20) as usize));
        }
    }
}
