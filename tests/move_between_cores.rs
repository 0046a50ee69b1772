//! Streams whose task is handed from core to core hundreds of times while bytes flow both ways: all arrive,
//! in order.

use ringwork::net::TcpStream;
use ringwork::runtime::Handle;

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
