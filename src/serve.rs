//! L6: one listener per core, one task per connection.
//!
//! Owns binding (a port in use is an error although the cores share it), the accept loops, and the orderly
//! end: each listener is drained before it closes, so that no connection the kernel had completed is reset.
#![forbid(unsafe_code)]

use crate::base::guard::contained;
use crate::net::{ListenOptions, TcpListener, TcpStream};
use crate::runtime::{self, Handle};
use crate::task::JoinHandle;
use crate::time::{sleep, timeout};
use pin_project_lite::pin_project;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How long a core waits after an accept that failed for a reason of the system's.
const RETRY: Duration = Duration::from_millis(50);

/// How to serve. See [`serve_per_core`] for the short form.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `start`"]
pub struct Serve {
    address: SocketAddr,
    options: ListenOptions,
}

impl Serve {
    /// Serves `address` with a listener on every core. Port 0 picks a free one.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, options: ListenOptions::new() }
    }

    /// How each core listens.
    pub fn options(mut self, options: ListenOptions) -> Self {
        self.options = options;
        self
    }

    /// Binds all listeners and starts accepting. On every core `make` makes a handler once, and the handler
    /// makes a future for each connection; neither leaves its core, so both may hold `Rc`s.
    ///
    /// # Errors
    /// EADDRINUSE if anybody else has the port (checked before the cores share it), and the kernel's.
    ///
    /// # Panics
    /// If this thread is in no runtime.
    pub async fn start_local<M, H, Fut>(self, make: M) -> io::Result<Server>
    where
        M: Fn() -> H + Clone + Send + 'static,
        H: Fn(TcpStream, SocketAddr) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let spawner = move || {
            let handler = make();
            move |stream, peer, live: Live| {
                // A handler that panics before it has made a future ends one connection, not the accepting.
                contained(|| drop(runtime::spawn_local(live.guard(handler(stream, peer)))));
            }
        };
        self.start_with(spawner).await
    }

    /// As [`Serve::start_local`], with connections as tasks that may move to an idle core.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn start<H, Fut>(self, handler: H) -> io::Result<Server>
    where
        H: Fn(TcpStream, SocketAddr) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let spawner = move || {
            let handler = handler.clone();
            move |stream, peer, live: Live| {
                contained(|| drop(runtime::spawn(live.guard(handler(stream, peer)))));
            }
        };
        self.start_with(spawner).await
    }

    async fn start_with<M, S>(self, make: M) -> io::Result<Server>
    where
        M: Fn() -> S + Clone + Send + 'static,
        S: Fn(TcpStream, SocketAddr, Live) + 'static,
    {
        let handle = Handle::current();
        let listeners = self.bind(handle.cores())?;
        let address = listeners[0].local_addr()?;
        let state = Arc::new(State::default());
        let mut loops = Vec::new();
        for (core, listener) in listeners.into_iter().enumerate() {
            let (make, state) = (make.clone(), Arc::clone(&state));
            loops.push(handle.spawn_on(core, move || accept_loop(listener, make(), state)));
        }
        Ok(Server { address, state, loops })
    }

    /// A listener per core. The first binding is made without sharing the port, so that a port in use is an
    /// error.
    fn bind(&self, cores: usize) -> io::Result<Vec<TcpListener>> {
        let exclusive = self.options.clone().reuse_port(false);
        if cores == 1 {
            return Ok(vec![exclusive.bind_now(self.address)?]);
        }
        let address = exclusive.probe(self.address)?;
        let shared = self.options.clone().reuse_port(true);
        (0..cores).map(|_| shared.bind_now(address)).collect()
    }
}

