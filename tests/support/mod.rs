//! What the network tests share: a time limit, a seed, levels that must return to their start, connected
//! pairs.
//!
//! Owns no assertion about the runtime; each test says itself what must be true.
#![allow(dead_code)]

use ringwork::CoreMetrics;
use ringwork::buf::PooledBuf;
use ringwork::net::{TcpListener, TcpStream, UnixStream};
use ringwork::runtime::{Builder, Handle, Pin, Runtime};
use ringwork::time::sleep;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::channel;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a slow machine, short enough for one who waits.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Runs `test` on a thread of its own and fails if it has not ended within `limit`.
pub(crate) fn within<T: Send + 'static>(limit: Duration, test: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, ended) = channel();
    let name = thread::current().name().unwrap_or("test").to_owned();
    let body = thread::Builder::new().name(name).spawn(move || {
        let output = test();
        let _ = done.send(());
        output
    });
    let body = body.expect("the system has a thread for the test");
    match ended.recv_timeout(limit) {
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("the test did not end within {limit:?}"),
        _ => body.join().unwrap_or_else(|panic| resume_unwind(panic)),
    }
}

/// As [`within`], with a runtime of `cores` cores that drives the future from the calling thread.
pub(crate) fn on_cores<F>(cores: usize, test: impl FnOnce(Handle) -> F + Send + 'static)
where
    F: Future<Output = ()>,
{
    within(LIMIT, move || {
        let runtime = runtime(cores);
        let handle = runtime.handle().clone();
        runtime.block_on(test(handle));
        let report = runtime.shutdown_timeout(Duration::from_secs(20));
        assert!(report.is_clean(), "{report}");
    });
}

/// Runs the test on a core, and once more on a thread that is none.
pub(crate) fn everywhere<F>(test: impl Fn(Handle) -> F + Copy + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    on_cores(1, test);
    on_cores(1, move |handle| async move {
        let inside = handle.clone();
        handle.spawn_on(0, move || test(inside)).await.unwrap();
    });
}

/// An unpinned runtime.
pub(crate) fn runtime(cores: usize) -> Runtime {
    Builder::new().cores(cores).pin(Pin::Off).build().expect("a runtime starts here")
}

/// Lets one test at a time count what the whole process has.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // Its descriptor is there from the start.
    shared_listener();
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A xorshift generator. The seed of a failed run is printed; `RINGWORK_TEST_SEED` sets it.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator whose seed is announced (the harness shows it if the test fails).
    pub(crate) fn announced() -> Self {
        let given = std::env::var("RINGWORK_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = given.unwrap_or_else(|| clock.map_or(1, |now| now.as_nanos() as u64)) | 1;
        println!("RINGWORK_TEST_SEED={seed} repeats this run");
        Self(seed)
    }

    /// A generator of its own for one task.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next() | 1)
    }

    /// A generator with this seed.
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A seed made of this generator's and `more`.
    pub(crate) fn mixed(&self, more: u64) -> u64 {
        self.0 ^ more.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    pub(crate) fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

/// What must return to its start when all is over.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Levels {
    pub(crate) descriptors: usize,
    pub(crate) tasks: u64,
    pub(crate) in_flight: u64,
    pub(crate) buffers_out: u64,
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { descriptors, tasks, in_flight, buffers_out } = self;
        write!(f, "{descriptors} descriptors, {tasks} tasks, {in_flight} ops, {buffers_out} buffers out")
    }
}

/// Descriptors this process has open, but for the pipes of `forward_to`: threads keep some.
pub(crate) fn descriptors() -> usize {
    all_and_forwarding().0
}

/// Ends of the pipes of `forward_to` that this process has open.
pub(crate) fn forwarding_pipes() -> usize {
    all_and_forwarding().1
}

fn all_and_forwarding() -> (usize, usize) {
    let open = std::fs::read_dir("/proc/self/fd").expect("proc is mounted").flatten();
    let numbers = open.filter_map(|fd| fd.file_name().to_str()?.parse::<i32>().ok());
    // No other pipe is that large.
    // SAFETY: asks for a number; a descriptor that is gone, or is no pipe, answers -1.
    let is_large = |fd: &i32| unsafe { libc::fcntl(*fd, libc::F_GETPIPE_SZ) } >= 256 << 10;
    let (forwarding, others): (Vec<_>, Vec<_>) = numbers.partition(is_large);
    (others.len(), forwarding.len())
}

