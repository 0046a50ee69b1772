//! Random interleavings of everything that may be done with the two ends of a connection: exactly the bytes
//! sent arrive, in order.
//!
//! Each end has a task that sends and one that receives, both `Send` and so free to be stolen, each with
//! steps of its own: poll-shaped and owned-buffer calls, calls that are polled once and given up, moves
//! between cores. The socket's send buffer is small in some runs, so that the kernel takes and gives in
//! pieces (a small receive buffer would make it wait for its own timers).
//!
//! `PROPTEST_CASES` sets how many runs there are. `RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test
//! --target x86_64-unknown-linux-gnu -p ringwork-compat --test poll_property` runs them under
//! AddressSanitizer.

#[path = "../../support/mod.rs"]
mod support;

use proptest::prelude::*;
use ringwork::core::move_to;
use ringwork::net::{OwnedRecvHalf, OwnedSendHalf, TcpStream};
use ringwork::runtime::Runtime;
use ringwork::task::yield_now;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use support::{LIMIT, assert_pattern, pattern, runtime, std_pair, within};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// So many steps a receiver makes as they are, and from then on with room for [`MUCH`]: five million bytes
/// one by one, each a receive of its own that ends on another thread, would take minutes.
const STEPS: usize = 10_000;
const MUCH: usize = 100_000;
/// Milliseconds in which a failure is made smaller: one that has come to a stop takes [`LIMIT`] each time.
const SHRINKING: u32 = 180_000;

/// All runs are on it: starting one each time would take longer than the runs.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| runtime(2));

#[derive(Clone, Debug)]
enum Write {
    All(usize),
    Some(usize),
    Vectored(Vec<usize>),
    /// Polled once.
    Once(usize),
    Flush,
    FlushOnce,
    Send(usize),
    SendVectored(Vec<usize>),
    /// Dropped in flight: it leaves whole.
    SendDropped(usize),
    SendOff(usize),
    AllSent,
    Move(usize),
    Yield,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Shutdown,
    ShutdownWrite,
    Drop,
}

#[derive(Clone, Debug)]
enum Read {
    Some(usize),
    Recv(usize),
    Pooled,
    /// Polled once.
    Once(usize),
    RecvOnce(usize),
    PooledOnce,
    Ahead(bool),
    Move(usize),
    Yield,
}

impl Read {
    /// The same with much room.
    fn widened(&self) -> Self {
        match *self {
            Self::Some(_) => Self::Some(MUCH),
            Self::Recv(_) => Self::Recv(MUCH),
            Self::Once(_) => Self::Once(MUCH),
            Self::RecvOnce(_) => Self::RecvOnce(MUCH),
            ref step => step.clone(),
        }
    }
}

#[derive(Clone, Debug)]
struct Side {
    writes: Vec<Write>,
    end: End,
    reads: Vec<Read>,
    socket_buffer: Option<usize>,
    on_cores: bool,
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![1..100usize, 1..10_000usize, 1..200_000usize]
}

fn write() -> impl Strategy<Value = Write> {
    let several = || prop::collection::vec(prop_oneof![0..50usize, 0..40_000usize], 1..6);
    prop_oneof![
        3 => length().prop_map(Write::All),
        3 => length().prop_map(Write::Some),
        2 => several().prop_map(Write::Vectored),
        3 => length().prop_map(Write::Once),
        1 => Just(Write::Flush),
        1 => Just(Write::FlushOnce),
        1 => length().prop_map(Write::Send),
        1 => several().prop_map(Write::SendVectored),
        1 => length().prop_map(Write::SendDropped),
        2 => length().prop_map(Write::SendOff),
        1 => Just(Write::AllSent),
        1 => (0..2usize).prop_map(Write::Move),
        1 => Just(Write::Yield),
    ]
}

