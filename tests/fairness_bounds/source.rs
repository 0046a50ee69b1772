//! What must be served amid a flood, and how many polls that may take.

use crate::flood::{Flood, Kind};
use crate::kit::Event;
use crate::{BUSY, CLOCK_EVERY, IN_A_ROW, INJECTOR_EVERY, STEAL_QUEUE, TIMERS_PER_TURN, TURN, polls};
use futures_executor::block_on;
use ringwork::fs::File;
use ringwork::net::TcpStream;
use ringwork::runtime::{Handle, Runtime};
use ringwork::time::{Duration, Instant, sleep_until};
use std::fmt;
use std::io::Write;
use std::net;
use std::pin::pin;
use std::sync::mpsc;

/// Tasks of the test itself that may be ready at the same time.
const OWN: u64 = 4;
/// `Send` tasks spawned at once, so that some go into the injector.
const BURST: usize = 300;
/// A timer's tick.
const TICK: Duration = Duration::from_millis(1);

/// Polls that passed before a source was served, and how many may.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wait {
    pub(crate) polls: u64,
    pub(crate) bound: u64,
}

impl Wait {
    /// The one that is nearer to its bound, or further beyond it.
    pub(crate) fn max(self, other: Self) -> Self {
        let slack = |wait: Self| i128::from(wait.bound) - i128::from(wait.polls);
        if self.bound != 0 && slack(self) <= slack(other) { self } else { other }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} polls of at most {}", self.polls, self.bound)
    }
}

/// A source, to be tried again and again.
pub(crate) struct Probe<'a> {
    pub(crate) name: String,
    once: Box<dyn Fn() -> Wait + 'a>,
}

impl Probe<'_> {
    pub(crate) fn once(&self) -> Wait {
        (self.once)()
    }
}

/// All sources.
pub(crate) fn probes<'a>(runtime: &'a Runtime, flood: &'a Flood) -> Vec<Probe<'a>> {
    let handle = runtime.handle();
    let mut probes = Vec::new();
    let mut add = |name: String, once: Box<dyn Fn() -> Wait + 'a>| probes.push(Probe { name, once });
    for kind in [Kind::Local, Kind::Send] {
        let queue = in_queue(kind, flood);
        let with = move |bound: u64| move |polls| Wait { polls, bound: bound * flood.beside };
        let inside = with(queue);
        add(
            format!("{kind:?} task woken on the core"),
            Box::new(move || inside(woken_here(handle, flood, kind))),
        );
        let outside = with(TURN + queue);
        add(
            format!("{kind:?} task woken from outside"),
            Box::new(move || outside(woken_from_outside(handle, kind))),
        );
        add(
            format!("{kind:?} task spawned from outside"),
            Box::new(move || outside(spawned_from_outside(handle, kind))),
        );
        // The turn in which the op is begun submits it, and that or the next one sees its completion.
        let completed = with(2 * TURN + queue);
        let file = handle.block_on(File::open("/dev/zero")).unwrap();
        file.cached_reads(false);
        let file = std::sync::Arc::new(file);
        add(
            format!("completion for a {kind:?} task, file"),
            Box::new(move || completed(read(handle, kind, &file))),
        );
        add(
            format!("completion for a {kind:?} task, socket"),
            Box::new(move || completed(received(handle, kind))),
        );
        // What is due is seen by the first turn that begins after it; a turn fires so many at most.
        let due = with(CLOCK_EVERY + TURN * (1 + flood.timers / TIMERS_PER_TURN) + queue);
        add(format!("timer of a {kind:?} task"), Box::new(move || due(slept(handle, kind))));
    }
    // More of its kind before it is no flood by something else.
    if flood.send < STEAL_QUEUE {
        add("task that overflowed".to_owned(), Box::new(move || overflowed(handle, flood)));
    }
    probes
}

/// Polls until a task of this kind that is put into its queue now is polled.
fn in_queue(kind: Kind, flood: &Flood) -> u64 {
    let ahead = OWN
        + match kind {
            Kind::Local => flood.local,
            // A task that finds the steal queue full waits behind all others, and every other poll is one of
            // those.
            Kind::Send if flood.send > STEAL_QUEUE => 2 * flood.send,
            Kind::Send => flood.send,
        };
    // The other queue gets every other poll, or more while its polls are shorter; the injector some more.
    let polls = (IN_A_ROW + 1) * (ahead + 1);
    polls + 2 * (polls / INJECTOR_EVERY + 1)
}

/// Spawns on the core, from outside.
fn spawn<T: Send + 'static>(
    handle: &Handle,
    kind: Kind,
    future: impl Future<Output = T> + Send + 'static,
) -> ringwork::task::JoinHandle<T> {
    match kind {
        Kind::Local => handle.spawn_on(0, move || future),
        Kind::Send => handle.spawn(future),
    }
}

