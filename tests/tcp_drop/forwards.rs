//! Forwardings dropped in the middle of bulk, wherever that is: their pipes, ops and buffers come back.

use crate::canary::graves_are_quiet;
use crate::leaks::drop_somewhere;
use crate::stage::AnyOp;
use crate::support::{
    LIMIT, Levels, Random, alone, forwarding_pipes, forwarding_pipes_go, half_std_pair, runtime, within,
};
use ringwork::runtime::Handle;
use ringwork::time::timeout;
use std::io::{Read, Write};
use std::time::Duration;

const TASKS: usize = 4;
const FORWARDINGS: usize = 25;

#[test]
fn forwardings_dropped_in_bulk_leak_nothing() {
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
                    handle.clone().spawn_on(n % 2, move || drop_in_bulk(handle, random))
                })
                .collect();
            let mut in_bulk = 0;
            for task in tasks {
                in_bulk += task.await.expect("no forwarding panics");
            }
            assert!(in_bulk > 0, "no forwarding was dropped with bytes in a pipe");
            start.return_on(&handle).await;
        });
        graves_are_quiet();
        let report = runtime.shutdown_timeout(LIMIT);
        assert!(report.is_clean(), "{report}");
        forwarding_pipes_go();
    });
}

/// One after the other, each between streams of its own: one peer sends all the time, the other one reads
/// less than it could, so that there are mostly bytes in a pipe.
/// How often there was a pipe.
async fn drop_in_bulk(handle: Handle, mut random: Random) -> usize {
    let mut in_bulk = 0;
    for _ in 0..FORWARDINGS {
        let ((from, mut sends), (to, mut reads)) = (half_std_pair(), half_std_pair());
        let rest = Duration::from_micros(random.below(300));
        let peers = [
            handle.spawn_blocking(move || while sends.write_all(&[5; 100_000]).is_ok() {}),
            handle.spawn_blocking(move || {
                let mut buf = [0; 50_000];
                while reads.read(&mut buf).is_ok_and(|n| n > 0) {
                    std::thread::sleep(rest);
                }
            }),
        ];
        let mut op: AnyOp = Box::pin(async move { drop(from.forward_to(&to).await) });
        // Long enough for bulk to be known for what it is, mostly.
        for _ in 0..random.below(60) {
            let wait = Duration::from_micros(random.below(500));
            assert!(timeout(wait, op.as_mut()).await.is_err(), "it ended while both sides went on");
        }
        in_bulk += usize::from(forwarding_pipes() > 0);
        drop_somewhere(&handle, op, random.fork());
        for peer in peers {
            peer.await.expect("a peer ends when the streams are closed");
        }
    }
    in_bulk
}
