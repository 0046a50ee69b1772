//! One runtime under stress, and the books that are kept about it: which futures and outputs live, what can
//! be woken, joined and aborted by whom.

use crate::kit::Event;
use crate::support::Random;
use ringwork::runtime::Handle;
use ringwork::task::JoinHandle;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Futures that may live at a time: enough to overflow every queue.
const CROWD: usize = 1_500;
/// Things of one kind that lie about at most.
const HEAP: usize = 300;

/// Steps that any task or thread has made, in all worlds: the pulse.
static STEPS: AtomicU64 = AtomicU64::new(0);

/// How many steps there have been.
pub(crate) fn steps() -> u64 {
    STEPS.load(Ordering::Relaxed)
}

/// Something has happened.
pub(crate) fn step() {
    STEPS.fetch_add(1, Ordering::Relaxed);
}

const ALIVE: u8 = 1;
const GONE: u8 = 2;

/// Lies in each future and is each output: both must be dropped exactly once.
pub(crate) struct Token {
    state: Arc<AtomicU8>,
    books: Arc<Books>,
}

impl Drop for Token {
    fn drop(&mut self) {
        if self.state.swap(GONE, Ordering::SeqCst) != ALIVE {
            self.books.twice.fetch_add(1, Ordering::SeqCst);
        }
        self.books.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

/// All tokens of one world.
#[derive(Default)]
pub(crate) struct Books {
    /// Keeps the states, so that a second drop meets memory and is counted.
    states: [Mutex<Vec<Arc<AtomicU8>>>; 8],
    born: AtomicUsize,
    alive: AtomicUsize,
    twice: AtomicUsize,
}

impl Books {
    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    pub(crate) fn born(&self) -> usize {
        self.born.load(Ordering::SeqCst)
    }

    /// Fails unless each token was dropped exactly once.
    pub(crate) fn close(&self) {
        assert_eq!(self.twice.load(Ordering::SeqCst), 0, "futures or outputs were dropped twice");
        let states = self.states.iter().flat_map(|states| lock(states).clone());
        let left = states.filter(|state| state.load(Ordering::SeqCst) != GONE).count();
        assert_eq!((left, self.alive()), (0, 0), "futures or outputs of {} were never dropped", self.born());
    }
}

/// Takes a lock of the test's own; nothing panics under them but by the test's fault.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Things of one kind that somebody has left for somebody else.
pub(crate) struct Heap<T>(Mutex<Vec<T>>);

impl<T> Heap<T> {
    fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Leaves a thing. If there are too many, another one is given back, to be dropped outside of the lock.
    pub(crate) fn leave(&self, thing: T, random: &mut Random) -> Option<T> {
        let mut heap = lock(&self.0);
        heap.push(thing);
        let at = random.below(heap.len() as u64) as usize;
        (heap.len() > HEAP).then(|| heap.swap_remove(at))
    }

    /// Takes any.
    pub(crate) fn take(&self, random: &mut Random) -> Option<T> {
        let mut heap = lock(&self.0);
        if heap.is_empty() {
            return None;
        }
        let at = random.below(heap.len() as u64) as usize;
        Some(heap.swap_remove(at))
    }

    /// Takes all.
    pub(crate) fn empty(&self) -> Vec<T> {
        std::mem::take(&mut lock(&self.0))
    }
}

/// A queue of tokens between tasks on any core.
#[derive(Default)]
pub(crate) struct Pipe(Mutex<(VecDeque<Token>, Vec<Waker>)>);

impl Pipe {
    pub(crate) fn send(&self, token: Token) {
        let (wakers, surplus) = {
            let mut pipe = lock(&self.0);
            pipe.0.push_back(token);
            let surplus = if pipe.0.len() > HEAP { pipe.0.pop_front() } else { None };
            (std::mem::take(&mut pipe.1), surplus)
        };
        drop(surplus);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn receive(&self) -> impl Future<Output = Token> + Send + '_ {
        poll_fn(|cx| {
            let mut pipe = lock(&self.0);
            if let Some(token) = pipe.0.pop_front() {
                return Poll::Ready(token);
            }
            pipe.1.push(cx.waker().clone());
            Poll::Pending
        })
    }

    fn empty(&self) {
        let tokens = std::mem::take(&mut *lock(&self.0));
        drop(tokens);
    }
}

/// What all tasks and threads of one runtime share.
pub(crate) struct World {
    pub(crate) handle: Handle,
    pub(crate) books: Arc<Books>,
    /// Where an echo service of the runtime's own listens.
    pub(crate) echo: SocketAddr,
    pub(crate) wakers: Heap<Waker>,
    /// Tasks wait for each of these without a time limit.
    pub(crate) events: Heap<Event>,
    pub(crate) tasks: Heap<JoinHandle<Token>>,
    pub(crate) pipes: [Pipe; 3],
    over: AtomicBool,
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (alive, born) = (self.books.alive(), self.books.born());
        let metrics = self.handle.metrics();
        write!(f, "{alive} of {born} futures and outputs alive, over: {}\n{metrics:#?}", self.is_over())
    }
}

impl World {
    pub(crate) fn new(handle: Handle, echo: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            handle,
            books: Arc::default(),
            echo,
            wakers: Heap::new(),
            events: Heap::new(),
            tasks: Heap::new(),
            pipes: Default::default(),
            over: AtomicBool::new(false),
        })
    }

    pub(crate) fn token(&self) -> Token {
        let number = self.books.born.fetch_add(1, Ordering::SeqCst);
        self.books.alive.fetch_add(1, Ordering::SeqCst);
        let state = Arc::new(AtomicU8::new(ALIVE));
        lock(&self.books.states[number % 8]).push(Arc::clone(&state));
        Token { state, books: Arc::clone(&self.books) }
    }

    /// Whether there is room for another task.
    pub(crate) fn has_room(&self) -> bool {
        !self.is_over() && self.books.alive() < CROWD
    }

    /// Whether everybody is to come to an end.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Lets all go that wait for an event, now that no thread is left who would.
    pub(crate) fn release(&self) {
        self.events.empty().iter().for_each(Event::set);
    }

    /// Drops what lies about: tokens, wakers, handles.
    pub(crate) fn clear(&self) {
        self.release();
        self.wakers.empty();
        self.tasks.empty();
        self.pipes.iter().for_each(Pipe::empty);
    }
}
