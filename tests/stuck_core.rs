//! A core that is stuck in one poll stops nobody else, and is reported.

mod events;
mod kit;

use events::Events;
use kit::process::alone;
use kit::{Event, bounded, runtime, wait_for};
use ringwork::net::UdpSocket;
use ringwork::runtime::{Builder, Pin, Runtime, Steal, StuckReport, Watchdog};
use ringwork::task::yield_now;
use ringwork::time::{Duration, sleep};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Holds a core in one poll until it is dropped.
struct Stuck<'a> {
    runtime: &'a Runtime,
    over: Arc<AtomicBool>,
    task: Option<ringwork::task::JoinHandle<()>>,
}

impl<'a> Stuck<'a> {
    /// Core `core`, which does `first` in the same poll.
    fn at(runtime: &'a Runtime, core: usize, first: impl FnOnce() + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (stop, begun) = (Arc::clone(&over), Event::default());
        let begin = begun.clone();
        let task = runtime.handle().spawn_on(core, move || async move {
            first();
            begin.set();
            while !stop.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        });
        begun.wait_blocking();
        Self { runtime, over, task: Some(task) }
    }
}

impl Drop for Stuck<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(task) = self.task.take() {
            let _ = self.runtime.block_on(task);
        }
    }
}

fn counting(count: &Arc<AtomicUsize>) -> impl Future<Output = ()> + Send + 'static {
    let count = Arc::clone(count);
    async move {
        count.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_thousand_tasks_spawned_by_a_poll_that_then_blocks_run_before_it_returns() {
    bounded(|| {
        let runtime = runtime(2);
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let _stuck = Stuck::at(&runtime, 0, move || {
            (0..1_000).for_each(|_| drop(ringwork::spawn(counting(&count))));
        });
        wait_for("all of them", || ran.load(Ordering::SeqCst) == 1_000);
    });
}

#[test]
fn idle_tasks_of_a_stuck_core_run_elsewhere_when_another_core_a_thread_or_the_pool_wakes_them() {
    bounded(|| {
        let runtime = runtime(2);
        let ran = Arc::new(AtomicUsize::new(0));
        let events: Vec<Event> = (0..30).map(|_| Event::default()).collect();
        let (waiting, count) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&ran));
        let (sleepers, ready) = (events.clone(), Arc::clone(&waiting));
        let parent = runtime.handle().spawn_on(0, move || async move {
            for event in sleepers {
                let (count, ready) = (Arc::clone(&count), Arc::clone(&ready));
                drop(ringwork::spawn(async move {
                    while ringwork::core::current() != Some(0) {
                        ringwork::core::move_to(0).await;
                    }
                    ready.fetch_add(1, Ordering::SeqCst);
                    event.wait().await;
                    assert_eq!(ringwork::core::current(), Some(1), "core 0 is stuck");
                    count.fetch_add(1, Ordering::SeqCst);
                }));
            }
        });
        runtime.block_on(parent).unwrap();
        wait_for("all to sleep on core 0", || waiting.load(Ordering::SeqCst) == 30);
        let _stuck = Stuck::at(&runtime, 0, || ());
        let (by_core, rest) = events.split_at(10);
        let (by_thread, by_pool) = rest.split_at(10);
        let (by_core, by_pool) = (by_core.to_vec(), by_pool.to_vec());
        by_thread.iter().for_each(Event::set);
        let core = runtime.handle().spawn_on(1, move || async move { by_core.iter().for_each(Event::set) });
        let pool = runtime.handle().spawn_blocking(move || by_pool.iter().for_each(Event::set));
        runtime.block_on(async { (core.await.unwrap(), pool.await.unwrap()) });
        wait_for("all to have run", || ran.load(Ordering::SeqCst) == 30);
    });
}

#[test]
fn a_core_that_is_never_idle_takes_over_from_a_stuck_one() {
    bounded(|| {
        let runtime = runtime(2);
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let busy = runtime.handle().spawn_on(1, move || async move {
            while !stop.load(Ordering::SeqCst) {
                yield_now().await;
            }
        });
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let stuck = Stuck::at(&runtime, 0, move || {
            (0..300).for_each(|_| drop(ringwork::spawn(counting(&count))));
        });
        wait_for("all of them", || ran.load(Ordering::SeqCst) == 300);
        drop(stuck);
        over.store(true, Ordering::SeqCst);
        runtime.block_on(busy).unwrap();
    });
}

#[test]
fn tasks_spawned_from_outside_while_a_core_is_stuck_run_on_another() {
    bounded(|| {
        for stuck in [0, 1] {
            let runtime = runtime(2);
            let _stuck = Stuck::at(&runtime, stuck, || ());
            for _ in 0..50 {
                let core = runtime.block_on(runtime.spawn(async { ringwork::core::current() })).unwrap();
                assert_eq!(core, Some(1 - stuck));
            }
        }
    });
}

