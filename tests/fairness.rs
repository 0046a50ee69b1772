//! Fairness: whatever some tasks do short of blocking, sockets, timers and other tasks get their turn.

mod kit;

use futures_util::future::{Either, select};
use kit::{Event, bounded, echo_server, poll_once, runtime, talk};
use ringwork::fs::File;
use ringwork::runtime::{Builder, Handle, Pin, Runtime, Steal};
use ringwork::task::{coop, yield_now};
use ringwork::time::{Duration, Instant, sleep};
use std::future::{pending, poll_fn, ready};
use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;

/// Tasks that wake themselves without end, until this is dropped.
struct Storm(Arc<AtomicBool>);

impl Storm {
    /// `count` tasks that may move and as many that may not, on every core.
    fn on(handle: &Handle, count: usize) -> Self {
        let storm = Self(Arc::default());
        for core in 0..handle.cores() {
            let over = Arc::clone(&storm.0);
            drop(handle.spawn_on(core, move || async move {
                for _ in 0..count {
                    let (send, local) = (Arc::clone(&over), Arc::clone(&over));
                    drop(ringwork::spawn(spin(send)));
                    drop(ringwork::spawn_local(spin(local)));
                }
            }));
        }
        storm
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn spin(over: Arc<AtomicBool>) -> impl Future<Output = ()> + Send + 'static {
    poll_fn(move |cx| {
        if over.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// One core under a storm.
fn stormy(body: impl FnOnce(&Runtime) + Send + 'static) {
    bounded(|| {
        let runtime = runtime(1);
        let storm = Storm::on(runtime.handle(), 50);
        body(&runtime);
        drop(storm);
    });
}

#[test]
fn sockets_work_amid_a_storm() {
    stormy(|runtime| {
        let echo = echo_server();
        for _ in 0..20 {
            runtime.block_on(runtime.spawn(talk(echo, "on a core"))).unwrap().unwrap();
            runtime.block_on(talk(echo, "from outside")).unwrap();
        }
    });
}

#[test]
fn block_on_returns_amid_a_storm() {
    stormy(|runtime| {
        for _ in 0..50 {
            let event = Event::default();
            let setter = event.clone();
            drop(runtime.spawn(async move { setter.set() }));
            runtime.block_on(event.wait());
        }
    });
}

#[test]
fn the_main_future_goes_on_amid_a_storm() {
    bounded(|| {
        let runtime = runtime(1);
        let storm = Storm::on(runtime.handle(), 50);
        let turns = runtime.run_main(|| async {
            for _ in 0..1_000 {
                yield_now().await;
            }
            sleep(Duration::from_millis(1)).await;
            1_000
        });
        assert_eq!(turns, 1_000);
        drop(storm);
    });
}

#[test]
fn timers_fire_amid_a_storm() {
    stormy(|runtime| {
        let pause = Duration::from_millis(1);
        let naps = runtime.spawn(async move {
            for _ in 0..20 {
                sleep(pause).await;
            }
        });
        runtime.block_on(naps).unwrap();
        runtime.block_on(sleep(pause));
    });
}

#[test]
fn files_and_blocking_jobs_come_back_amid_a_storm() {
    stormy(|runtime| {
        let work = runtime.spawn(async {
            for _ in 0..10 {
                let file = File::open("Cargo.toml").await.unwrap();
                // By an op.
                file.cached_reads(false);
                assert_ne!(file.read_at(Vec::with_capacity(64), 0).await.0.unwrap(), 0);
                assert_eq!(ringwork::spawn_blocking(|| 1).await.unwrap(), 1);
            }
        });
        runtime.block_on(work).unwrap();
    });
}

#[test]
fn tasks_from_outside_and_from_inside_run_amid_a_storm() {
    stormy(|runtime| {
        for _ in 0..100 {
            runtime.block_on(runtime.spawn(async {})).unwrap();
            runtime.block_on(runtime.handle().spawn_on(0, || async {})).unwrap();
        }
        let parent = runtime.spawn(async {
            for _ in 0..100 {
                ringwork::spawn(async {}).await.unwrap();
                ringwork::spawn_local(async {}).await.unwrap();
            }
        });
        runtime.block_on(parent).unwrap();
    });
}

#[test]
fn wakes_from_outside_arrive_amid_a_storm() {
    stormy(|runtime| {
        for _ in 0..50 {
            let (send, local) = (Event::default(), Event::default());
            let waiting = runtime.spawn(send.wait());
            let wait = local.clone();
            let pinned = runtime.handle().spawn_on(0, move || wait.wait());
            let setter = thread::spawn(move || {
                send.set();
                local.set();
            });
            runtime.block_on(waiting).unwrap();
            runtime.block_on(pinned).unwrap();
            setter.join().unwrap();
        }
    });
}

/// More tasks than the steal queue holds, beside more spinning tasks than it holds.
fn overflow_amid_a_storm(steal: Steal) {
    let runtime = Builder::new().cores(1).pin(Pin::Off).steal(steal).build().unwrap();
    let storm = Storm::on(runtime.handle(), 300);
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    let burst = runtime.spawn(async move {
        let tasks = (0..2_000).map(|_| {
            let count = Arc::clone(&count);
            ringwork::spawn(async move { count.fetch_add(1, Ordering::Relaxed) })
        });
        let tasks: Vec<_> = tasks.collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    runtime.block_on(burst).unwrap();
    assert_eq!(ran.load(Ordering::Relaxed), 2_000);
    drop(storm);
}

#[test]
fn what_overflowed_into_the_injector_runs_amid_a_storm() {
    bounded(|| overflow_amid_a_storm(Steal::After(Duration::from_micros(200))));
}

#[test]
fn what_overflowed_where_nothing_is_stolen_runs_amid_a_storm() {
    bounded(|| overflow_amid_a_storm(Steal::Never));
}

#[test]
fn a_timer_fires_although_its_own_task_wakes_itself() {
    bounded(|| {
        let runtime = runtime(1);
        let task = runtime.spawn(async {
            let mut nap = pin!(sleep(Duration::from_millis(10)));
            let mut polls = 0_u64;
            poll_fn(|cx| {
                polls += 1;
                cx.waker().wake_by_ref();
                nap.as_mut().poll(cx)
            })
            .await;
            polls
        });
        assert!(runtime.block_on(task).unwrap() > 1);
    });
}

#[test]
fn yielding_lets_io_that_is_ready_be_seen() {
    bounded(|| {
        let runtime = runtime(1);
        let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = peer.local_addr().unwrap();
        let task = runtime.spawn(async move {
            let stream = ringwork::net::TcpStream::connect(address).await.unwrap();
            let (mut peer, _) = peer.accept().unwrap();
            let mut most = 0;
            for _ in 0..50 {
                std::io::Write::write_all(&mut peer, b"x").unwrap();
                let mut received = stream.recv(Vec::with_capacity(1));
                let mut yields = 0;
                while poll_once(&mut received).await.is_pending() {
                    yields += 1;
                    yield_now().await;
                }
                most = most.max(yields);
            }
            most
        });
        // A turn ends after 128 polls at the latest; one submits, the next may be the first to see.
        let most = runtime.block_on(task).unwrap();
        assert!(most <= 2 * 128 + 2, "{most} yields");
    });
}

#[test]
fn a_task_that_finds_a_thousand_results_ready_pauses_in_between() {
    async fn take(count: u32) {
        for _ in 0..count {
            coop::cooperative(ready(())).await;
        }
    }
    bounded(|| {
        let runtime = runtime(1);
        let polls = |future: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            let mut future = future;
            runtime.spawn(async move {
                let mut polls = 0;
                poll_fn(|cx| {
                    polls += 1;
                    future.as_mut().poll(cx)
                })
                .await;
                polls
            })
        };
        let limited = runtime.block_on(polls(Box::pin(take(1_000)))).unwrap();
        assert!(limited > 3, "{limited} polls");
        let free = runtime.block_on(polls(Box::pin(coop::unconstrained(take(1_000))))).unwrap();
        assert_eq!(free, 1);
        let consumed = Box::pin(async {
            for _ in 0..1_000 {
                coop::consume_budget().await;
            }
        });
        assert_eq!(runtime.block_on(polls(consumed)).unwrap(), limited);
    });
}

#[test]
fn always_ready_ops_and_handles_do_not_keep_a_core_for_themselves() {
    bounded(|| {
        let runtime = runtime(1);
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let greedy = runtime.spawn(async move {
            let done: Vec<_> = (0..100_000).map(|_| ringwork::spawn(async {})).collect();
            let mut joined = 0;
            for handle in done {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                handle.await.unwrap();
                // Past its deadline, so ready at once.
                ringwork::time::sleep_until(Instant::now()).await;
                joined += 1;
            }
            joined
        });
        let other = runtime.spawn(async move { over.store(true, Ordering::Relaxed) });
        runtime.block_on(other).unwrap();
        assert!(runtime.block_on(greedy).unwrap() < 100_000, "the other task had its turn");
    });
}

#[test]
fn an_endless_chain_of_spawns_starves_nobody() {
    fn link(over: Arc<AtomicBool>) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            if !over.load(Ordering::Relaxed) {
                drop(ringwork::spawn(link(over)));
            }
        })
    }
    bounded(|| {
        let runtime = runtime(1);
        let over = Arc::new(AtomicBool::new(false));
        drop(runtime.spawn(link(Arc::clone(&over))));
        let other = runtime.spawn(async {
            for _ in 0..100 {
                yield_now().await;
            }
            sleep(Duration::from_millis(1)).await;
        });
        runtime.block_on(other).unwrap();
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_new_task_finishes_while_a_hundred_pairs_play_ping_pong() {
    bounded(|| {
        let runtime = runtime(2);
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..100 {
            let over = Arc::clone(&over);
            drop(runtime.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    ringwork::spawn(async {}).await.unwrap();
                }
            }));
        }
        for _ in 0..50 {
            runtime.block_on(runtime.spawn(yield_now())).unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn neither_kind_of_task_starves_the_other() {
    bounded(|| {
        let runtime = runtime(1);
        for local in [false, true] {
            let over = Arc::new(AtomicBool::new(false));
            let stop = Arc::clone(&over);
            let noise = runtime.handle().spawn_on(0, move || async move {
                for _ in 0..200 {
                    match local {
                        true => drop(ringwork::spawn_local(spin(Arc::clone(&stop)))),
                        false => drop(ringwork::spawn(spin(Arc::clone(&stop)))),
                    }
                }
                let quiet = async {
                    for _ in 0..50 {
                        yield_now().await;
                    }
                };
                match local {
                    true => ringwork::spawn(quiet).await,
                    false => ringwork::spawn_local(quiet).await,
                }
            });
            runtime.block_on(noise).unwrap().unwrap();
            over.store(true, Ordering::Relaxed);
        }
    });
}

#[test]
fn a_storm_ends_when_its_runtime_does() {
    bounded(|| {
        let runtime = runtime(2);
        let storm = Storm::on(runtime.handle(), 100);
        runtime.block_on(sleep(Duration::from_millis(5)));
        let report = runtime.shutdown_timeout(Duration::from_secs(20));
        assert!(report.is_clean(), "{report}");
        drop(storm);
    });
}

#[test]
fn a_select_of_ready_and_pending_lets_others_run() {
    bounded(|| {
        let runtime = runtime(1);
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let selecting = runtime.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let tick = pin!(coop::cooperative(ready(())));
                match select(tick, pending::<()>()).await {
                    Either::Left(_) => {}
                    Either::Right(_) => unreachable!("never ready"),
                }
            }
        });
        runtime.block_on(runtime.spawn(async move { over.store(true, Ordering::Relaxed) })).unwrap();
        runtime.block_on(selecting).unwrap();
    });
}

#[test]
fn completions_are_seen_while_a_core_lives_on_what_overflowed() {
    const BURST: usize = 50_000;
    /// The task that brings the completion about, far behind those that the queue holds.
    const WRITES: usize = BURST / 2;
    bounded(|| {
        let runtime = runtime(1);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let stream = ringwork::net::TcpStream::from_std(stream).unwrap();
        let task = runtime.spawn(async move {
            let ran = Arc::new(AtomicUsize::new(0));
            let counts = Arc::clone(&ran);
            let mut reader = ringwork::spawn(async move {
                stream.recv_pooled().await.unwrap();
                counts.load(Ordering::Relaxed)
            });
            // It waits in the ring.
            for _ in 0..100 {
                assert!(poll_once(&mut reader).await.is_pending());
                yield_now().await;
            }
            let mut peer = Some(peer);
            for n in 0..BURST {
                let (ran, peer) = (Arc::clone(&ran), peer.take_if(|_| n == WRITES));
                drop(ringwork::spawn(async move {
                    // What it writes has come before the next one runs.
                    if let Some(mut peer) = peer {
                        peer.write_all(b"x").unwrap();
                    }
                    ran.fetch_add(1, Ordering::Relaxed);
                }));
            }
            reader.await.unwrap()
        });
        let ran = runtime.block_on(task).unwrap();
        assert!(ran < WRITES + BURST / 10, "{ran} tasks ran before");
    });
}
