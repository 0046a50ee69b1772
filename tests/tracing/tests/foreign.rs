//! A subscriber is foreign code on the core: it may spawn, wait for a lock, and panic.
#![forbid(unsafe_code)]

use ringwork::net::{TcpListener, TcpStream};
use ringwork::runtime::Handle;
use ringwork::task::{Builder, yield_now};
use ringwork::time::sleep;
use ringwork_tracing_tests::{LIMIT, runtime, wait_until};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Once, mpsc};
use std::thread;
use std::time::Duration;
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

thread_local! {
    /// What a subscriber that does such things needs: it does not listen to itself.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// It hears its own tasks too, and would go on for ever.
const MOST: u64 = 5_000;

/// How often it was about to spawn, how often it did, and how many of its tasks have run.
static SPAWNED: AtomicU64 = AtomicU64::new(0);
static RETURNED: AtomicU64 = AtomicU64::new(0);
static RAN: AtomicU64 = AtomicU64::new(0);
/// The lock that it takes for everything it hears, as one that writes a file would.
static LOCK: LazyLock<Mutex<u64>> = LazyLock::new(Mutex::default);
static SPAWNS: AtomicBool = AtomicBool::new(false);
static PANICS: AtomicBool = AtomicBool::new(false);
static PANICS_WHEN_MADE: AtomicBool = AtomicBool::new(false);
static PANICS_WHEN_ENTERED: AtomicBool = AtomicBool::new(false);

struct Meddler;

impl Meddler {
    fn meddle(&self, meta: &Metadata<'_>) {
        let ours = ["tokio::task", "ringwork", "runtime"];
        if !ours.iter().any(|target| meta.target().starts_with(target)) || BUSY.replace(true) {
            return;
        }
        *LOCK.lock().unwrap() += 1;
        if SPAWNS.load(Ordering::Relaxed)
            && let Ok(handle) = std::panic::catch_unwind(Handle::try_current)
            && let Some(handle) = handle
            && SPAWNED.fetch_add(1, Ordering::Relaxed) < MOST
        {
            drop(handle.spawn(async { RAN.fetch_add(1, Ordering::Relaxed) }));
            RETURNED.fetch_add(1, Ordering::Relaxed);
        }
        BUSY.set(false);
        if PANICS.load(Ordering::Relaxed) && meta.is_event() {
            panic!("the subscriber panics");
        }
    }
}

impl Meddler {
    fn meddle_with<S: Subscriber + for<'a> LookupSpan<'a>>(&self, id: &Id, context: &Context<'_, S>) {
        if let Some(span) = context.span(id) {
            self.meddle(span.metadata());
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Meddler {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.meddle(attributes.metadata());
        assert!(!PANICS_WHEN_MADE.load(Ordering::Relaxed), "the subscriber panics");
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.meddle(event.metadata());
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.meddle_with(id, &context);
        assert!(!PANICS_WHEN_ENTERED.load(Ordering::Relaxed), "the subscriber panics");
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.meddle_with(id, &context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.meddle_with(&id, &context);
    }
}

/// Installs the subscriber; one test at a time has it.
fn alone() -> impl Drop {
    static INSTALLED: Once = Once::new();
    static TURN: Mutex<()> = Mutex::new(());
    INSTALLED
        .call_once(|| tracing::subscriber::set_global_default(Registry::default().with(Meddler)).unwrap());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Tasks, jobs, timers, streams and a file, on two cores; fails if it hangs.
fn work() {
    let (done, end) = mpsc::channel();
    let runs = thread::spawn(move || {
        let runtime = runtime(2);
        runtime.run_main(|| async {
            let mut tasks = Vec::new();
            for _ in 0..50 {
                tasks.push(ringwork::spawn(async { echo().await }));
            }
            tasks.push(ringwork::spawn(async { sleep(Duration::from_millis(2)).await }));
            tasks.push(ringwork::spawn(async { ringwork::spawn_blocking(|| ()).await.unwrap() }));
            tasks.push(ringwork::spawn_on(1, || async { yield_now().await }));
            tasks.push(ringwork::spawn(async { drop(ringwork::fs::File::open("/dev/null").await) }));
            for task in tasks {
                task.await.unwrap();
            }
            ringwork::spawn(std::future::pending::<()>());
        });
        done.send(()).unwrap();
    });
    end.recv_timeout(LIMIT).expect("it does not hang, and does not panic");
    runs.join().unwrap();
}

async fn echo() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = ringwork::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let received = stream.recv_pooled().await.unwrap();
        stream.send_all(received).await.0.unwrap();
    });
    let stream = TcpStream::connect(address).await.unwrap();
    stream.send_all("ping").await.0.unwrap();
    assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"ping");
    server.await.unwrap();
}

#[test]
fn a_subscriber_that_spawns_for_everything_it_hears_deadlocks_nothing() {
    let _alone = alone();
    SPAWNS.store(true, Ordering::Relaxed);
    work();
    SPAWNS.store(false, Ordering::Relaxed);
    let spawned = SPAWNED.load(Ordering::Relaxed).min(MOST);
    assert!(spawned > 100);
    assert_eq!(RETURNED.load(Ordering::Relaxed), spawned, "no spawn has panicked");
    assert!(RAN.load(Ordering::Relaxed) > 0, "some ran before the end of the runtime");
}

#[test]
fn a_subscriber_that_waits_for_a_lock_holds_its_core_up_and_nothing_more() {
    let _alone = alone();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let before = *LOCK.lock().unwrap();
    let holder = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            let held = LOCK.lock().unwrap();
            thread::sleep(Duration::from_millis(1));
            drop(held);
            thread::yield_now();
        }
    });
    work();
    stop.store(true, Ordering::Relaxed);
    holder.join().unwrap();
    assert!(*LOCK.lock().unwrap() > before);
}

#[test]
fn a_panic_of_the_subscriber_in_an_event_reaches_neither_a_wake_nor_a_core() {
    let _alone = alone();
    std::panic::set_hook(Box::new(|_| ()));
    PANICS.store(true, Ordering::Relaxed);
    work();
    PANICS.store(false, Ordering::Relaxed);
    drop(std::panic::take_hook());
    // The runtime after it is as good as before.
    let runtime = runtime(1);
    let task = Builder::new().name("after").spawn_with(runtime.handle(), async { 6 * 7 });
    wait_until(|| task.is_finished());
    assert_eq!(runtime.block_on(task).unwrap(), 42);
}

#[test]
fn a_panic_of_the_subscriber_in_a_span_is_that_of_the_spawn_or_of_the_task() {
    let _alone = alone();
    std::panic::set_hook(Box::new(|_| ()));
    let runtime = runtime(1);
    let held = Arc::new(());
    let future = || {
        let held = Arc::clone(&held);
        async move { drop(held) }
    };
    PANICS_WHEN_MADE.store(true, Ordering::Relaxed);
    let spawned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.spawn(future())));
    PANICS_WHEN_MADE.store(false, Ordering::Relaxed);
    assert!(spawned.is_err());
    assert_eq!(Arc::strong_count(&held), 1, "the future was dropped, and no task made of it");
    PANICS_WHEN_ENTERED.store(true, Ordering::Relaxed);
    let failed = runtime.spawn(future());
    wait_until(|| failed.is_finished());
    PANICS_WHEN_ENTERED.store(false, Ordering::Relaxed);
    drop(std::panic::take_hook());
    assert!(runtime.block_on(failed).unwrap_err().is_panic());
    assert_eq!(Arc::strong_count(&held), 1);
    runtime.block_on(runtime.spawn(future())).unwrap();
}