#[test]
fn local_tasks_of_a_stuck_core_wait_for_it() {
    bounded(|| {
        let runtime = runtime(2);
        let ran = Arc::new(AtomicUsize::new(0));
        let (count, send) = (Arc::clone(&ran), Arc::new(AtomicUsize::new(0)));
        let other = Arc::clone(&send);
        let stuck = Stuck::at(&runtime, 0, move || {
            drop(ringwork::spawn_local(counting(&count)));
            drop(ringwork::spawn(counting(&other)));
        });
        wait_for("the one that may move", || send.load(Ordering::SeqCst) == 1);
        assert_eq!(ran.load(Ordering::SeqCst), 0);
        drop(stuck);
        wait_for("the one that may not", || ran.load(Ordering::SeqCst) == 1);
    });
}

#[test]
fn nothing_leaves_a_stuck_core_where_stealing_is_off() {
    bounded(|| {
        let reports = Reports::default();
        let builder = Builder::new().cores(2).pin(Pin::Off).steal(Steal::Never);
        let runtime = builder.watchdog(reports.watchdog(), Duration::from_millis(20)).build().unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let stuck = Stuck::at(&runtime, 0, move || {
            (0..400).for_each(|_| drop(ringwork::spawn(counting(&count))));
        });
        // By then it has been known to be stuck for long.
        reports.wait_for(2);
        assert_eq!(ran.load(Ordering::SeqCst), 0);
        drop(stuck);
        wait_for("all of them", || ran.load(Ordering::SeqCst) == 400);
        assert_eq!(runtime.handle().metrics().cores[1].polls, 0);
    });
}

/// Each core stuck in turn, known to be so, while `body` runs on a thread that is no core. A machine that
/// stalls makes the other core look stuck as well, and then one is as good as the other: a few tries.
fn beside_each_stuck_core(steal: Steal, body: fn(&Runtime)) {
    for core in [0, 1] {
        assert!((0..4).any(|_| ends_beside(core, steal, body)), "it waits for core {core}");
    }
}

/// Whether `body` ends while `core` is stuck.
fn ends_beside(core: usize, steal: Steal, body: fn(&Runtime)) -> bool {
    let reports = Reports::default();
    let builder = Builder::new().cores(2).pin(Pin::Off).steal(steal);
    let runtime = builder.watchdog(reports.watchdog(), Duration::from_millis(20)).build().unwrap();
    let stuck = Stuck::at(&runtime, core, || ());
    wait_for("a report of it", || reports.0.lock().unwrap().iter().any(|report| report.core == core));
    std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel();
        let runtime = &runtime;
        scope.spawn(move || {
            body(runtime);
            done.send(())
        });
        let ended = is_done.recv_timeout(Duration::from_secs(4)).is_ok();
        drop(stuck);
        ended
    })
}

/// The ways to steal under which threads that are no cores go past a stuck one: all.
const ALL: [Steal; 2] = [Steal::After(Duration::from_micros(200)), Steal::Never];

#[test]
fn timers_of_a_thread_that_is_no_core_fire_while_a_core_is_stuck() {
    bounded(|| {
        for steal in ALL {
            beside_each_stuck_core(steal, |runtime| {
                (0..10).for_each(|_| runtime.block_on(sleep(Duration::from_millis(1))));
            });
        }
    });
}

#[test]
fn ops_of_a_thread_that_is_no_core_complete_while_a_core_is_stuck() {
    bounded(|| {
        for steal in ALL {
            beside_each_stuck_core(steal, |runtime| {
                for _ in 0..5 {
                    let text = runtime.block_on(ringwork::fs::read("Cargo.toml")).unwrap();
                    assert!(text.starts_with(b"["));
                    runtime.block_on(datagram());
                }
            });
        }
    });
}

/// Sends a datagram to a new socket and receives it there.
async fn datagram() {
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = receiver.local_addr().unwrap();
    sender.send_to("hello", address).await.0.unwrap();
    let (received, buf) = receiver.recv_from(Vec::with_capacity(8)).await;
    received.unwrap();
    assert_eq!(buf, b"hello");
}

/// What a watchdog has said.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<StuckReport>>>);

impl Reports {
    fn watchdog(&self) -> Watchdog {
        let reports = self.clone();
        Watchdog::Call(Arc::new(move |report: &StuckReport| reports.0.lock().unwrap().push(report.clone())))
    }

    fn wait_for(&self, count: usize) -> Vec<StuckReport> {
        wait_for("a report", || self.0.lock().unwrap().len() >= count);
        self.0.lock().unwrap().clone()
    }
}

fn watched(reports: &Reports) -> Runtime {
    let builder = Builder::new().cores(2).pin(Pin::Off);
    builder.watchdog(reports.watchdog(), Duration::from_millis(50)).build().unwrap()
}

