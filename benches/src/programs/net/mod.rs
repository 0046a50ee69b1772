//! Servers of TCP: an echo, a proxy, a source of bytes. A peer's file says how its runtime is started and how
//! each connection is served, in the way its own documentation recommends; what is the same for all is here:
//! one thread per core, each pinned, with a runtime and a listener of its own for the same address
//! (SO_REUSEPORT), or one thread alone. None is the main thread, whose heap is another one.

pub(crate) mod compio;
pub(crate) mod compio_managed;
pub(crate) mod epoll;
pub(crate) mod floor;
pub(crate) mod glommio;
pub(crate) mod monoio;
mod pair;
pub(crate) mod ready;
mod relay;
#[cfg(feature = "ringwork")]
pub(crate) mod ringwork;
pub(crate) mod shared;
pub(crate) mod smol;
pub(crate) mod splice;
pub(crate) mod tokio;
pub(crate) mod tokio_multi;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, LazyLock};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::sys::socket::{SockFlag, accept4};
use socket2::{Domain, Protocol, Socket, Type};

use super::questions::announce;
use crate::cpus;
use crate::load::bulk;
use crate::plan::Plan;

/// Connections that wait to be accepted: all of a workload may come at once.
const BACKLOG: i32 = 4096;

/// What becomes of a connection. Programs choose by it once and not in each connection's task, which would be
/// as large as that of the largest job.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Job {
    /// What comes in goes back, through a buffer of that many bytes.
    Echo { buffer: usize },
    /// It goes to a connection to that address and what comes from there goes back.
    Proxy { upstream: SocketAddr, buffer: usize },
    /// The client gets the pattern of `load/bulk.rs` over and over.
    Source,
}

/// A runtime that serves with one thread per core.
pub(crate) trait PerCore: 'static {
    /// Serves the connections of this core until killed.
    fn serve(seat: Seat, job: Job) -> io::Result<()>;
}

/// The echo server of a peer.
pub(crate) fn echo<P: PerCore>(plan: &Plan) -> io::Result<()> {
    serve::<P>(plan, echo_job(plan)?)
}

/// The proxy of a peer.
pub(crate) fn proxy<P: PerCore>(plan: &Plan) -> io::Result<()> {
    serve::<P>(plan, proxy_job(plan)?)
}

/// The source of a peer.
pub(crate) fn source<P: PerCore>(plan: &Plan) -> io::Result<()> {
    serve::<P>(plan, Job::Source)
}

/// The echo server of a peer from seats that are [`Seat::near`]. No peer's documentation says so; it is what
/// any server could do.
pub(crate) fn echo_near<P: PerCore>(plan: &Plan) -> io::Result<()> {
    serve_near::<P>(plan, echo_job(plan)?)
}

/// The proxy of that kind.
pub(crate) fn proxy_near<P: PerCore>(plan: &Plan) -> io::Result<()> {
    serve_near::<P>(plan, proxy_job(plan)?)
}

fn serve<P: PerCore>(plan: &Plan, job: Job) -> io::Result<()> {
    on_each_core(plan, move |seat| P::serve(seat, job))
}

fn serve_near<P: PerCore>(plan: &Plan, job: Job) -> io::Result<()> {
    on_each_core(plan, move |seat| P::serve(seat.near()?, job))
}

fn echo_job(plan: &Plan) -> io::Result<Job> {
    Ok(Job::Echo { buffer: plan.buffer()? })
}

fn proxy_job(plan: &Plan) -> io::Result<Job> {
    Ok(Job::Proxy { upstream: plan.need("upstream")?, buffer: plan.buffer()? })
}

/// What a source sends, from the same memory over every connection.
fn pattern() -> &'static [u8] {
    static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(bulk::pattern);
    &PATTERN
}

