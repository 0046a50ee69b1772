//! Other crates' channels, locks and events, across ringwork's cores: they need no runtime, and ours does
//! them right.

use event_listener::Event;
use ringwork::runtime::{Builder, Pin, Runtime};
use ringwork::task::JoinHandle;
use ringwork::time::{Duration, timeout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{Barrier, Mutex, Notify, RwLock, Semaphore, broadcast, mpsc, oneshot, watch};

fn runtime() -> Runtime {
    Builder::new().cores(2).pin(Pin::Off).build().expect("a runtime starts")
}

/// Waits for all tasks, for a bounded time.
fn join<T: Send + 'static>(runtime: &Runtime, tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let all = async {
        let mut outputs = Vec::new();
        for task in tasks {
            outputs.push(task.await.expect("the task ends well"));
        }
        outputs
    };
    runtime.block_on(async { timeout(Duration::from_secs(30), all).await.expect("nothing hangs") })
}

const MESSAGES: usize = 2_000;

#[test]
fn an_mpsc_channel_carries_messages_in_order_from_core_to_core() {
    let runtime = runtime();
    let (sender, mut receiver) = mpsc::channel(8);
    let sending = runtime.handle().spawn_on(0, move || async move {
        for n in 0..MESSAGES {
            sender.send(n).await.unwrap();
        }
    });
    let receiving = runtime.handle().spawn_on(1, move || async move {
        for n in 0..MESSAGES {
            assert_eq!(receiver.recv().await, Some(n));
        }
        assert_eq!(receiver.recv().await, None);
    });
    join(&runtime, vec![sending, receiving]);
}

#[test]
fn oneshots_answer_across_cores() {
    let runtime = runtime();
    let (requests, mut served) = mpsc::unbounded_channel::<(usize, oneshot::Sender<usize>)>();
    let server = runtime.handle().spawn_on(1, move || async move {
        while let Some((n, answer)) = served.recv().await {
            answer.send(n * 2).unwrap();
        }
    });
    let client = runtime.handle().spawn_on(0, move || async move {
        for n in 0..MESSAGES {
            let (sender, receiver) = oneshot::channel();
            requests.send((n, sender)).unwrap();
            assert_eq!(receiver.await.unwrap(), n * 2);
        }
    });
    join(&runtime, vec![client, server]);
}

#[test]
fn a_mutex_is_held_by_one_task_at_a_time() {
    let runtime = runtime();
    let (mutex, held) = (Arc::new(Mutex::new(0)), Arc::new(AtomicBool::new(false)));
    let task = |n: usize| {
        let (mutex, held) = (Arc::clone(&mutex), Arc::clone(&held));
        runtime.handle().spawn_on(n % 2, move || async move {
            for _ in 0..200 {
                let mut count = mutex.lock().await;
                assert!(!held.swap(true, Ordering::SeqCst));
                *count += 1;
                ringwork::task::yield_now().await;
                held.store(false, Ordering::SeqCst);
            }
        })
    };
    join(&runtime, (0..8).map(task).collect());
    assert_eq!(*mutex.try_lock().unwrap(), 1_600);
}

#[test]
fn a_read_write_lock_lets_readers_in_together_and_writers_alone() {
    let runtime = runtime();
    let (lock, readers) = (Arc::new(RwLock::new((0, 0))), Arc::new(AtomicUsize::new(0)));
    let task = |n: usize| {
        let (lock, readers) = (Arc::clone(&lock), Arc::clone(&readers));
        runtime.handle().spawn_on(n % 2, move || async move {
            for _ in 0..100 {
                if n < 2 {
                    let mut pair = lock.write().await;
                    assert_eq!(readers.load(Ordering::SeqCst), 0);
                    pair.0 += 1;
                    ringwork::task::yield_now().await;
                    pair.1 += 1;
                } else {
                    let pair = lock.read().await;
                    readers.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(pair.0, pair.1);
                    ringwork::task::yield_now().await;
                    readers.fetch_sub(1, Ordering::SeqCst);
                }
            }
        })
    };
    join(&runtime, (0..6).map(task).collect());
    assert_eq!(*lock.try_read().unwrap(), (200, 200));
}

