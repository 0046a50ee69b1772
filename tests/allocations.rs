//! An op in steady state allocates nothing: a core's calls of the allocator are counted while it does a
//! thousand of each.
//!
//! Owns the number that design.md names: none, for reads, writes, sends, receives and what a core does
//! between them. Only the calls of the core's own thread count, between two moments at which its task is
//! polled; what is cold (the first ops, full-grown queues) happens before. Buffers are the caller's and used
//! again, or the core's own.

#[path = "kit/mod.rs"]
mod kit;

use kit::bounded;
use ringwork::buf::SpareBuf;
use ringwork::fs::{File, OpenOptions};
use ringwork::net::TcpStream;
use ringwork::runtime::{Builder, Pin};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Ops that are not counted.
const WARM_UP: usize = 200;
/// Ops that are.
const COUNTED: usize = 1_000;
/// Bytes of a message.
const MESSAGE: usize = 64;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting the calls of each thread.
struct Counting;

fn count() {
    // A thread that is going down has nothing to count any more.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: all is passed on to the system's allocator; counting touches a thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread calls the allocator while `COUNTED` ops are awaited one after the other.
async fn calls_during<S>(state: S, op: impl AsyncFn(S) -> S) -> usize {
    let mut state = state;
    for _ in 0..WARM_UP {
        state = op(state).await;
    }
    let before = CALLS.get();
    for _ in 0..COUNTED {
        state = op(state).await;
    }
    CALLS.get() - before
}

/// Runs `counts` as a local task of a runtime with one core, and expects no call of the allocator for an op.
/// A list may grow once more after the warm-up, if more ops complete at once than ever before.
fn expect_none<F: Future<Output = usize> + 'static>(what: &str, counts: impl FnOnce() -> F + Send + 'static) {
    let what = what.to_string();
    bounded(move || {
        let runtime = Builder::new().cores(1).pin(Pin::Off).build().expect("a runtime starts");
        let counted = runtime.handle().spawn_on(0, counts);
        let calls = runtime.block_on(counted).expect("the task ends");
        println!("measured: {what}: {calls} calls of the allocator in {COUNTED} ops");
        assert!(calls <= COUNTED / 100, "{what}: {calls} calls in {COUNTED} ops");
    });
}

/// Fills a buffer from a file and empties it.
async fn read(file: &File, buffer: Vec<u8>) -> Vec<u8> {
    let (result, mut buffer) = file.read_at(buffer, 0).await;
    assert_eq!(result.expect("an open file can be read"), 512);
    buffer.clear();
    buffer
}

/// A connection to a thread that sends back what it gets.
fn echoed() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("a connection");
        let mut message = [0; MESSAGE];
        while peer.read_exact(&mut message).is_ok() && peer.write_all(&message).is_ok() {}
    });
    let stream = std::net::TcpStream::connect(address).expect("the thread listens");
    stream.set_nodelay(true).expect("a connected socket");
    TcpStream::from_std(stream).expect("a connected socket")
}

#[test]
fn reading_a_file_into_a_vector_that_is_used_again_allocates_nothing() {
    expect_none("read_at", || async {
        let file = File::open("/proc/self/exe").await.expect("this program is a file");
        file.cached_reads(false);
        calls_during(Vec::with_capacity(512), |buffer| read(&file, buffer)).await
    });
}

#[test]
fn reads_of_many_tasks_at_once_allocate_nothing() {
    expect_none("read_at, 32 tasks", || async {
        let file = Rc::new(File::open("/proc/self/exe").await.expect("this program is a file"));
        file.cached_reads(false);
        let over = Rc::new(Cell::new(false));
        for _ in 1..32 {
            let (file, over) = (Rc::clone(&file), Rc::clone(&over));
            drop(ringwork::spawn_local(async move {
                let mut buffer = Vec::with_capacity(512);
                while !over.get() {
                    buffer = read(&file, buffer).await;
                }
            }));
        }
        let calls = calls_during(Vec::with_capacity(512), |buffer| read(&file, buffer)).await;
        over.set(true);
        calls
    });
}

