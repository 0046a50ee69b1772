//! All that openraft asks of an async runtime, answered by ringwork.
//!
//! Owns [`RingworkRuntime`]. Tasks are `Send`, and ringwork may move them to an idle core, because every
//! handle of ours is `Send + Sync`. openraft's `single-threaded` mode is not served: there a task stays on
//! the thread that spawns it, and the thread that waits in `block_on` is no core. Channels and the mutex are
//! those of openraft's adapter for tokio: wrappers of `tokio::sync`, which runs on any executor. None of
//! tokio's runtime is started.
#![forbid(unsafe_code)]

mod instant;

pub use instant::RingworkInstant;

use openraft::AsyncRuntime;
use openraft_rt::OptionalSend;
use openraft_rt_tokio::{TokioMpsc, TokioMutex, TokioOneshot, TokioWatch};
use rand::rngs::ThreadRng;
use ringwork::runtime::{Builder, Pin, Runtime};
use ringwork::task::{JoinError, JoinHandle};
use ringwork::time::{self, Duration, Sleep, Timeout};
use std::io;

/// ringwork for openraft: the `AsyncRuntime` of a type config.
///
/// openraft uses only the associated functions, from within whatever runtime the program has built. The value
/// is for openraft's own tests, and for programs that have no `#[ringwork::main]`.
///
/// ```
/// use openraft::AsyncRuntime;
/// use ringwork::runtime::Builder;
/// use ringwork_openraft::runtime::RingworkRuntime;
///
/// let mut runtime = RingworkRuntime::from(Builder::new().cores(1).build()?);
/// let answer = runtime.block_on(async { RingworkRuntime::spawn(async { 42 }).await });
/// assert_eq!(answer.unwrap(), 42);
/// # Ok::<(), ringwork::runtime::StartError>(())
/// ```
#[derive(Debug)]
pub struct RingworkRuntime(Runtime);

impl From<Runtime> for RingworkRuntime {
    fn from(runtime: Runtime) -> Self {
        Self(runtime)
    }
}

impl AsyncRuntime for RingworkRuntime {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = RingworkInstant;
    type TimeoutError = time::error::Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = ThreadRng;
    type Mpsc = TokioMpsc;
    type Watch = TokioWatch;
    type Oneshot = TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = TokioMutex<T>;

    #[track_caller]
    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        ringwork::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        time::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        time::sleep_until(deadline.into())
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        time::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        time::timeout_at(deadline.into(), future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        join_error.is_panic()
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        rand::rng()
    }

    /// A runtime with `threads` cores, which are not pinned: the number is the caller's, who may ask for more
    /// than there are CPUs.
    ///
    /// # Panics
    /// If no runtime can be started; the message says why.
    fn new(threads: usize) -> Self {
        match Builder::new().cores(threads).pin(Pin::Off).build() {
            Ok(runtime) => Self(runtime),
            Err(error) => panic!("{error}"),
        }
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    /// Runs on ringwork's blocking pool instead of on a thread per call.
    ///
    /// # Panics
    /// If this thread is in no runtime.
    fn spawn_blocking<F, T>(call: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let job = ringwork::spawn_blocking(call);
        async { job.await.map_err(io::Error::from) }
    }
}
