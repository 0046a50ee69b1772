//! The cooperative budget: who is made to pause, who is not, and what a pause is good for.

mod kit;

use futures_util::stream::{FuturesUnordered, StreamExt};
use kit::{bounded, poll_once, runtime};
use ringwork::fs::{Dir, File};
use ringwork::net::{TcpStream, UnixStream};
use ringwork::task::coop::{consume_budget, cooperative, has_budget_remaining, unconstrained};
use ringwork::task::yield_now;
use ringwork::time::{Instant, sleep_until};
use std::future::{poll_fn, ready};
use std::io::Write;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ready results that one poll may take.
const BUDGET: usize = 128;

/// How many polls `future` takes as a task.
fn polls_of(future: impl Future<Output = ()> + Send + 'static) -> usize {
    bounded(|| {
        let runtime = runtime(1);
        let task = runtime.spawn(async move {
            let mut future = pin!(future);
            let mut polls = 0;
            poll_fn(|cx| {
                polls += 1;
                future.as_mut().poll(cx)
            })
            .await;
            polls
        });
        runtime.block_on(task).unwrap()
    })
}

async fn take(count: usize) {
    for _ in 0..count {
        cooperative(ready(())).await;
    }
}

#[test]
fn as_many_results_as_the_budget_take_one_poll_and_one_more_takes_two() {
    assert_eq!(polls_of(take(BUDGET)), 1);
    assert_eq!(polls_of(take(BUDGET + 1)), 2);
    assert_eq!(polls_of(take(10 * BUDGET)), 10);
}

#[test]
fn a_task_that_consumes_budget_by_hand_pauses_as_often() {
    assert_eq!(
        polls_of(async {
            for _ in 0..10 * BUDGET {
                consume_budget().await;
            }
        }),
        10
    );
}

#[test]
fn ready_ops_of_ours_spend_budget() {
    // Past its deadline, so ready at once.
    assert_eq!(
        polls_of(async {
            for _ in 0..10 * BUDGET {
                sleep_until(Instant::now()).await;
            }
        }),
        10
    );
}

#[test]
fn opens_of_a_cached_path_need_no_pause_but_those_of_the_budget() {
    const OPENS: usize = 10 * BUDGET;
    let by_name = polls_of(async {
        for _ in 0..OPENS {
            File::open("Cargo.toml").await.unwrap();
        }
    });
    let beneath = polls_of(async {
        let dir = Dir::open(".").await.unwrap();
        for _ in 0..OPENS {
            dir.open_file("Cargo.toml").await.unwrap();
        }
    });
    for polls in [by_name, beneath] {
        // The kernel may have had to look for the name, now and then.
        assert!((OPENS / BUDGET..OPENS / 2).contains(&polls), "{polls}");
    }
}

#[test]
fn what_is_answered_on_the_spot_spends_budget() {
    const ASKED: usize = 10 * BUDGET;
    let of_a_file = polls_of(async {
        let file = File::open("Cargo.toml").await.unwrap();
        for _ in 0..ASKED {
            file.metadata().await.unwrap();
        }
    });
    let of_a_folder = polls_of(async {
        let dir = Dir::open(".").await.unwrap();
        for _ in 0..ASKED {
            dir.metadata().await.unwrap();
        }
    });
    let refused = polls_of(async {
        for _ in 0..ASKED {
            UnixStream::connect("/nowhere").await.unwrap_err();
        }
    });
    for polls in [of_a_file, of_a_folder, refused] {
        assert!((ASKED / BUDGET..ASKED / 2).contains(&polls), "{polls}");
    }
}

#[test]
fn an_unconstrained_future_is_never_made_to_pause() {
    assert_eq!(polls_of(unconstrained(take(100 * BUDGET))), 1);
    // Only the part inside; what it took there is not charged outside.
    assert_eq!(
        polls_of(async {
            take(BUDGET - 1).await;
            unconstrained(take(100 * BUDGET)).await;
            take(1).await;
        }),
        1
    );
}