#[test]
fn the_watchdog_names_core_thread_task_and_place() {
    bounded(|| {
        let reports = Reports::default();
        let runtime = watched(&reports);
        let over = Arc::new(AtomicBool::new(false));
        let (stop, line) = (Arc::clone(&over), line!() + 2);
        let named = ringwork::task::Builder::new().name("an index that is far too large to sort at once");
        let task = named.spawn_with(runtime.handle(), async move {
            let place = (ringwork::task::id(), ringwork::core::current());
            while !stop.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            (place, nix::unistd::gettid().as_raw() as u64)
        });
        let report = reports.wait_for(1).remove(0);
        over.store(true, Ordering::SeqCst);
        let ((id, core), thread) = runtime.block_on(task).unwrap();
        assert_eq!((report.task, Some(report.core), report.thread), (Some(id), core, thread));
        let place = report.spawned_at.unwrap();
        assert!((place.file(), place.line()) == (file!(), line), "{place}");
        assert_eq!(report.name.as_deref(), Some("an index that is far too large t"));
        assert!(report.at_least >= Duration::from_millis(50));
        assert!(report.to_string().contains("spawn_blocking"), "{report}");
    });
}

#[test]
fn the_watchdog_names_a_task_that_is_stuck_in_the_poll_that_spawned_it_and_then_its_spawner() {
    bounded(|| {
        let reports = Reports::default();
        let runtime = watched(&reports);
        let over = [Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false))];
        let stops = over.clone();
        let spin = |stop: &AtomicBool| {
            while !stop.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        };
        let named = |name| ringwork::task::Builder::new().name(name);
        let outer = named("the spawner").spawn_on_with(runtime.handle(), 0, move || async move {
            let [inner, outer] = stops;
            let task = named("spawned").spawn_local_eager(async move { spin(&inner) });
            spin(&outer);
            (task.id(), ringwork::task::id())
        });
        let first = reports.wait_for(1)[0].clone();
        over[0].store(true, Ordering::SeqCst);
        wait_for("a report of the spawner", || {
            reports.0.lock().unwrap().last().is_some_and(|last| last.task != first.task)
        });
        let last = reports.0.lock().unwrap().last().unwrap().clone();
        over[1].store(true, Ordering::SeqCst);
        let (inner, outer) = runtime.block_on(outer).unwrap();
        assert_eq!((first.task, first.name.as_deref()), (Some(inner), Some("spawned")));
        assert_eq!((last.task, last.name.as_deref()), (Some(outer), Some("the spawner")));
    });
}

#[test]
fn the_watchdog_reports_one_poll_at_doubling_ages() {
    bounded(|| {
        let reports = Reports::default();
        let runtime = watched(&reports);
        let _stuck = Stuck::at(&runtime, 1, || ());
        let ages: Vec<Duration> = reports.wait_for(4).iter().map(|report| report.at_least).collect();
        assert!(ages.windows(2).all(|pair| pair[1] > pair[0]), "{ages:?}");
        assert!(ages[3] >= Duration::from_millis(400), "{ages:?}");
    });
}

#[test]
fn a_watchdog_that_panics_goes_on_watching() {
    bounded(|| {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&calls);
        let watchdog = Watchdog::Call(Arc::new(move |_: &StuckReport| {
            count.fetch_add(1, Ordering::SeqCst);
            panic!("in the watchdog");
        }));
        let builder = Builder::new().cores(2).pin(Pin::Off).watchdog(watchdog, Duration::from_millis(20));
        let runtime = builder.build().unwrap();
        let _stuck = Stuck::at(&runtime, 0, || ());
        wait_for("two calls", || calls.load(Ordering::SeqCst) >= 2);
    });
}

/// Events of the watchdog that a subscriber has been told of.
static EVENTS: AtomicUsize = AtomicUsize::new(0);

/// Counts them, and then panics.
fn count_and_panic() {
    EVENTS.fetch_add(1, Ordering::SeqCst);
    panic!("in the subscriber");
}

#[test]
fn a_subscriber_that_panics_at_the_watchdogs_events_stops_neither_watching_nor_help() {
    alone(|| {
        Events { target: "ringwork::watchdog", told: count_and_panic }.listen();
        let builder = Builder::new().cores(2).pin(Pin::Off);
        let runtime = builder.watchdog(Watchdog::Log, Duration::from_millis(20)).build().unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let _stuck = Stuck::at(&runtime, 0, move || drop(ringwork::spawn(counting(&count))));
        wait_for("two events", || EVENTS.load(Ordering::SeqCst) >= 2);
        wait_for("the task that the stuck core was to run", || ran.load(Ordering::SeqCst) == 1);
    });
}

#[test]
fn cores_that_work_in_short_polls_or_sleep_are_not_reported() {
    bounded(|| {
        let reports = Reports::default();
        let runtime = watched(&reports);
        let asked = ringwork::time::Instant::now();
        let busy = runtime.handle().spawn_on(0, move || async move {
            let (mut last, mut longest) = (asked, Duration::ZERO);
            while last - asked < Duration::from_millis(300) {
                let now = ringwork::time::Instant::now();
                longest = longest.max(now - last);
                last = now;
                yield_now().await;
            }
            longest
        });
        let longest = runtime.block_on(busy).unwrap();
        let reports = reports.0.lock().unwrap();
        assert!(reports.iter().all(|report| report.core == 0), "core 1 slept: {reports:?}");
        // A machine that stops the core's thread for long is told of, and rightly: then it is not a poll's
        // fault, and the task has seen it, too.
        assert!(reports.iter().all(|report| report.at_least <= longest), "{longest:?}: {reports:?}");
    });
}