fn read() -> impl Strategy<Value = Read> {
    prop_oneof![
        4 => length().prop_map(Read::Some),
        1 => length().prop_map(Read::Recv),
        1 => Just(Read::Pooled),
        2 => length().prop_map(Read::Once),
        1 => length().prop_map(Read::RecvOnce),
        1 => Just(Read::PooledOnce),
        1 => any::<bool>().prop_map(Read::Ahead),
        1 => (0..2usize).prop_map(Read::Move),
        1 => Just(Read::Yield),
    ]
}

fn side() -> impl Strategy<Value = Side> {
    (
        prop::collection::vec(write(), 0..25),
        prop_oneof![Just(End::Shutdown), Just(End::ShutdownWrite), Just(End::Drop)],
        prop::collection::vec(read(), 1..25),
        prop_oneof![2 => Just(None), 1 => (1..20_000usize).prop_map(Some)],
        any::<bool>(),
    )
        .prop_map(|(writes, end, reads, socket_buffer, on_cores)| Side {
            writes,
            end,
            reads,
            socket_buffer,
            on_cores,
        })
}

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// The pattern in slices of these lengths.
fn slices(from: usize, lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut at = from;
    let mut next = |len: &usize| {
        at += len;
        pattern(at - len, *len)
    };
    lengths.iter().map(&mut next).collect()
}

async fn send_step(half: &mut OwnedSendHalf, step: Write, at: usize) -> io::Result<usize> {
    Ok(match step {
        Write::All(len) => half.write_all(&pattern(at, len)).await.map(|()| len)?,
        Write::Some(len) => half.write(&pattern(at, len)).await?,
        Write::Vectored(lengths) => {
            let parts = slices(at, &lengths);
            let parts: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
            half.write_vectored(&parts).await?
        }
        Write::Once(len) => match Pin::new(half).poll_write(&mut noop(), &pattern(at, len)) {
            Poll::Ready(taken) => taken?,
            Poll::Pending => 0,
        },
        Write::Flush => half.flush().await.map(|()| 0)?,
        Write::FlushOnce => match Pin::new(half).poll_flush(&mut noop()) {
            Poll::Ready(done) => done.map(|()| 0)?,
            Poll::Pending => 0,
        },
        Write::Send(len) => half.send_all(pattern(at, len)).await.0.map(|()| len)?,
        Write::SendVectored(lengths) => half.send_vectored(slices(at, &lengths)).await.0?,
        Write::SendDropped(len) => {
            // Behind this nothing is in the lane, so its one poll submits it.
            half.send_all("").await.0?;
            match pin!(half.send_all(pattern(at, len))).poll(&mut noop()) {
                Poll::Ready((sent, _)) => sent.map(|()| len)?,
                Poll::Pending => len,
            }
        }
        Write::SendOff(len) => half.send_off(pattern(at, len)).await.map(|()| len)?,
        Write::AllSent => half.all_sent().await.map(|()| 0)?,
        Write::Move(core) => moved(core).await,
        Write::Yield => {
            yield_now().await;
            0
        }
    })
}

/// Moves the task, if it is one.
async fn moved(core: usize) -> usize {
    if ringwork::core::current().is_some() {
        move_to(core).await;
    }
    0
}

async fn sends(mut half: OwnedSendHalf, steps: Vec<Write>, end: End) -> usize {
    let mut at = 0;
    for step in steps {
        at += send_step(&mut half, step, at).await.expect("the peer reads to the end");
    }
    match end {
        End::Shutdown => half.shutdown().await.unwrap(),
        End::ShutdownWrite => half.shutdown_write().await.unwrap(),
        End::Drop => {}
    }
    at
}

