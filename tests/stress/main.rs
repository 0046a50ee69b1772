//! Everything at once, for as long as one likes: runtimes of one to four cores come and go, random tasks do
//! random things on them, foreign threads spawn, join, wake and abort, and the machine pins and pauses
//! threads at random.
//!
//! What must hold: each future and each output is dropped exactly once, each handle resolves, nothing hangs,
//! and all counters return to zero.
//!
//! `cargo test --release --test stress -- --ignored --nocapture` runs it for ten minutes, or for
//! `RINGWORK_STRESS_SECONDS`. `RINGWORK_TEST_SEED` sets the seed, which a failure prints; threads being what
//! they are, it repeats the choices but not their timing.

#[path = "../kit/mod.rs"]
mod kit;
#[path = "../support/mod.rs"]
mod support;

mod calm;
mod chaos;
mod life;
mod pulse;
mod threads;
mod world;

use chaos::Chaos;
use kit::wait_for;
use pulse::Pulse;
use ringwork::net::TcpListener;
use ringwork::runtime::{Builder, Pin, Runtime, Steal, Watchdog};
use std::sync::{Arc, Weak, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use support::Random;
use world::World;

/// Longer than any end takes with all its threads paused now and then.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn everything_at_once_for_a_moment() {
    stress(Duration::from_millis(2_500));
}

#[test]
#[ignore = "ten minutes, or RINGWORK_STRESS_SECONDS"]
fn everything_at_once_for_long() {
    let seconds = std::env::var("RINGWORK_STRESS_SECONDS").ok();
    let seconds =
        seconds.map_or(600, |seconds| seconds.parse().expect("RINGWORK_STRESS_SECONDS is a number"));
    stress(Duration::from_secs(seconds));
}

fn stress(time: Duration) {
    kit::process::raise_descriptor_limit();
    chaos::install();
    hush();
    let mut random = Random::announced();
    let pulse = Pulse::watch();
    let chaos = Chaos::begin(&mut random);
    let until = Instant::now() + time;
    let (mut worlds, mut born) = (0, 0);
    let mut report_at = Instant::now() + Duration::from_secs(30);
    while Instant::now() < until {
        if random.chance(4) {
            one_calm(&mut random, &pulse);
        } else {
            born += one_world(&mut random, &pulse);
        }
        worlds += 1;
        if Instant::now() >= report_at {
            report_at += Duration::from_secs(30);
            println!("{worlds} runtimes, {born} futures and outputs");
        }
    }
    drop(chaos);
    println!("{worlds} runtimes, {born} futures and outputs, {} steps", world::steps());
}

/// Panics that are part of the documented end of a timer are not worth a line each.
fn hush() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let text = info.payload_as_str().unwrap_or_default();
        if !text.contains("has shut down") {
            before(info);
        }
    }));
}

/// How a runtime comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All have ended before.
    Quiet,
    /// All are waited for.
    Drained,
    /// Amid everything.
    Sudden,
    /// In one of its own tasks, amid everything.
    InATask,
    /// In one of its own jobs, amid everything.
    InAJob,
}

/// A runtime whose cores sleep most of the time.
fn one_calm(random: &mut Random, pulse: &Pulse) {
    let runtime = build(random);
    let handle = runtime.handle().clone();
    pulse.turn_to(move || format!("{:#?}", handle.metrics()));
    chaos::without_signals(|| calm::play(&runtime, random));
    let report = runtime.drain(PATIENCE);
    assert!(report.is_drained(), "{report}");
    pulse.rest();
}

/// A runtime from its start to its end. Returns how many futures and outputs there were.
fn one_world(random: &mut Random, pulse: &Pulse) -> usize {
    let descriptors = kit::process::descriptors();
    let runtime = build(random);
    let (sender, receiver) = mpsc::channel();
    drop(runtime.spawn(async move { sender.send(TcpListener::bind("127.0.0.1:0").await) }));
    let listener = receiver.recv().expect("the task runs").expect("the loopback has a port");
    let world = World::new(runtime.handle().clone(), listener.local_addr().unwrap());
    let watched = Arc::downgrade(&world);
    pulse.turn_to(move || watched.upgrade().map_or_else(String::new, |world| world.to_string()));
    let serving = runtime.spawn(life::serve(Arc::clone(&world), listener));
    let breeding = runtime.spawn(life::breed(Arc::clone(&world), random.fork()));
    drop(world.tasks.leave(breeding, random));
    let hands: Vec<_> = (0..1 + random.below(3)).map(|_| threads::start(&world, random.fork())).collect();
    let ends = [End::Quiet, End::Drained, End::Sudden, End::Sudden, End::InATask, End::InAJob];
    let end = ends[random.below(ends.len() as u64) as usize];
    thread::sleep(Duration::from_millis(random.below(250)));
    let releasing = Releasing::begin(&world);
    match end {
        End::Quiet => {
            world.end();
            hands.into_iter().for_each(|hand| hand.join().expect("a thread finds what it may find"));
            serving.abort();
            quiet_end(runtime, &world);
        }
        End::Drained => {
            world.end();
            serving.abort();
            let report = runtime.drain(PATIENCE);
            assert!(report.is_drained(), "{report}");
            hands.into_iter().for_each(|hand| hand.join().expect("a thread finds what it may find"));
        }
        end => {
            sudden_end(runtime, &world, end);
            world.end();
            hands.into_iter().for_each(|hand| hand.join().expect("a thread finds what it may find"));
        }
    }
    drop(releasing);
    assert!(futures_executor::block_on(serving).unwrap_err().is_cancelled());
    close(&world, end);
    let (born, world) = (world.books.born(), gone(world));
    wait_for("everything to be freed", || world.strong_count() == 0);
    wait_for("all descriptors to be closed", || kit::process::descriptors() <= descriptors);
    born
}