#[test]
fn writing_a_file_allocates_nothing() {
    expect_none("write_at", || async {
        let path = std::env::temp_dir().join(format!("ringwork-allocations-{}", std::process::id()));
        let options = OpenOptions::new().write(true).create(true);
        let file = options.open(&path).await.expect("the folder takes files");
        std::fs::remove_file(&path).expect("just made");
        let write = async |buffer: Vec<u8>| {
            let (result, buffer) = file.write_at(buffer, 0).await;
            assert_eq!(result.expect("a file can be written"), buffer.len());
            buffer
        };
        calls_during(vec![1; 512], write).await
    });
}

#[test]
fn sending_and_receiving_into_a_vector_allocate_nothing() {
    expect_none("send_all and recv", || async {
        let stream = echoed();
        let exchange = async |message: Vec<u8>| {
            let (sent, mut message) = stream.send_all(message).await;
            sent.expect("the peer reads");
            message.clear();
            while message.len() < MESSAGE {
                let (received, buffer) = stream.recv(message).await;
                assert_ne!(received.expect("the peer answers"), 0);
                message = buffer;
            }
            message
        };
        calls_during(vec![7; MESSAGE], exchange).await
    });
}

#[test]
fn receiving_into_the_cores_buffers_and_sending_them_on_allocates_nothing() {
    expect_none("recv_pooled and send_all", || async {
        let stream = echoed();
        stream.send_all(vec![7; MESSAGE]).await.0.expect("the peer reads");
        let echo = async |()| {
            let message = stream.recv_pooled().await.expect("the peer answers");
            assert!(!message.is_empty() && message.is_from_pool());
            stream.send_all(message).await.0.expect("the peer reads");
        };
        calls_during((), echo).await
    });
}

#[test]
fn sending_off_what_was_received_allocates_nothing() {
    expect_none("recv_pooled and send_off", || async {
        let stream = echoed();
        stream.send_off(vec![7; MESSAGE]).await.expect("the peer reads");
        let echo = async |()| {
            let message = stream.recv_pooled().await.expect("the peer answers");
            assert!(!message.is_empty() && message.is_from_pool());
            stream.send_off(message).await.expect("the peer reads");
        };
        calls_during((), echo).await
    });
}

#[test]
fn sending_off_what_is_made_in_spare_buffers_allocates_nothing() {
    expect_none("SpareBuf and send_off", || async {
        let stream = echoed();
        let exchange = async |()| {
            let mut message = SpareBuf::new();
            message.extend_from_slice(&[7; MESSAGE]);
            stream.send_off(message).await.expect("the peer reads");
            let mut received = 0;
            while received < MESSAGE {
                received += stream.recv_pooled().await.expect("the peer answers").len();
            }
        };
        calls_during((), exchange).await
    });
}

/// Memory of tasks goes round: what ends on a core is what the next task from outside is made from. Who finds
/// the others just at it takes from the allocator, so some calls remain.
#[test]
fn spawning_from_outside_rarely_allocates_in_the_long_run() {
    bounded(|| {
        let runtime = Builder::new().cores(1).pin(Pin::Off).build().expect("a runtime starts");
        let left = Arc::new(AtomicUsize::new(0));
        let burst = |tasks: usize| {
            left.store(tasks, Ordering::Relaxed);
            for _ in 0..tasks {
                let (left, me) = (Arc::clone(&left), thread::current());
                drop(runtime.spawn(async move {
                    if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                        me.unpark();
                    }
                }));
            }
            while left.load(Ordering::Acquire) > 0 {
                thread::park();
            }
        };
        (0..WARM_UP).for_each(|_| burst(32));
        let before = CALLS.get();
        (0..COUNTED).for_each(|_| burst(32));
        let calls = CALLS.get() - before;
        println!("measured: spawn from outside: {calls} calls of the allocator in {} spawns", 32 * COUNTED);
        assert!(calls <= 32 * COUNTED / 5, "{calls} calls in {} spawns", 32 * COUNTED);
    });
}
