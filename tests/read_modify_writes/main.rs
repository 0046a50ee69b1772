//! How many atomic read-modify-writes a core executes for a task and for an op: each instruction is looked
//! at.
//!
//! Owns the numbers that the headers of `src/task/mod.rs` and `src/ring/op.rs` state, and fails if they
//! change. One core that never parks meanwhile, and nobody else about; what is cold (the first tasks of a
//! thread) happens before. `cargo test --release --test read_modify_writes -- --nocapture` prints the table.
#![cfg(all(target_arch = "x86_64", target_env = "gnu"))]

#[path = "../kit/mod.rs"]
mod kit;
mod locked;
mod step;

use kit::process::alone;
use ringwork::fs::File;
use ringwork::runtime::{Builder, Pin, Runtime, Watchdog};
use ringwork::task::{JoinHandle, yield_now};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;
use step::{Lap, lap};

/// Lives that are not counted: afterwards there is spare memory of all kinds.
const WARM_UP: usize = 100;

/// What happens to a task, as `life` and `child` part it.
const SPAWN: &str = "spawn";
const JOIN: &str = "a handle is polled before the end";
const WAKE_SELF: &str = "a task wakes itself";
const POLLS: &str = "a poll ends in Pending, the next task's begins";
const CLONE: &str = "a waker is cloned";
const WAKE: &str = "a wake by value";
const WAKE_AGAIN: &str = "a wake by value of a task that is woken already";
const WAKE_BY_REF: &str = "a wake by reference";
const DROP: &str = "a waker is dropped";
const END: &str = "a task ends, its joiner is woken and polled";
const OUTPUT: &str = "a handle is polled after the end and dropped";
/// And to an op.
const MADE: &str = "the future of an op is made";
const SUBMIT: &str = "an op is submitted";
const COMPLETE: &str = "it completes, its task is woken and polled";
const RESULT: &str = "its result is taken";

thread_local! {
    /// How the child of `life` is woken.
    static CHILD: Cell<Option<Waker>> = const { Cell::new(None) };
}

/// Is polled three times; in between its waker lies in `CHILD`.
async fn child() {
    let mut polls = 0;
    poll_fn(move |cx| {
        lap(POLLS);
        polls += 1;
        if polls == 3 {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        lap(CLONE);
        CHILD.set(Some(waker));
        lap("");
        Poll::Pending
    })
    .await;
}

fn childs_waker() -> Waker {
    CHILD.take().expect("the child has been polled")
}

/// Everything that happens to a task, in the order in which it happens.
async fn life(spawn: impl Fn() -> JoinHandle<()>) {
    lap("");
    let mut task = spawn();
    lap(SPAWN);
    let is_over = poll_fn(|cx| Poll::Ready(pin!(&mut task).poll(cx).is_ready())).await;
    lap(JOIN);
    assert!(!is_over);
    step_aside().await;
    let waker = childs_waker();
    let another = waker.clone();
    lap("");
    waker.wake();
    lap(WAKE);
    another.wake();
    lap(WAKE_AGAIN);
    step_aside().await;
    let waker = childs_waker();
    lap("");
    waker.wake_by_ref();
    lap(WAKE_BY_REF);
    drop(waker);
    lap(DROP);
    // Woken as the joiner.
    poll_fn(|_| if task.is_finished() { Poll::Ready(()) } else { Poll::Pending }).await;
    lap(END);
    task.await.expect("it ends by itself");
    lap(OUTPUT);
}

/// Lets the child be polled once.
async fn step_aside() {
    let mut is_first = true;
    poll_fn(|cx| {
        if !std::mem::replace(&mut is_first, false) {
            lap(POLLS);
            return Poll::Ready(());
        }
        lap("");
        cx.waker().wake_by_ref();
        lap(WAKE_SELF);
        Poll::Pending
    })
    .await;
}

async fn lives(spawn: impl Fn() -> JoinHandle<()>) -> Vec<Lap> {
    for _ in 0..WARM_UP {
        life(&spawn).await;
    }
    step::begin();
    life(spawn).await;
    step::end()
}

/// One read of a file that is open, by a core that has other things to do.
async fn read(file: Arc<File>, buffer: Box<[u8]>) -> Box<[u8]> {
    lap("");
    let mut op = pin!(file.read_at(buffer, 0));
    lap(MADE);
    let is_over = poll_fn(|cx| Poll::Ready(op.as_mut().poll(cx).is_ready())).await;
    lap(SUBMIT);
    assert!(!is_over, "an op is completed by the ring");
    let mut is_first = true;
    poll_fn(|_| if std::mem::replace(&mut is_first, false) { Poll::Pending } else { Poll::Ready(()) }).await;
    lap(COMPLETE);
    let (result, buffer) = op.await;
    lap(RESULT);
    assert_eq!(result.expect("an open file can be read"), buffer.len(), "the whole buffer is read");
    buffer
}

async fn reads() -> Vec<Lap> {
    let file = Arc::new(File::open("/proc/self/exe").await.expect("this program is a file"));
    // What an op costs is the question.
    file.cached_reads(false);
    let mut buffer = vec![0; 64].into_boxed_slice();
    for _ in 0..WARM_UP {
        buffer = read(Arc::clone(&file), buffer).await;
    }
    step::begin();
    read(file, buffer).await;
    step::end()
}

/// Keeps core 0 from parking until it is dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn begin(runtime: &Runtime) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        drop(runtime.handle().spawn_on(0, move || async move {
            while !seen.load(Ordering::Relaxed) {
                yield_now().await;
            }
        }));
        Self(over)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn one_core() -> Runtime {
    // Looking at each instruction takes a while, which the watchdog would report.
    let builder = Builder::new().cores(1).pin(Pin::Off).watchdog(Watchdog::Off, Duration::from_secs(1));
    builder.build().expect("a runtime starts")
}