/// Waits until there are no pipes left but those that this thread, or another one, may keep: two.
pub(crate) fn forwarding_pipes_go() {
    let until = Instant::now() + Duration::from_secs(10);
    while forwarding_pipes() > 4 {
        assert!(Instant::now() < until, "{} ends of pipes are left", forwarding_pipes());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Provided buffers of a core that somebody has.
pub(crate) fn buffers_out(core: &CoreMetrics) -> u64 {
    core.pool_buffers + core.pool_large_buffers - core.pool_available - core.pool_large_available
}

impl Levels {
    /// The levels now, as each core last published them.
    pub(crate) fn now(handle: &Handle) -> Self {
        let cores = handle.metrics().cores;
        Self {
            descriptors: descriptors(),
            tasks: cores.iter().map(|core| core.tasks).sum(),
            in_flight: cores.iter().map(|core| core.in_flight).sum(),
            buffers_out: cores.iter().map(buffers_out).sum(),
        }
    }

    /// The levels of a runtime that has nothing to do.
    pub(crate) async fn at_start(handle: &Handle) -> Self {
        touch(handle).await;
        Self { descriptors: descriptors(), tasks: 0, in_flight: 0, buffers_out: 0 }
    }

    /// The levels of a runtime whose servers wait for somebody to connect.
    pub(crate) async fn of_idle_servers(handle: &Handle) -> Self {
        touch(handle).await;
        touch(handle).await;
        Self::now(handle)
    }

    /// Waits until the levels are these again. A level sinks when a core has seen the last completion, which
    /// is an event of the kernel: it is asked for again and again, for a bounded time.
    pub(crate) async fn return_on(&self, handle: &Handle) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            touch(handle).await;
            let now = Self::now(handle);
            if now == *self {
                return;
            }
            assert!(Instant::now() < until, "levels at the start: {self:?}; they stay at: {now:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Makes every core turn, so that it publishes its levels and takes returned buffers.
async fn touch(handle: &Handle) {
    for core in 0..handle.cores() {
        for _ in 0..2 {
            handle.spawn_on(core, || async {}).await.expect("the core runs");
        }
    }
}

/// Runs `body` in a forked child; the child's exit code.
pub(crate) fn in_child(body: impl FnOnce()) -> i32 {
    // SAFETY: the child runs `body` on this one thread and leaves by `_exit`; the test is alone in its
    // process, and should another thread hold the allocator's lock just then, the alarm ends the child.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        // SAFETY: a system call without memory.
        unsafe { libc::alarm(10) };
        let code = i32::from(catch_unwind(AssertUnwindSafe(body)).is_err());
        // SAFETY: leaves without running anything of the parent's.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: waits for our own child into a local.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(!libc::WIFSIGNALED(status), "the child was killed by signal {}", libc::WTERMSIG(status));
    libc::WEXITSTATUS(status)
}

/// A listener on a free port of the loopback.
pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a port");
    let address = listener.local_addr().expect("a bound socket has an address");
    (listener, address)
}

/// Two ends of one connection.
pub(crate) async fn pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listen().await;
    let one = TcpStream::connect(address).await.expect("the listener is there");
    let (other, peer) = listener.accept().await.expect("a connection waits");
    assert_eq!(peer, one.local_addr().unwrap());
    (one, other)
}

/// A stream and its peer as a plain blocking socket.
pub(crate) fn half_std_pair() -> (TcpStream, std::net::TcpStream) {
    let (one, other) = std_pair();
    (TcpStream::from_std(one).unwrap(), other)
}

/// Two plain blocking ends of one connection.
pub(crate) fn std_pair() -> (std::net::TcpStream, std::net::TcpStream) {
    let listener = shared_listener().lock().unwrap_or_else(PoisonError::into_inner);
    let one = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, peer) = listener.accept().unwrap();
    assert_eq!(peer, one.local_addr().unwrap());
    (one, other)
}

/// One listener for all pairs: finding a free port takes the kernel long while many are in TIME_WAIT.
fn shared_listener() -> &'static Mutex<std::net::TcpListener> {
    static LISTENER: LazyLock<Mutex<std::net::TcpListener>> = LazyLock::new(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("the loopback has a port");
        Mutex::new(listener)
    });
    &LISTENER
}

/// Bytes that tell their position: no two aligned 8-byte words of one stream are equal.
pub(crate) fn pattern(from: usize, len: usize) -> Vec<u8> {
    let words = from / 8..(from + len).div_ceil(8);
    let mut bytes = Vec::with_capacity(words.len() * 8);
    for word in words {
        let word = (word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(from % 8 + len);
    bytes.drain(..from % 8);
    bytes
}

/// Checks that `bytes` is the pattern from `from` on.
pub(crate) fn assert_pattern(from: usize, bytes: &[u8]) {
    let expected = pattern(from, bytes.len());
    if expected != bytes {
        let at = (0..bytes.len()).find(|&at| expected[at] != bytes[at]).expect("one differs");
        panic!("byte {} of the stream is {:#x}, not {:#x}", from + at, bytes[at], expected[at]);
    }
}

/// Bytes of a buffer for messages: more in one are in a large buffer.
pub(crate) const SMALL: usize = 8 << 10;
/// Bytes of which a stream learns that they come in bulk.
pub(crate) const FLOOD: usize = 512 << 10;

/// A stream that has come to receive in bulk, with nothing unread.
pub(crate) async fn in_bulk() -> (TcpStream, std::net::TcpStream) {
    let (stream, peer) = half_std_pair();
    flood(async || stream.recv_pooled().await, || peer.try_clone()).await;
    (stream, peer)
}

/// The same over a Unix socket.
pub(crate) async fn unix_in_bulk() -> (UnixStream, std::os::unix::net::UnixStream) {
    let (one, peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let stream = UnixStream::from_std(one).unwrap();
    flood(async || stream.recv_pooled().await, || peer.try_clone()).await;
    (stream, peer)
}

/// Has a stream come to receive in bulk.
async fn flood<W: Write + Send + 'static>(
    next: impl AsyncFn() -> io::Result<PooledBuf>,
    writer: impl Fn() -> io::Result<W>,
) {
    while take(&next, writer().unwrap(), FLOOD).await <= SMALL {}
    // However the flood ended, after these the socket is known to be empty.
    for _ in 0..2 {
        take(&next, writer().unwrap(), 2 * SMALL).await;
    }
}

/// Receives what is written, and says how long the longest buffer was.
async fn take(
    next: &impl AsyncFn() -> io::Result<PooledBuf>,
    mut writer: impl Write + Send + 'static,
    bytes: usize,
) -> usize {
    let writing = thread::spawn(move || writer.write_all(&pattern(0, bytes)).unwrap());
    let (mut at, mut longest) = (0, 0);
    while at < bytes {
        let buf = next().await.unwrap();
        assert_pattern(at, &buf);
        at += buf.len();
        longest = longest.max(buf.len());
    }
    writing.join().unwrap();
    longest
}
