//! What floods the core: each kind keeps one source of work full for as long as it lives.

use crate::STEAL_QUEUE;
use crate::kit::wait_for;
use ringwork::net::TcpStream;
use ringwork::runtime::Handle;
use ringwork::task::JoinHandle;
use ringwork::time::{Duration, sleep};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

const FEW: u64 = 50;
const PAIRS: u64 = 64;
const MANY: u64 = 100_000;
/// Fewer, because each waits for a poll of the injector.
const MANY_SEND: u64 = 20_000;
const TIMERS: u64 = 2_500;

/// Which queue of a core a task is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Local,
    Send,
}

impl Kind {
    /// Spawns on the core this is called on.
    pub(crate) fn spawn<T: Send + 'static>(
        self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        match self {
            Self::Local => ringwork::spawn_local(future),
            Self::Send => ringwork::spawn(future),
        }
    }
}

/// What the flood's tasks share.
#[derive(Clone, Default)]
struct Water {
    over: Arc<AtomicBool>,
    polls: Arc<AtomicU64>,
}

impl Water {
    fn is_over(&self) -> bool {
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.over.load(Ordering::Relaxed)
    }
}

/// A flood; it ends when it is dropped.
pub(crate) struct Flood {
    /// Its tasks that may be in the local queue at a time.
    pub(crate) local: u64,
    /// Its `Send` tasks that may be ready at a time.
    pub(crate) send: u64,
    /// Its timers that may be due at a time.
    pub(crate) timers: u64,
    /// Polls that may pass for each one that the bounds count: background tasks have a share of the time, and
    /// make every other poll at most.
    pub(crate) beside: u64,
    /// How often each source is tried: less often where it takes long.
    pub(crate) rounds: usize,
    water: Water,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Flood {
    fn new(local: u64, send: u64) -> Self {
        Self { local, send, timers: 0, beside: 1, rounds: 12, water: Water::default(), threads: Vec::new() }
    }

    /// Waits until the flood's tasks have been polled once more: it is still there.
    pub(crate) fn wait(&self) {
        let polls = || self.water.polls.load(Ordering::Relaxed);
        let before = polls();
        wait_for("the flood", || polls() > before);
    }

    /// Where fewer of the flood's tasks are: the tasks that drive a test go there.
    pub(crate) fn quiet(&self) -> Kind {
        if self.local <= self.send { Kind::Local } else { Kind::Send }
    }

    fn tried(mut self, rounds: usize) -> Self {
        self.rounds = rounds;
        self
    }

    /// Spawns the flood's tasks on the core, in one poll, and waits until that is done.
    fn pour<F: Future<Output = ()> + Send + 'static>(
        &self,
        handle: &Handle,
        make: impl Fn(Water) -> F + Send + 'static,
    ) {
        let (local, send, water) = (self.local, self.send, self.water.clone());
        let spawning = handle.spawn_on(0, move || async move {
            (0..local).for_each(|_| drop(Kind::Local.spawn(make(water.clone()))));
            (0..send).for_each(|_| drop(Kind::Send.spawn(make(water.clone()))));
        });
        handle.block_on(spawning).unwrap();
    }

    fn of_spinning_tasks(handle: &Handle, local: u64, send: u64) -> Self {
        let flood = Self::new(local, send);
        flood.pour(handle, spin);
        flood
    }

    /// Local tasks that wake themselves.
    pub(crate) fn of_local_tasks(handle: &Handle) -> Self {
        Self::of_spinning_tasks(handle, FEW, 0)
    }

    /// `Send` tasks that wake themselves.
    pub(crate) fn of_send_tasks(handle: &Handle) -> Self {
        Self::of_spinning_tasks(handle, 0, FEW)
    }

    /// Background tasks that wake themselves: they are to be in nobody's way.
    pub(crate) fn of_background_tasks(handle: &Handle) -> Self {
        let mut flood = Self::new(0, 0);
        flood.beside = 2;
        for _ in 0..FEW {
            let background = ringwork::task::Builder::new().background();
            drop(background.spawn_with(handle, spin(flood.water.clone())));
        }
        flood
    }

    /// A local queue that never gets short.
    pub(crate) fn of_a_deep_local_queue(handle: &Handle) -> Self {
        Self::of_spinning_tasks(handle, MANY, 0).tried(2)
    }

    /// A steal queue that is always full, and an injector (or a spill) that never gets short.
    pub(crate) fn of_a_deep_injector(handle: &Handle) -> Self {
        Self::of_spinning_tasks(handle, 0, MANY_SEND).tried(4)
    }

    /// Threads that wake tasks of both kinds as fast as they can.
    pub(crate) fn of_remote_wakes(handle: &Handle) -> Self {
        let mut flood = Self::new(FEW, FEW);
        let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
        let list = Arc::clone(&wakers);
        flood.pour(handle, move |water| {
            let list = Arc::clone(&list);
            let mut is_new = true;
            poll_fn(move |cx| {
                if std::mem::take(&mut is_new) {
                    list.lock().unwrap().push(cx.waker().clone());
                }
                if water.is_over() { Poll::Ready(()) } else { Poll::Pending }
            })
        });
        wait_for("all wakers", || wakers.lock().unwrap().len() as u64 == 2 * FEW);
        flood.threads = (0..2)
            .map(|_| {
                let (wakers, water) = (wakers.lock().unwrap().clone(), flood.water.clone());
                thread::spawn(move || {
                    while !water.over.load(Ordering::Relaxed) {
                        wakers.iter().for_each(Waker::wake_by_ref);
                    }
                })
            })
            .collect();
        flood
    }

    /// Connections that send back and forth, both ends on the core: some are always ready.
    pub(crate) fn of_completions(handle: &Handle) -> Self {
        let flood = Self::new(PAIRS, PAIRS);
        let water = flood.water.clone();
        let spawning = handle.spawn_on(0, || async move {
            let listener = ringwork::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            for _ in 0..PAIRS {
                let one = TcpStream::connect(address).await.unwrap();
                let (other, _) = listener.accept().await.unwrap();
                drop(Kind::Local.spawn(ping_pong(one, water.clone())));
                drop(Kind::Send.spawn(ping_pong(other, water.clone())));
            }
        });
        handle.block_on(spawning).unwrap();
        flood
    }

    /// Tasks that sleep for a millisecond over and over: more timers are due than one turn fires.
    pub(crate) fn of_due_timers(handle: &Handle) -> Self {
        // So few `Send` tasks that the steal queue holds them beside any others: no flood of the injector.
        let mut flood = Self::new(TIMERS, STEAL_QUEUE / 4);
        flood.timers = flood.local + flood.send;
        flood.pour(handle, |water| async move {
            while !water.is_over() {
                sleep(Duration::from_millis(1)).await;
            }
        });
        flood
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.water.over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

fn spin(water: Water) -> impl Future<Output = ()> + Send + 'static {
    poll_fn(move |cx| {
        if water.is_over() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

async fn ping_pong(stream: TcpStream, water: Water) {
    while !water.is_over() {
        // Both ends begin by sending, so that nobody waits for the other's first word.
        if stream.send_all("ball").await.0.is_err() {
            return;
        }
        let (received, _) = stream.recv_exact(Vec::with_capacity(4)).await;
        if received.is_err() {
            return;
        }
    }
}
