//! Streams whose task is handed from core to core hundreds of times while bytes flow both ways: all arrive,
//! in order.

use ringwork::core::{current, move_to};
use ringwork::net::TcpStream;
use ringwork::runtime::Handle;
use ringwork::task::yield_now;
use ringwork::time::{Duration, Instant, sleep};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

mod kit;
mod support;
use support::{LIMIT, Levels, Random, alone, assert_pattern, pair, pattern, runtime, within};

const CONNECTIONS: usize = 100;
/// Times a task is handed on.
const MOVES: usize = 200;
const MESSAGES_PER_MOVE: usize = 3;
const MESSAGE: usize = 200;
const ROUND_TRIPS: usize = 200;

#[test]
fn bytes_of_many_connections_arrive_in_order_while_their_tasks_move() {
    let _alone = alone();
    within(LIMIT, || {
        let mut random = Random::announced();
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        runtime.block_on(async {
            let start = Levels::at_start(&handle).await;
            let mut tasks = Vec::new();
            for _ in 0..CONNECTIONS {
                let (one, other) = pair().await;
                tasks.push(handle.spawn(talk_and_move(handle.clone(), one, random.fork())));
                tasks.push(handle.spawn(talk_and_move(handle.clone(), other, random.fork())));
            }
            for task in tasks {
                task.await.expect("every byte comes once and in order");
            }
            start.return_on(&handle).await;
        });
    });
}

/// How far an end has come in each direction.
struct Talk {
    stream: TcpStream,
    sent: usize,
    received: usize,
}

/// Sends and receives a few messages, then goes on elsewhere. Both ends do, each on its own.
async fn talk_and_move(handle: Handle, stream: TcpStream, mut random: Random) {
    let mut talk = Talk { stream, sent: 0, received: 0 };
    let mut core = random.below(2) as usize;
    for _ in 0..MOVES {
        core = if random.chance(8) { core } else { 1 - core };
        let there = random.fork();
        talk = handle.spawn_on(core, move || exchange(talk, there)).await.unwrap();
    }
    let Talk { stream, sent, mut received } = talk;
    assert_eq!(sent, MOVES * MESSAGES_PER_MOVE * MESSAGE);
    stream.shutdown_write().await.unwrap();
    loop {
        let buf = stream.recv_pooled().await.unwrap();
        if buf.is_empty() {
            break;
        }
        assert_pattern(received, &buf);
        received += buf.len();
    }
    assert_eq!(received, sent, "both ends say as much");
}

async fn exchange(mut talk: Talk, mut random: Random) -> Talk {
    for _ in 0..MESSAGES_PER_MOVE {
        talk.stream.send_all(pattern(talk.sent, MESSAGE)).await.0.unwrap();
        talk.sent += MESSAGE;
    }
    // The peer has sent at least what it received from us less what it may lag behind; never wait for more.
    let lag = MESSAGES_PER_MOVE * MESSAGE;
    while talk.received + lag < talk.sent {
        let at = talk.received;
        talk.received += match random.below(3) {
            0 => {
                let (n, buf) = talk.stream.recv(Vec::with_capacity(1 + random.below(500) as usize)).await;
                assert_pattern(at, &buf);
                n.unwrap()
            }
            1 => {
                let mut dropped = std::pin::pin!(talk.stream.recv_pooled());
                match futures_util::poll!(dropped.as_mut()) {
                    std::task::Poll::Ready(buf) => checked(at, &buf.unwrap()),
                    std::task::Poll::Pending => continue,
                }
            }
            _ => checked(at, &talk.stream.recv_pooled().await.unwrap()),
        };
        assert!(talk.received > at, "the stream ended after {at} bytes");
    }
    talk
}

fn checked(at: usize, buf: &[u8]) -> usize {
    assert_pattern(at, buf);
    buf.len()
}

#[test]
fn a_task_that_may_move_by_itself_keeps_its_streams_in_order() {
    let _alone = alone();
    within(LIMIT, || {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        runtime.block_on(async {
            let start = Levels::at_start(&handle).await;
            // All born on core 0: core 1 is idle and takes some of them.
            let born = handle.spawn_on(0, || async {
                let mut tasks = Vec::new();
                for _ in 0..40 {
                    let (one, other) = pair().await;
                    tasks.push(ringwork::spawn(ask(one)));
                    tasks.push(ringwork::spawn(answer(other)));
                }
                tasks
            });
            for task in born.await.unwrap() {
                task.await.expect("every byte comes once and in order");
            }
            let stolen: u64 = handle.metrics().cores.iter().map(|core| core.tasks_stolen).sum();
            println!("{stolen} times a task was taken by the other core");
            start.return_on(&handle).await;
        });
    });
}

