//! What the runtime's tests share: time limits, processes of their own, events, and what the
//! kernel says about this process.
//!
//! A binary of `tests/` declares this module and uses a part of it. It is no test framework: a
//! test that must be alone in its process runs itself again, one that may hang runs on a thread
//! that is waited for.
#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod process;
pub(crate) mod seccomp;

use ringwork::runtime::{Builder, Pin, Runtime};
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any correct run takes on a busy machine; what is not done by then hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A runtime whose cores are not pinned, so that tests that run at once do not share one CPU.
pub(crate) fn runtime(cores: usize) -> Runtime {
    Builder::new().cores(cores).pin(Pin::Off).build().expect("a runtime starts")
}

/// Runs `body` on a thread of its own and fails if it does not return.
#[track_caller]
pub(crate) fn within<T: Send + 'static>(limit: Duration, body: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, answer) = channel();
    let runner = thread::spawn(move || {
        let value = body();
        let _ = done.send(());
        value
    });
    match answer.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => panic!("hangs: not done after {limit:?}"),
        // Without an answer it has panicked, and the join says how.
        _ => runner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// Runs `body` with [`PATIENCE`].
#[track_caller]
pub(crate) fn bounded<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    within(PATIENCE, body)
}

/// Waits until `condition` holds: for what no handle tells.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Something that happens once; any number may wait for it, on any executor or thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Event(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Event {
    /// It has happened.
    pub(crate) fn set(&self) {
        let wakers = {
            let mut state = self.0.lock().unwrap();
            state.0 = true;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.lock().unwrap().0
    }

    pub(crate) fn wait(&self) -> impl Future<Output = ()> + Send + Unpin + use<> {
        let event = self.clone();
        poll_fn(move |cx| {
            let mut state = event.0.lock().unwrap();
            if state.0 {
                return Poll::Ready(());
            }
            if !state.1.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.1.push(cx.waker().clone());
            }
            Poll::Pending
        })
    }

    /// Blocks the thread until it has happened.
    #[track_caller]
    pub(crate) fn wait_blocking(&self) {
        wait_for("an event", || self.is_set());
    }
}

/// Acts when it is dropped.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A folder of its own for one test, removed with all in it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("ringwork-{}-{number}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // Left by a process of the same number that was killed.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file with these bytes.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, bytes).expect("the folder takes files");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Polls `future` once with the waker of the task that awaits this.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx))).await
}

/// A std server that sends back what it gets, one thread per connection, until the client closes.
pub(crate) fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            thread::spawn(move || echo(stream));
        }
    });
    address
}

fn echo(mut stream: TcpStream) {
    let mut buf = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut buf) {
        if stream.write_all(&buf[..n]).is_err() {
            return;
        }
    }
}

/// Sends `message` over a new connection to an echo server and checks the answer.
pub(crate) async fn talk(address: SocketAddr, message: &'static str) -> std::io::Result<()> {
    let stream = ringwork::net::TcpStream::connect(address).await?;
    stream.send_all(message).await.0?;
    let (received, buf) = stream.recv_exact(Vec::with_capacity(message.len())).await;
    received?;
    assert_eq!(buf, message.as_bytes());
    Ok(())
}