/// What one step received: `None` if the step came to nothing.
async fn receive_step(half: &mut OwnedRecvHalf, step: &Read) -> Option<Vec<u8>> {
    match *step {
        Read::Some(room) => {
            let mut bytes = vec![0; room];
            let n = half.read(&mut bytes).await.unwrap();
            bytes.truncate(n);
            Some(bytes)
        }
        Read::Recv(room) => Some(half.recv(Vec::with_capacity(room)).await).map(|(n, bytes)| {
            n.unwrap();
            bytes
        }),
        Read::Pooled => Some(half.recv_pooled().await.unwrap().to_vec()),
        Read::Once(room) => {
            let mut bytes = vec![0; room];
            let mut buf = ReadBuf::new(&mut bytes);
            let polled = Pin::new(half).poll_read(&mut noop(), &mut buf);
            let filled = buf.filled().to_vec();
            matches!(polled, Poll::Ready(Ok(()))).then_some(filled)
        }
        Read::RecvOnce(room) => match pin!(half.recv(Vec::with_capacity(room))).poll(&mut noop()) {
            Poll::Ready((n, bytes)) => n.map(|_| bytes).ok(),
            Poll::Pending => None,
        },
        Read::PooledOnce => match pin!(half.recv_pooled()).poll(&mut noop()) {
            Poll::Ready(bytes) => Some(bytes.unwrap().to_vec()),
            Poll::Pending => None,
        },
        Read::Ahead(ahead) => {
            half.stream().read_ahead(ahead);
            None
        }
        Read::Move(core) => {
            moved(core).await;
            None
        }
        Read::Yield => {
            yield_now().await;
            None
        }
    }
}

async fn receives(half: &mut OwnedRecvHalf, mut steps: Vec<Read>) -> usize {
    // Should all of them be of the kind that does not wait.
    steps.push(Read::Some(1));
    let wide: Vec<Read> = steps.iter().map(Read::widened).collect();
    let mut at = 0;
    for step in steps.iter().cycle().take(STEPS).chain(wide.iter().cycle()) {
        if let Some(bytes) = receive_step(half, step).await {
            if bytes.is_empty() {
                break;
            }
            assert_pattern(at, &bytes);
            at += bytes.len();
        }
    }
    at
}

/// Runs one side; returns how much it has sent and received, and what keeps its stream, if something must: a
/// send whose future was dropped is cancelled with the last handle, unlike bytes that a write has taken.
async fn run(stream: TcpStream, side: Side) -> (usize, usize, Option<OwnedRecvHalf>) {
    let (mut receiver, sender) = stream.into_split();
    let keeps = side.writes.iter().any(|step| matches!(step, Write::SendDropped(_)));
    let sends = sends(sender, side.writes, side.end);
    let receives = async move {
        let received = receives(&mut receiver, side.reads).await;
        (received, keeps.then_some(receiver))
    };
    if side.on_cores {
        let (sends, receives) = (ringwork::spawn(sends), ringwork::spawn(receives));
        let (received, kept) = receives.await.unwrap();
        (sends.await.unwrap(), received, kept)
    } else {
        let (sent, (received, kept)) = futures_lite::future::zip(sends, receives).await;
        (sent, received, kept)
    }
}

fn connect(one: &Side, other: &Side) -> (TcpStream, TcpStream) {
    let (a, b) = std_pair();
    for (stream, side) in [(&a, one), (&b, other)] {
        if let Some(bytes) = side.socket_buffer {
            let socket = socket2::SockRef::from(stream);
            socket.set_send_buffer_size(bytes).unwrap();
        }
    }
    (TcpStream::from_std(a).unwrap(), TcpStream::from_std(b).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        max_shrink_time: SHRINKING,
        ..ProptestConfig::default()
    })]

    #[test]
    fn exactly_the_bytes_sent_arrive_in_order(one in side(), other in side()) {
        within(LIMIT, move || RUNTIME.block_on(async move {
            let (a, b) = connect(&one, &other);
            let ((sent, got, _one), (sent_back, got_back, _other)) =
                futures_lite::future::zip(run(a, one), run(b, other)).await;
            assert_eq!((sent, sent_back), (got_back, got));
        }));
    }
}