#[test]
fn each_poll_of_a_task_begins_with_a_whole_budget() {
    assert_eq!(
        polls_of(async {
            for _ in 0..10 {
                assert!(has_budget_remaining());
                take(BUDGET).await;
                assert!(!has_budget_remaining());
                yield_now().await;
            }
        }),
        11
    );
}

#[test]
fn futures_polled_inside_a_task_share_its_budget() {
    let together = async {
        let mut all: FuturesUnordered<_> = (0..10 * BUDGET).map(|_| cooperative(ready(()))).collect();
        while all.next().await.is_some() {}
    };
    assert!(polls_of(together) >= 10);
    // Also if they give each result on at once: one of two may not take the other's share.
    let one_after_the_other = async {
        let (mut one, mut two) = (pin!(take(5 * BUDGET)), pin!(take(5 * BUDGET)));
        futures_util::future::join(one.as_mut(), two.as_mut()).await;
    };
    assert!(polls_of(one_after_the_other) >= 10);
}

#[test]
fn a_local_task_has_a_budget_too() {
    bounded(|| {
        let runtime = runtime(1);
        let parent = runtime.handle().spawn_on(0, || async {
            let over = Rc::new(std::cell::Cell::new(false));
            let stop = Rc::clone(&over);
            let greedy = ringwork::spawn_local(async move {
                while !stop.get() {
                    cooperative(ready(())).await;
                }
            });
            ringwork::spawn_local(async move { over.set(true) }).await.unwrap();
            greedy.await.unwrap();
        });
        runtime.block_on(parent).unwrap();
    });
}

#[test]
fn nothing_is_limited_outside_of_tasks() {
    bounded(|| {
        let runtime = runtime(1);
        let mut polls = 0;
        let mut future = pin!(take(10 * BUDGET));
        runtime.block_on(poll_fn(|cx| {
            polls += 1;
            future.as_mut().poll(cx)
        }));
        assert_eq!(polls, 1, "in block_on");
        let job = runtime.handle().spawn_blocking(|| {
            futures_executor::block_on(take(10 * BUDGET));
            has_budget_remaining()
        });
        assert!(runtime.block_on(job).unwrap(), "in a job");
    });
}

/// The budget is worth something only if what waits is looked at in the pause.
#[test]
fn pauses_of_the_budget_let_io_that_is_ready_be_seen() {
    bounded(|| {
        let runtime = runtime(1);
        let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = peer.local_addr().unwrap();
        let task = runtime.spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut peer, _) = peer.accept().unwrap();
            let mut most = 0;
            for _ in 0..50 {
                peer.write_all(b"x").unwrap();
                let mut received = stream.recv(Vec::with_capacity(1));
                let mut pauses = 0;
                while poll_once(&mut received).await.is_pending() {
                    pauses += 1;
                    // One more than the budget, so that some is left for the receive.
                    take(BUDGET + 1).await;
                }
                most = most.max(pauses);
            }
            most
        });
        // As with yields: one turn submits, the next may be the first to see.
        let most = runtime.block_on(task).unwrap();
        assert!(most <= 2 * 128 + 2, "{most} pauses");
    });
}

#[test]
fn pauses_of_the_budget_let_timers_and_other_tasks_run() {
    bounded(|| {
        let runtime = runtime(1);
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let greedy = runtime.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                consume_budget().await;
            }
        });
        let other = runtime.spawn(async move {
            ringwork::time::sleep(std::time::Duration::from_millis(2)).await;
            over.store(true, Ordering::Relaxed);
        });
        runtime.block_on(other).unwrap();
        runtime.block_on(greedy).unwrap();
    });
}

#[test]
fn metadata_that_is_always_at_hand_spends_budget() {
    let polls = polls_of(async {
        for _ in 0..4 * BUDGET {
            ringwork::fs::metadata("/").await.unwrap();
        }
    });
    assert_eq!(polls, 4);
}
