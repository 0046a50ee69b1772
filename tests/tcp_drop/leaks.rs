//! Thousands of ops of all kinds, dropped at random places: descriptors, tasks, ops and buffers return to the
//! start.

use crate::canary::graves_are_quiet;
use crate::stage::{AnyOp, Stage, poll_here, poll_some};
use crate::support::{LIMIT, Levels, Random, alone, forwarding_pipes_go, runtime, within};
use ringwork::runtime::Handle;

const TASKS: usize = 6;
const OPS_PER_TASK: usize = 1_000;

#[test]
fn ops_dropped_at_random_places_leak_nothing() {
    let _alone = alone();
    within(LIMIT, || {
        let mut random = Random::announced();
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        runtime.block_on(async {
            let start = Levels::at_start(&handle).await;
            let tasks: Vec<_> = (0..TASKS)
                .map(|n| {
                    let (random, handle) = (random.fork(), handle.clone());
                    handle.clone().spawn_on(n % 2, move || drop_many(handle, random, OPS_PER_TASK))
                })
                .collect();
            for task in tasks {
                task.await.expect("no op panics");
            }
            start.return_on(&handle).await;
        });
        graves_are_quiet();
        let report = runtime.shutdown_timeout(LIMIT);
        assert!(report.is_clean(), "{report}");
        forwarding_pipes_go();
    });
}

async fn drop_many(handle: Handle, mut random: Random, ops: usize) {
    let mut stage = Stage::new().await;
    let mut kept = Vec::new();
    for _ in 0..ops {
        if random.chance(20) {
            stage.renew_streams().await;
        }
        let op = stage.op(&mut random);
        let Some(op) = poll_some(op, &mut random).await else { continue };
        if random.chance(4) {
            kept.push(op);
        } else {
            drop_somewhere(&handle, op, random.fork());
        }
        // Several are in flight at a time, and they end in any order.
        while kept.len() > random.below(12) as usize {
            let op = kept.swap_remove(random.below(kept.len() as u64) as usize);
            drop_somewhere(&handle, op, random.fork());
        }
    }
}

/// Drops an op here, on the other core (where it may be polled first), on the blocking pool or on a plain
/// thread.
pub(crate) fn drop_somewhere(handle: &Handle, mut op: AnyOp, mut random: Random) {
    let other = 1 - ringwork::core::current().expect("this is a core");
    match random.below(8) {
        0..3 => drop(op),
        3..5 => drop(handle.spawn_on(other, move || async move { drop(op) })),
        5 => {
            let polled = move || async move { drop(poll_some(op, &mut random).await) };
            drop(handle.spawn_on(other, polled));
        }
        6 => {
            // First polled, or polled again, on a thread that is no core.
            drop(handle.spawn_blocking(move || {
                let _ = poll_here(&mut op);
            }));
        }
        _ => drop(handle.spawn_blocking(move || drop(op))),
    }
}