/// Starts the threads of a server, each of which is to `serve` from a seat of its own, and ends with the
/// first that ends.
pub(crate) fn on_each_core(
    plan: &Plan,
    serve: impl Fn(Seat) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<()> {
    let cores = plan.cores()?;
    let first = bind(plan.listen()?)?;
    let address = local(&first)?;
    let (waiting, connections) = (Arc::new(AtomicUsize::new(cores)), plan.value_or("connections", 512)?);
    let more = (1..cores).map(|_| bind(address)).collect::<io::Result<Vec<_>>>()?;
    let cpus = plan.cpus()?.unwrap_or_default();
    let (end, ends) = mpsc::channel();
    for (core, socket) in [first].into_iter().chain(more).enumerate() {
        let cpu = cpus.get(core).copied().filter(|_| cores > 1);
        let seat = Seat { socket, cpu, waiting: waiting.clone(), connections };
        let (serve, end) = (serve.clone(), end.clone());
        start(core, move || {
            let serve = || cpu.map_or(Ok(()), |cpu| cpus::pin(&[cpu])).and_then(|()| serve(seat));
            // One that panics ends the server as well.
            let served = catch_unwind(AssertUnwindSafe(serve)).unwrap_or_else(|_| Err(panicked()));
            // Nobody listens any more if another core has ended before.
            let _ = end.send(served);
        })?;
    }
    drop(end);
    ends.recv().unwrap_or_else(|_| Err(panicked()))
}

/// Serves on a thread of its own, as runtimes serve that have threads: the main thread's heap is another one,
/// which gives memory back to the system between two batches of requests.
pub(crate) fn on_a_thread(serve: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    start(0, serve)?.join().map_err(|_| panicked())?
}

fn start<T: Send + 'static>(
    core: usize,
    serve: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(format!("core-{core}")).spawn(serve)
}

fn panicked() -> io::Error {
    io::Error::other("the server panicked")
}

/// A listener with room for every connection of a workload at once.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bind(address)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A connection that waits at a listener that does not block, if one does; it does not block either.
fn accept_waiting(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    loop {
        match accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK) {
            // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
            Ok(fd) => return Ok(Some(unsafe { TcpStream::from_raw_fd(fd) })),
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::ECONNABORTED) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn local(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.ok_or_else(|| io::Error::other("not an address of the internet"))
}

/// The place of one core: an address that is reserved for it, and when all of them listen, that is announced.
pub(crate) struct Seat {
    socket: Socket,
    /// Where it is, if there are others.
    cpu: Option<usize>,
    waiting: Arc<AtomicUsize>,
    /// How many connections the whole server is going to have, if that is known.
    connections: usize,
}

impl Seat {
    /// The address, for a runtime that binds it itself: with SO_REUSEPORT, and then says [`Seat::ready`].
    fn address(&self) -> io::Result<SocketAddr> {
        local(&self.socket)
    }

    /// Somebody listens here now.
    fn ready(&self) -> io::Result<()> {
        if self.waiting.fetch_sub(1, Ordering::AcqRel) == 1 { announce(self.address()?) } else { Ok(()) }
    }

    /// A listener with room for every connection of a workload at once; accepted sockets have no delay, for
    /// they inherit it.
    pub(crate) fn listen(self) -> io::Result<TcpListener> {
        self.socket.set_tcp_nodelay(true)?;
        self.socket.listen(BACKLOG)?;
        self.ready()?;
        Ok(self.socket.into())
    }

    /// The same place, whose listener will ask for the connections whose packets arrive on the CPU of this
    /// core, as far as the kernel can tell. It is for runtimes that listen on this socket.
    fn near(self) -> io::Result<Seat> {
        self.cpu.map_or(Ok(()), |cpu| self.socket.set_cpu_affinity(cpu))?;
        Ok(self)
    }

    /// A listener of that kind: a floor leaves nothing out that any server could do.
    pub(crate) fn listen_near(self) -> io::Result<TcpListener> {
        self.near()?.listen()
    }

    /// A listener that does not block.
    pub(crate) fn listen_without_blocking(self) -> io::Result<TcpListener> {
        let listener = self.listen()?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}