fn woken_here(handle: &Handle, flood: &Flood, kind: Kind) -> u64 {
    let (inner, (started, go)) = (handle.clone(), (Event::default(), Event::default()));
    let waking = async move {
        let (handle, (start, gate)) = (inner.clone(), (started.clone(), go.clone()));
        let woken = kind.spawn(async move {
            start.set();
            gate.wait().await;
            polls(&handle)
        });
        started.wait().await;
        let from = polls(&inner);
        go.set();
        woken.await.unwrap() - from
    };
    block_on(spawn(handle, flood.quiet(), waking)).unwrap()
}

fn woken_from_outside(handle: &Handle, kind: Kind) -> u64 {
    let (inner, (started, go)) = (handle.clone(), (Event::default(), Event::default()));
    let (start, gate) = (started.clone(), go.clone());
    let woken = spawn(handle, kind, async move {
        start.set();
        gate.wait().await;
        polls(&inner)
    });
    block_on(started.wait());
    go.set();
    // Read only now: if this thread was held up before, the wait comes out shorter and not longer.
    let from = polls(handle);
    block_on(woken).unwrap().saturating_sub(from)
}

fn spawned_from_outside(handle: &Handle, kind: Kind) -> u64 {
    let inner = handle.clone();
    let spawned = spawn(handle, kind, async move { polls(&inner) });
    let from = polls(handle);
    block_on(spawned).unwrap().saturating_sub(from)
}

/// A read that the kernel can do at once.
fn read(handle: &Handle, kind: Kind, file: &std::sync::Arc<File>) -> u64 {
    let (inner, file) = (handle.clone(), std::sync::Arc::clone(file));
    let reading = spawn(handle, kind, async move {
        let from = polls(&inner);
        assert_eq!(file.read_at(Vec::with_capacity(64), 0).await.0.unwrap(), 64);
        polls(&inner) - from
    });
    block_on(reading).unwrap()
}

/// A receive of what the socket has already.
fn received(handle: &Handle, kind: Kind) -> u64 {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    peer.write_all(b"x").unwrap();
    assert_eq!(socket.peek(&mut [0]).unwrap(), 1);
    let inner = handle.clone();
    let receiving = spawn(handle, kind, async move {
        let stream = TcpStream::from_std(socket).unwrap();
        let from = polls(&inner);
        assert_eq!(stream.recv(Vec::with_capacity(1)).await.0.unwrap(), 1);
        polls(&inner) - from
    });
    block_on(receiving).unwrap()
}

fn slept(handle: &Handle, kind: Kind) -> u64 {
    let inner = handle.clone();
    let (tell, told) = mpsc::channel();
    let sleeping = spawn(handle, kind, async move {
        let deadline = Instant::now() + 3 * TICK;
        let mut nap = pin!(sleep_until(deadline));
        // On a busy machine it may be over already: then there was no wait.
        if crate::kit::poll_once(&mut nap).await.is_ready() {
            return 0;
        }
        tell.send(deadline + TICK).unwrap();
        nap.await;
        polls(&inner)
    });
    let due = told.recv().unwrap_or_else(|_| Instant::now());
    while Instant::now() < due {
        std::hint::spin_loop();
    }
    // As with wakes: read late is on the safe side.
    let from = polls(handle);
    block_on(sleeping).unwrap().saturating_sub(from)
}

/// More tasks than the steal queue holds: the wait of the last of them.
fn overflowed(handle: &Handle, flood: &Flood) -> Wait {
    let inner = handle.clone();
    let bursting = async move {
        let from = polls(&inner);
        let one = || {
            let handle = inner.clone();
            ringwork::spawn(async move { polls(&handle) })
        };
        let tasks: Vec<_> = (0..BURST).map(|_| one()).collect();
        let injected = inner.metrics().injector_depth;
        let mut last = 0;
        for task in tasks {
            last = last.max(task.await.unwrap());
        }
        (last - from, injected)
    };
    let (polls, injected) = block_on(spawn(handle, flood.quiet(), bursting)).unwrap();
    // Under `Steal::Never` they wait in line behind the others.
    let in_line = (IN_A_ROW + 1) * (flood.send + BURST as u64 + OWN);
    // What floods the steal queue may overflow behind them, and some of them once more with it.
    let one_by_one = INJECTOR_EVERY * (injected + flood.send + 1);
    // If nothing does, they are as if in line, once the core has been busy for a while and from the next turn
    // on.
    let in_the_injector = if flood.send == 0 { one_by_one.min(BUSY + TURN) } else { one_by_one };
    let bound = in_the_injector + in_line + 2 * (in_line / INJECTOR_EVERY + 1);
    Wait { polls, bound: bound * flood.beside }
}
