//! Background tasks: they run when nothing else wants to, get their share when something does, and stay.

mod kit;

use kit::{Event, bounded, echo_server, runtime, talk};
use ringwork::fs::File;
use ringwork::task::{Builder, yield_now};
use ringwork::time::{Duration, Instant, sleep};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Burns CPU for as long as a longish poll takes.
fn compute() {
    let until = Instant::now() + Duration::from_micros(100);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// Computes and yields until `over`, counting its polls.
async fn toil(over: Arc<AtomicBool>, polls: Arc<AtomicU64>) {
    while !over.load(Ordering::SeqCst) {
        compute();
        polls.fetch_add(1, Ordering::SeqCst);
        yield_now().await;
    }
}

#[test]
fn a_background_task_gets_its_share_of_a_busy_core_and_no_more() {
    bounded(|| {
        let runtime = runtime(1);
        let over = Arc::new(AtomicBool::new(false));
        let (front, back) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut tasks = Vec::new();
        for _ in 0..3 {
            tasks.push(runtime.spawn(toil(Arc::clone(&over), Arc::clone(&front))));
            let toil = toil(Arc::clone(&over), Arc::clone(&back));
            let _entered = runtime.handle().enter();
            tasks.push(Builder::new().background().spawn(toil));
        }
        kit::wait_for("the background to have run often", || back.load(Ordering::SeqCst) >= 50);
        // The front second: what comes between the two looks is not the background's.
        let back = back.load(Ordering::SeqCst);
        let front = front.load(Ordering::SeqCst);
        over.store(true, Ordering::SeqCst);
        for task in tasks {
            runtime.block_on(task).unwrap();
        }
        // The share is 1 in 16; polls that are stretched by other programs blur it.
        assert!(front > 8 * back, "{front} polls in front, {back} in the background");
    });
}

#[test]
fn a_background_task_runs_at_once_on_an_idle_core() {
    bounded(|| {
        let runtime = runtime(1);
        let task = Builder::new().background().spawn_with(runtime.handle(), async {
            for _ in 0..1_000 {
                yield_now().await;
            }
            7
        });
        assert_eq!(runtime.block_on(task).unwrap(), 7);
    });
}

#[test]
fn sockets_timers_and_other_tasks_work_beside_endless_background_work() {
    bounded(|| {
        let runtime = runtime(1);
        let over = Arc::new(AtomicBool::new(false));
        let polls = Arc::new(AtomicU64::new(0));
        let endless = toil(Arc::clone(&over), Arc::clone(&polls));
        let endless = Builder::new().background().spawn_with(runtime.handle(), endless);
        let echo = echo_server();
        let work = runtime.spawn(async move {
            for _ in 0..20 {
                talk(echo, "hello").await.unwrap();
                sleep(Duration::from_millis(1)).await;
                ringwork::spawn(async {}).await.unwrap();
            }
        });
        runtime.block_on(work).unwrap();
        over.store(true, Ordering::SeqCst);
        runtime.block_on(endless).unwrap();
    });
}

/// The kernel reads while it is handed the op: the poll that begins it takes next to no time, and what
/// follows the turn a hundred times as much.
#[test]
fn a_background_task_whose_ops_take_long_where_they_are_begun_pays_for_them() {
    const READS: u64 = 20;
    bounded(|| {
        let runtime = runtime(1);
        let over = Arc::new(AtomicBool::new(false));
        let front = Arc::new(AtomicU64::new(0));
        let (stop, count) = (Arc::clone(&over), Arc::clone(&front));
        let busy = runtime.spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                count.fetch_add(1, Ordering::SeqCst);
                yield_now().await;
            }
        });
        let count = Arc::clone(&front);
        let reads = Builder::new().background().spawn_with(runtime.handle(), async move {
            let file = File::open("/dev/zero").await.unwrap();
            // By an op.
            file.cached_reads(false);
            let mut buf = Vec::with_capacity(4 << 20);
            let mut from = 0;
            for read in 0..=READS {
                if read == 1 {
                    // The first one has touched the memory.
                    from = count.load(Ordering::SeqCst);
                }
                buf.clear();
                let (result, back) = file.read_at(buf, 0).await;
                result.unwrap();
                buf = back;
            }
            count.load(Ordering::SeqCst) - from
        });
        let polls = runtime.block_on(reads).unwrap();
        over.store(true, Ordering::SeqCst);
        runtime.block_on(busy).unwrap();
        // A poll that yields takes less than such a read, and fifteen times as long as that others had.
        println!("{polls} polls in front beside {READS} reads");
        assert!(polls >= 15 * READS, "{polls} polls in front beside {READS} reads");
    });
}

#[test]
fn background_tasks_stay_on_their_core_though_another_is_idle() {
    bounded(|| {
        let runtime = runtime(2);
        let parent = runtime.handle().spawn_on(1, || async {
            let work = || async {
                for _ in 0..5 {
                    compute();
                    assert_eq!(ringwork::core::current(), Some(1));
                    sleep(Duration::from_millis(1)).await;
                }
            };
            let tasks: Vec<_> = (0..50).map(|_| Builder::new().background().spawn(work())).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        runtime.block_on(parent).unwrap();
        assert_eq!(runtime.handle().metrics().cores[0].tasks_stolen, 0);
    });
}

#[test]
fn a_core_with_only_background_work_helps_one_that_is_overloaded() {
    bounded(|| {
        let runtime = runtime(2);
        let (over, polls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop, count) = (Arc::clone(&over), Arc::clone(&polls));
        let background = runtime.handle().spawn_on(1, || async {
            Builder::new().background().spawn_local(toil(stop, count)).await.unwrap();
        });
        let helped = Event::default();
        let seen = helped.clone();
        let parent = runtime.handle().spawn_on(0, move || async move {
            while !seen.is_set() {
                for _ in 0..20 {
                    let seen = seen.clone();
                    drop(ringwork::spawn(async move {
                        compute();
                        if ringwork::core::current() == Some(1) {
                            seen.set();
                        }
                    }));
                }
                yield_now().await;
                sleep(Duration::from_millis(1)).await;
            }
        });
        runtime.block_on(helped.wait());
        runtime.block_on(parent).unwrap();
        over.store(true, Ordering::SeqCst);
        runtime.block_on(background).unwrap();
    });
}