/// Asks and checks the answers.
async fn ask(stream: TcpStream) {
    for round in 0..ROUND_TRIPS {
        stream.send_all(pattern(round * 100, 100)).await.0.unwrap();
        let (received, answer) = stream.recv_exact(Vec::with_capacity(100)).await;
        received.unwrap();
        assert_pattern(round * 100, &answer);
    }
}

async fn answer(stream: TcpStream) {
    let mut at = 0;
    while at < ROUND_TRIPS * 100 {
        let question = stream.recv_pooled().await.unwrap();
        assert_pattern(at, &question);
        at += question.len();
        stream.send_all(question).await.0.unwrap();
    }
    assert!(stream.recv_pooled().await.unwrap().is_empty());
}

/// Connections whose tasks themselves go to and fro.
const STREAMS: usize = 500;
/// Messages each end sends.
const MESSAGES: usize = 110;
/// Times each direction of a task asks to go on elsewhere after each message.
const HOPS: usize = 8;
/// Times each task must at least have found itself on another core than before.
const MOVES_LEAST: u64 = 100;
/// How many gather on core 0. Its queue holds them all: what does not fit goes to where core 1 finds it
/// without stealing.
const GATHERED: usize = 100;
/// How many are to be stolen before those go on.
const STOLEN: u64 = 100;
/// Looks at how many were, of one turn of core 0 each or more.
const LOOKS: usize = 20_000;
/// Times that some gather.
const GATHERINGS: usize = 20;

#[test]
fn five_hundred_streams_keep_their_order_while_their_tasks_move_hundreds_of_times_a_second() {
    let _alone = alone();
    kit::process::raise_descriptor_limit();
    within(LIMIT, || {
        let mut random = Random::announced();
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        runtime.block_on(async {
            let start = Levels::at_start(&handle).await;
            let gathering = Arc::new(Gathering::default());
            let mut ends = Vec::new();
            for _ in 0..STREAMS {
                let (one, other) = pair().await;
                ends.extend([one, other]);
            }
            let begun = Instant::now();
            let tasks: Vec<_> = ends
                .into_iter()
                .map(|end| handle.spawn(converse(end, Arc::clone(&gathering), random.fork())))
                .collect();
            let of_steering = handle.clone();
            // Beside those that gather, and no task that may be stolen itself.
            let steering = handle.spawn_on(0, move || steer(of_steering, gathering));
            let (mut all, mut all_taken) = (0, 0);
            for task in tasks {
                let (moves, taken) = task.await.expect("every byte comes once and in order");
                assert!(moves >= MOVES_LEAST, "a task has moved {moves} times only");
                all += moves;
                all_taken += taken;
            }
            let took = begun.elapsed().as_secs_f64();
            steering.abort();
            let stolen = stolen(&handle);
            let each = all / (2 * STREAMS as u64);
            println!("each task moved {each} times in {took:.1} s, all together {all_taken} times unasked");
            println!("{stolen} times one was stolen");
            assert!(stolen > 0, "core 1 stole of what gathered on core 0");
            start.return_on(&handle).await;
        });
    });
}

fn stolen(handle: &Handle) -> u64 {
    handle.metrics().cores.iter().map(|core| core.tasks_stolen).sum()
}

/// Where some tasks are always ready on core 0, and all others wait, so that core 1 has none and steals.
#[derive(Default)]
struct Gathering {
    is_on: AtomicBool,
    places: AtomicUsize,
    waiting: Mutex<Vec<Waker>>,
}

impl Gathering {
    fn begin(&self) {
        self.places.store(GATHERED, Ordering::Relaxed);
        self.is_on.store(true, Ordering::Release);
    }

    fn end(&self) {
        let mut waiting = self.waiting.lock().unwrap();
        self.is_on.store(false, Ordering::Relaxed);
        waiting.drain(..).for_each(Waker::wake);
    }

    fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Whether the caller is to gather: the first who come.
    fn has_place(&self) -> bool {
        let take = |places: usize| places.checked_sub(1);
        self.places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Waits for the end.
    async fn over(&self) {
        poll_fn(|cx| {
            let mut waiting = self.waiting.lock().unwrap();
            if !self.is_on() {
                return Poll::Ready(());
            }
            waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Has some gather on core 0 now and then, each time until the other core has stolen some.
async fn steer(handle: Handle, gathering: Arc<Gathering>) {
    for _ in 0..GATHERINGS {
        gathering.begin();
        let enough = stolen(&handle) + STOLEN;
        for _ in 0..LOOKS {
            if stolen(&handle) >= enough {
                break;
            }
            yield_now().await;
        }
        gathering.end();
        sleep(Duration::from_millis(100)).await;
    }
}

/// Streams both ways at the same time in one task: it moves with a send in flight and a receive armed.
/// Returns how often it found itself on another core than before, and how often without having asked to.
async fn converse(stream: TcpStream, gathering: Arc<Gathering>, mut random: Random) -> (u64, u64) {
    let zero = || AtomicU64::new(0);
    let walk = Walk { gathering, last: zero(), moves: zero(), asked: zero(), taken: zero() };
    let sending = stream_out(&stream, &walk, random.fork());
    let receiving = stream_in(&stream, &walk, random.fork());
    let (sent, received) = futures_util::future::join(sending, receiving).await;
    assert_eq!((sent, received), (MESSAGES * MESSAGE, MESSAGES * MESSAGE));
    (walk.moves.load(Ordering::Relaxed), walk.taken.load(Ordering::Relaxed))
}

/// The way of one task between the cores.
struct Walk {
    gathering: Arc<Gathering>,
    /// The core on which the task was last seen, plus one.
    last: AtomicU64,
    moves: AtomicU64,
    /// The core that was last asked for, plus one.
    asked: AtomicU64,
    /// How many of the moves went elsewhere: to a core that had nothing to do.
    taken: AtomicU64,
}

impl Walk {
    /// Asks to go on at the other core, several times.
    async fn go_on(&self) {
        for _ in 0..HOPS {
            if self.gathering.is_on() {
                self.gather().await;
            }
            self.ask_for(1 - self.look()).await;
        }
    }

    /// Is always ready on core 0 as long as some are to be stolen there, or waits if enough are.
    async fn gather(&self) {
        if !self.gathering.has_place() {
            return self.gathering.over().await;
        }
        while self.gathering.is_on() {
            match self.look() {
                0 => yield_now().await,
                _ => self.ask_for(0).await,
            }
        }
    }

    async fn ask_for(&self, there: usize) {
        self.asked.store(there as u64 + 1, Ordering::Relaxed);
        move_to(there).await;
        self.look();
    }

    fn look(&self) -> usize {
        let here = current().expect("a task is on a core");
        let before = self.last.swap(here as u64 + 1, Ordering::Relaxed);
        if before != 0 && before != here as u64 + 1 {
            self.moves.fetch_add(1, Ordering::Relaxed);
            let as_asked = self.asked.load(Ordering::Relaxed) == here as u64 + 1;
            self.taken.fetch_add(u64::from(!as_asked), Ordering::Relaxed);
        }
        here
    }
}

async fn stream_out(stream: &TcpStream, walk: &Walk, mut random: Random) -> usize {
    let mut sent = 0;
    for _ in 0..MESSAGES {
        let message = pattern(sent, MESSAGE);
        let mut sending = Box::pin(stream.send_all(message));
        if random.chance(4) {
            // Begun here, and the task goes on elsewhere before it is done.
            let begun = futures_util::poll!(sending.as_mut());
            walk.go_on().await;
            match begun {
                std::task::Poll::Ready((result, _)) => result.unwrap(),
                std::task::Poll::Pending => sending.await.0.unwrap(),
            }
        } else {
            sending.await.0.unwrap();
        }
        sent += MESSAGE;
        walk.go_on().await;
    }
    stream.shutdown_write().await.unwrap();
    sent
}

async fn stream_in(stream: &TcpStream, walk: &Walk, mut random: Random) -> usize {
    let mut received = 0;
    loop {
        let count = match random.below(4) {
            0 => {
                let (count, buf) = stream.recv(Vec::with_capacity(1 + random.below(500) as usize)).await;
                assert_pattern(received, &buf);
                count.unwrap()
            }
            1 => {
                let mut dropped = std::pin::pin!(stream.recv_pooled());
                match futures_util::poll!(dropped.as_mut()) {
                    std::task::Poll::Ready(buf) => checked(received, &buf.unwrap()),
                    // Armed here; what it brings is found on the other core.
                    std::task::Poll::Pending => {
                        walk.go_on().await;
                        continue;
                    }
                }
            }
            _ => checked(received, &stream.recv_pooled().await.unwrap()),
        };
        if count == 0 {
            return received;
        }
        received += count;
        walk.go_on().await;
    }
}