#[test]
fn a_notify_passes_a_ball_between_cores() {
    let runtime = runtime();
    let (ping, pong) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let player = |core, mine: &Arc<Notify>, theirs: &Arc<Notify>| {
        let (mine, theirs) = (Arc::clone(mine), Arc::clone(theirs));
        runtime.handle().spawn_on(core, move || async move {
            for _ in 0..MESSAGES {
                mine.notified().await;
                theirs.notify_one();
            }
        })
    };
    let players = vec![player(0, &ping, &pong), player(1, &pong, &ping)];
    ping.notify_one();
    join(&runtime, players);
}

#[test]
fn a_semaphore_admits_no_more_than_it_has_permits() {
    let runtime = runtime();
    let (semaphore, inside) = (Arc::new(Semaphore::new(3)), Arc::new(AtomicUsize::new(0)));
    let task = |n: usize| {
        let (semaphore, inside) = (Arc::clone(&semaphore), Arc::clone(&inside));
        runtime.handle().spawn_on(n % 2, move || async move {
            for _ in 0..100 {
                let permit = semaphore.acquire().await.unwrap();
                assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                ringwork::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(permit);
            }
        })
    };
    join(&runtime, (0..12).map(task).collect());
    assert_eq!(semaphore.available_permits(), 3);
}

#[test]
fn barriers_watches_and_broadcasts_reach_every_core() {
    let runtime = runtime();
    let barrier = Arc::new(Barrier::new(5));
    let (watched, watching) = watch::channel(0);
    let (shouted, _) = broadcast::channel(64);
    let task = |n: usize| {
        let (barrier, mut watching) = (Arc::clone(&barrier), watching.clone());
        let mut hearing = shouted.subscribe();
        runtime.handle().spawn_on(n % 2, move || async move {
            barrier.wait().await;
            watching.wait_for(|&value| value == 100).await.unwrap();
            for n in 0..50 {
                assert_eq!(hearing.recv().await.unwrap(), n);
            }
        })
    };
    let tasks = (0..4).map(task).collect();
    runtime.block_on(async {
        barrier.wait().await;
        for value in 1..=100 {
            watched.send(value).unwrap();
        }
        for n in 0..50 {
            shouted.send(n).unwrap();
        }
    });
    join(&runtime, tasks);
}

#[test]
fn an_async_channel_shares_work_between_consumers_on_both_cores() {
    let runtime = runtime();
    let (sender, receiver) = async_channel::bounded(4);
    let consumer = |n: usize| {
        let receiver = receiver.clone();
        runtime.handle().spawn_on(n % 2, move || async move {
            let mut taken = Vec::new();
            while let Ok(n) = receiver.recv().await {
                taken.push(n);
            }
            taken
        })
    };
    let consumers: Vec<_> = (0..4).map(consumer).collect();
    let producer = |side: usize| {
        let sender = sender.clone();
        runtime.handle().spawn_on(side, move || async move {
            for n in 0..MESSAGES {
                sender.send(2 * n + side).await.unwrap();
            }
        })
    };
    let producers = vec![producer(0), producer(1)];
    drop(sender);
    join(&runtime, producers);
    let mut all: Vec<usize> = join(&runtime, consumers).into_iter().flatten().collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..2 * MESSAGES));
}

#[test]
fn an_event_wakes_all_who_listen_on_whatever_core() {
    let runtime = runtime();
    for _ in 0..50 {
        let (event, flag) = (Arc::new(Event::new()), Arc::new(AtomicBool::new(false)));
        let task = |n: usize| {
            let (event, flag) = (Arc::clone(&event), Arc::clone(&flag));
            runtime.handle().spawn_on(n % 2, move || async move {
                while !flag.load(Ordering::SeqCst) {
                    let listener = event.listen();
                    if flag.load(Ordering::SeqCst) {
                        break;
                    }
                    listener.await;
                }
            })
        };
        let tasks = (0..10).map(task).collect();
        flag.store(true, Ordering::SeqCst);
        event.notify(usize::MAX);
        join(&runtime, tasks);
    }
}

#[test]
fn a_greedy_consumer_is_made_to_yield_by_cooperative() {
    let runtime = Builder::new().cores(1).pin(Pin::Off).build().expect("a runtime starts");
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let greedy = runtime.spawn(async move {
        let refill = sender.clone();
        sender.send(()).unwrap();
        // Always a message ready: without a budget it would never let go of the core.
        while !stop.load(Ordering::Relaxed) {
            ringwork::task::coop::cooperative(receiver.recv()).await.unwrap();
            refill.send(()).unwrap();
        }
    });
    let other = runtime.spawn(async move { over.store(true, Ordering::Relaxed) });
    join(&runtime, vec![other, greedy]);
}