/// Shows what was seen, and compares: the same thing costs the same each time.
fn check(what: &str, laps: &[Lap], expected: &[(&str, u64)]) {
    for (name, count) in expected {
        let laps = || laps.iter().filter(|lap| lap.name == *name);
        let seen: Vec<u64> = laps().map(|lap| lap.count).collect();
        let all: Vec<u64> = laps().map(|lap| lap.instructions).collect();
        println!("measured: {what}: {name}: {seen:?} of {all:?} instructions");
        assert!(!seen.is_empty() && seen.iter().all(|seen| seen == count), "{what}: {name}: {seen:?}");
    }
    let known = |lap: &Lap| expected.iter().any(|(name, _)| *name == lap.name);
    assert!(laps.iter().all(known), "{laps:?}");
}

#[test]
fn a_local_task_costs_no_read_modify_write_on_its_core() {
    alone(|| {
        let runtime = one_core();
        let laps = runtime.handle().spawn_on(0, || lives(|| ringwork::spawn_local(child())));
        let laps = runtime.block_on(laps).expect("the task ends");
        let names = [SPAWN, JOIN, WAKE_SELF, POLLS, CLONE, WAKE, WAKE_AGAIN, WAKE_BY_REF, DROP, END, OUTPUT];
        check("local task", &laps, &names.map(|name| (name, 0)));
    });
}

#[test]
fn a_task_that_may_move_costs_as_many_read_modify_writes_as_is_said() {
    alone(|| {
        let runtime = one_core();
        let laps = runtime.handle().spawn(lives(|| ringwork::spawn(child())));
        let laps = runtime.block_on(laps).expect("the task ends");
        let expected = [
            (SPAWN, 2),
            (JOIN, 2),
            (WAKE_SELF, 1),
            (POLLS, 3),
            (CLONE, 1),
            (WAKE, 1),
            (WAKE_AGAIN, 1),
            (WAKE_BY_REF, 1),
            (DROP, 1),
            (END, 7),
            (OUTPUT, 0),
        ];
        check("Send task", &laps, &expected);
    });
}

#[test]
fn an_op_costs_as_many_read_modify_writes_as_is_said() {
    alone(|| {
        let runtime = one_core();
        let _busy = Busy::begin(&runtime);
        let local = runtime.handle().spawn_on(0, reads);
        let laps = runtime.block_on(local).expect("the task ends");
        check("op of a local task", &laps, &[(MADE, 0), (SUBMIT, 0), (COMPLETE, 1), (RESULT, 0)]);
        let send = runtime.handle().spawn(reads());
        let laps = runtime.block_on(send).expect("the task ends");
        check("op of a Send task", &laps, &[(MADE, 0), (SUBMIT, 1), (COMPLETE, 5), (RESULT, 0)]);
    });
}