/// Serves `address` with a listener on every core and a task, which may move to an idle core, for each
/// connection.
///
/// # Errors
/// As [`Serve::start`].
///
/// # Panics
/// As [`Serve::start`].
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// let server = ringwork::serve_per_core("127.0.0.1:0".parse().unwrap(), |stream, _peer| async move {
///     let _ = stream.send_all("hello\n").await;
/// })
/// .await?;
/// let client = ringwork::net::TcpStream::connect(server.local_addr()).await?;
/// assert_eq!(&client.recv_pooled().await?[..], b"hello\n");
/// assert!(server.stop(std::time::Duration::from_secs(1)).await);
/// # Ok(())
/// # }
/// ```
pub async fn serve_per_core<H, Fut>(address: SocketAddr, handler: H) -> io::Result<Server>
where
    H: Fn(TcpStream, SocketAddr) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    Serve::new(address).start(handler).await
}

/// What the accept loops, the connections and the server share.
#[derive(Default)]
struct State {
    stopping: AtomicBool,
    live: AtomicUsize,
    waiting: Mutex<Vec<Waker>>,
}

impl State {
    fn wait(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until the server is told to stop.
    async fn stopping(&self) {
        poll_fn(|cx| {
            self.wait(cx.waker());
            if self.stopping.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits until no connection is live.
    async fn idle(&self) {
        poll_fn(|cx| {
            self.wait(cx.waker());
            if self.live.load(Ordering::SeqCst) == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Counts one connection for as long as its future lives.
struct Live(Arc<State>);

impl Live {
    fn new(state: &Arc<State>) -> Self {
        state.live.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(state))
    }

    fn guard<F: Future<Output = ()>>(self, connection: F) -> Counted<F> {
        Counted { connection, live: self }
    }
}

pin_project! {
    /// A connection's future and its place in the count, side by side: an `async fn` would keep room for the
    /// future twice, as its argument and as what it awaits.
    struct Counted<F> {
        #[pin]
        connection: F,
        live: Live,
    }
}

impl<F: Future<Output = ()>> Future for Counted<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().connection.poll(cx)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.0.live.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.stopping.load(Ordering::SeqCst) {
            self.0.wake();
        }
    }
}

async fn accept_loop<S>(listener: TcpListener, start: S, state: Arc<State>) -> io::Result<()>
where
    S: Fn(TcpStream, SocketAddr, Live),
{
    let mut stopping = pin!(state.stopping());
    loop {
        let mut accept = pin!(listener.accept());
        let accepted = poll_fn(|cx| match stopping.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => accept.as_mut().poll(cx).map(Some),
        });
        match accepted.await {
            Some(Ok((stream, peer))) => start(stream, peer, Live::new(&state)),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotConnected => return Err(error),
            // The socket itself is well; whatever it was may pass.
            Some(Err(_)) => sleep(RETRY).await,
            None => break,
        }
    }
    for stream in listener.drain().await? {
        if let Ok(peer) = stream.peer_addr() {
            start(stream, peer, Live::new(&state));
        }
    }
    Ok(())
}

/// A server that accepts on every core. Dropping it does not stop it.
#[must_use = "a server goes on until it is stopped; keep it to stop it"]
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
    loops: Vec<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// The address served.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Connections whose handlers are running.
    pub fn connections(&self) -> usize {
        self.state.live.load(Ordering::SeqCst)
    }

    /// Stops accepting, serves what the kernel had accepted, closes the listeners, and waits until all
    /// handlers are done or `patience` is over. Returns whether all were done.
    pub async fn stop(self, patience: Duration) -> bool {
        self.state.stopping.store(true, Ordering::SeqCst);
        self.state.wake();
        let ended = async {
            for accepting in self.loops {
                let _ = accepting.await;
            }
            self.state.idle().await;
        };
        timeout(patience, ended).await.is_ok()
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("connections", &self.connections())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_a_connection_does_not_double_its_memory() {
        let connection = async {
            let bytes = [0u8; 1000];
            std::future::pending::<()>().await;
            std::hint::black_box(&bytes);
        };
        let alone = size_of_val(&connection);
        let counted = Live::new(&Arc::default()).guard(connection);
        assert!(size_of_val(&counted) <= alone + 16);
    }
}