/// Gives up the world; nothing may keep it.
fn gone(world: Arc<World>) -> Weak<World> {
    Arc::downgrade(&world)
}

/// A runtime of any kind.
fn build(random: &mut Random) -> Runtime {
    let steal = match random.below(4) {
        0 => Steal::Never,
        1 => Steal::After(Duration::ZERO),
        _ => Steal::After(Duration::from_micros(random.below(2_000))),
    };
    let pin = [Pin::Off, Pin::Auto][random.below(2) as usize];
    let watchdog = Watchdog::Call(Arc::new(|_report| {}));
    Builder::new()
        .cores(1 + random.below(4) as usize)
        .pin(pin)
        .steal(steal)
        .ring_entries(32 << random.below(4))
        .max_blocking_threads(1 + random.below(6) as usize)
        .watchdog(watchdog, Duration::from_millis(10))
        .thread_name(chaos::NAME)
        .build()
        .expect("a runtime starts here")
}

/// Sets, again and again, all events that tasks wait for, until it is dropped.
struct Releasing(Option<(mpsc::Sender<()>, thread::JoinHandle<()>)>);

impl Releasing {
    fn begin(world: &Arc<World>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let world = Arc::clone(world);
        let releasing = thread::spawn(move || {
            while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(Duration::from_millis(1)) {
                if world.is_over() {
                    world.release();
                }
            }
        });
        Self(Some((stop, releasing)))
    }
}

impl Drop for Releasing {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// All tasks end by themselves, and the runtime is as it was when it was new.
fn quiet_end(runtime: Runtime, world: &Arc<World>) {
    for task in world.tasks.empty() {
        let _ = runtime.block_on(task);
    }
    wait_for("the last future to be dropped", || {
        world.clear();
        world.books.alive() == 0
    });
    let handle = runtime.handle();
    wait_for("all levels to return to zero", || {
        for core in 0..handle.cores() {
            // So that each turns, and publishes them.
            let _ = runtime.block_on(handle.call(core, || ()));
        }
        let metrics = handle.metrics();
        let rest = metrics.cores.iter().map(|core| core.tasks + core.in_flight + core.timers);
        let out = metrics.cores.iter().map(support::buffers_out);
        rest.chain(out).sum::<u64>() + metrics.injector_depth + metrics.blocking_queued == 0
    });
    let report = runtime.shutdown_timeout(PATIENCE);
    assert!(report.is_clean(), "{report}");
}

fn sudden_end(runtime: Runtime, world: &Arc<World>, end: End) {
    if end == End::Sudden {
        let report = runtime.shutdown_timeout(PATIENCE);
        return assert!(report.is_clean(), "{report}");
    }
    let handle = world.handle.clone();
    let (give, given) = mpsc::channel::<Runtime>();
    let token = world.token();
    let last = move || {
        let _token = token;
        drop(given.recv().map(|own| own.shutdown_timeout(PATIENCE)));
    };
    match end {
        End::InATask => drop(handle.spawn(async move { last() })),
        _ => drop(handle.spawn_blocking(last)),
    }
    give.send(runtime).expect("it waits for it");
}

/// The books are closed: nothing lives, all counters are zero, all handles have their answer.
fn close(world: &Arc<World>, end: End) {
    // An end in its own task or job is awaited by nobody.
    wait_for("all threads to end", || {
        kit::process::threads_named(chaos::NAME).is_empty() && kit::process::threads_named("rw-").is_empty()
    });
    for task in world.tasks.empty() {
        let _ = futures_executor::block_on(task);
    }
    world.clear();
    wait_for("the last future to be dropped", || world.books.alive() == 0);
    world.books.close();
    let metrics = world.handle.metrics();
    for core in &metrics.cores {
        let levels = [core.tasks, core.in_flight, core.timers, core.local_depth, core.steal_depth];
        assert_eq!(levels, [0; 5], "after a {end:?} end: {metrics:?}");
    }
    let levels = [metrics.blocking_threads, metrics.blocking_idle, metrics.blocking_queued];
    assert_eq!((levels, metrics.injector_depth), ([0; 3], 0), "after a {end:?} end: {metrics:?}");
}
