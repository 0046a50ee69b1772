//! L6: one address, served by every core; one task per connection.
//!
//! Owns binding (a port in use is an error although the cores share it), what a server is told, and the
//! pieces below: where connections go ([`Balance`]), the loops of a core, the orderly end: each listener is
//! drained before it closes, so that no connection the kernel had completed is reset.
#![forbid(unsafe_code)]

mod accept;
mod balance;
mod mailbox;
mod rescue;
mod server;
mod state;

pub use balance::Balance;
pub use server::Server;

use crate::base::guard::contained;
use crate::net::{ListenOptions, TcpListener, TcpStream};
use crate::runtime::Handle;
use crate::sched::spawn_local_here;
use accept::{Duties, Seat, Start, serve_core};
use rescue::Listener;
use state::{Duty, Live, State};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::sync::Arc;

/// What is served.
#[derive(Clone, Debug)]
enum On {
    Address(SocketAddr),
    Listener(Arc<std::net::TcpListener>),
}

/// How to serve. See [`serve_per_core`] for the short form.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `start`"]
pub struct Serve {
    on: On,
    options: ListenOptions,
    balance: Balance,
    /// Where the server is described: what its tasks say when somebody asks where they come from.
    at: &'static Location<'static>,
}

impl Serve {
    /// Serves `address` on every core, [`Balance::Nearest`] unless told otherwise. Port 0 picks a free one.
    #[track_caller]
    pub fn new(address: SocketAddr) -> Self {
        Self::on(On::Address(address), Location::caller())
    }

    /// Serves a socket that listens already: one that was handed over by the parent process, or bound before
    /// privileges were dropped. One socket has one queue, so [`Balance::LeastLoaded`] holds whatever is asked
    /// for. The backlog stays as it was; a limit of connections holds. The socket is put into blocking mode,
    /// for all who share it. At the end what the kernel has accepted and nobody has taken is left to those
    /// who hold the socket, too; if nobody does, it is reset. When one of them shuts the socket down,
    /// accepting ends.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() -> std::io::Result<()> {
    /// let bound = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let server = ringwork::Serve::listener(bound)
    ///     .start(|stream, _peer| async move { drop(stream.send_all("hello\n").await) })
    ///     .await?;
    /// let client = ringwork::net::TcpStream::connect(server.local_addr()).await?;
    /// assert_eq!(&client.recv_pooled().await?[..], b"hello\n");
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn listener(listener: std::net::TcpListener) -> Self {
        Self::on(On::Listener(Arc::new(listener)), Location::caller())
    }

    fn on(on: On, at: &'static Location<'static>) -> Self {
        Self { on, options: ListenOptions::new(), balance: Balance::default(), at }
    }

    /// Its tasks say that they come from here.
    #[cfg(feature = "tower")]
    pub(crate) fn described_at(mut self, at: &'static Location<'static>) -> Self {
        self.at = at;
        self
    }

    /// How each listener listens, and who is told when it cannot accept ([`ListenOptions::on_accept_error`]).
    /// A limit of connections holds for each core under [`Balance::Kernel`], so many times as there are cores
    /// for all together under [`Balance::Nearest`], where one core may accept all, and for the server under
    /// [`Balance::LeastLoaded`].
    ///
    /// The cores share the port in any case; [`ListenOptions::reuse_port`] lets others share it with them: a
    /// server that takes over from this one, say, in another process of the same user. Connections are spread
    /// over all of their sockets.
    pub fn options(mut self, options: ListenOptions) -> Self {
        self.options = options;
        self
    }

    /// How connections are spread over the cores.
    ///
    /// Whichever it is, connections that come for a core that is stuck in a poll are accepted and served by
    /// another one, unless the runtime never steals ([`Steal::Never`](crate::runtime::Steal::Never)).
    pub fn balance(mut self, balance: Balance) -> Self {
        self.balance = balance;
        self
    }

    /// Binds all listeners and starts accepting. On every core `make` makes a handler once, and the handler
    /// makes a future for each connection placed there; neither leaves its core, so both may hold `Rc`s.
    ///
    /// A `make` that panics is a task of that core that does
    /// ([`PanicPolicy`](crate::runtime::PanicPolicy)): the core accepts nothing then, and its listener, which
    /// may be the only one, is closed.
    ///
    /// # Errors
    /// EADDRINUSE if anybody else has the port, but for those who share it as [`options`](Self::options)
    /// says; of two servers that begin at the same time, one gets the port at most. And the kernel's.
    ///
    /// # Panics
    /// If this thread is in no runtime.
    pub async fn start_local<M, H, Fut>(self, make: M) -> io::Result<Server>
    where
        M: Fn() -> H + Clone + Send + 'static,
        H: Fn(TcpStream, SocketAddr) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let at = self.at;
        let starter = move |_: &Handle| {
            let handler = make();
            move |_core, stream, peer, live: Live| {
                // A handler that panics before it has made a future ends one connection, not the accepting.
                contained(|| drop(spawn_local_here(live.guard(handler(stream, peer)), at)));
            }
        };
        let by_mail = self.spread() != Balance::Kernel;
        self.start_with(starter, by_mail)
    }

    /// As [`Serve::start_local`], with connections as tasks that may move to an idle core from where they
    /// were placed.
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
        let at = self.at;
        let starter = move |runtime: &Handle| {
            let (handler, runtime) = (handler.clone(), runtime.clone());
            move |core, stream, peer, live: Live| {
                contained(|| drop(runtime.spawn_at(core, live.guard(handler(stream, peer)), at)));
            }
        };
        self.start_with(starter, false)
    }

    fn start_with<M, S>(self, make: M, by_mail: bool) -> io::Result<Server>
    where
        M: Fn(&Handle) -> S + Clone + Send + 'static,
        S: Start,
    {
        let runtime = Handle::current();
        let listeners = self.bind(&runtime)?;
        let address = listeners[0].local_addr()?;
        let beside = |(home, listener): (usize, &TcpListener)| Listener { home, beside: listener.beside() };
        let all: Arc<[Listener]> = listeners.iter().enumerate().map(beside).collect();
        let state = Arc::new(State::new(runtime.clone(), self.spread(), by_mail));
        let mut listeners = listeners.into_iter();
        // All duties are taken on before the first core begins: no count comes to zero too soon.
        let duties = |core| Duties {
            accept: listeners.next().map(|listener| (listener, state.take_on(Duty::Accept))),
            help: runtime.knows_the_stuck().then(|| state.take_on(Duty::Help)),
            mail: by_mail.then(|| state.take_on(Duty::Mail(core))),
            listeners: Arc::clone(&all),
        };
        let duties: Vec<Duties> = (0..runtime.cores()).map(duties).collect();
        let mut loops = Vec::new();
        for (core, duties) in duties.into_iter().enumerate() {
            let (make, state) = (make.clone(), Arc::clone(&state));
            let serving = move || {
                let start = make(&Handle::current());
                serve_core(Seat { core, start, state }, duties)
            };
            loops.push(runtime.spawn_on_at(core, serving, self.at));
        }
        Ok(Server { address, state, loops })
    }

    /// How connections are spread: what comes from one socket is placed.
    fn spread(&self) -> Balance {
        match self.on {
            On::Address(_) => self.balance,
            On::Listener(_) => Balance::LeastLoaded,
        }
    }

    /// One listener, or one per core. The first one listens before it shares its port, unless that is asked
    /// for, so that a port in use is an error: whoever else has tried to get it meanwhile finds it listening.
    fn bind(&self, runtime: &Handle) -> io::Result<Vec<TcpListener>> {
        let address = match &self.on {
            On::Address(address) => *address,
            On::Listener(listener) => return Ok(vec![self.options.from_std(listener.try_clone()?)?]),
        };
        let cores = runtime.cores();
        if cores == 1 || self.balance == Balance::LeastLoaded {
            return Ok(vec![self.options.bind_now(address)?]);
        }
        let together = self.options.permits(cores);
        let one = |core, options: &ListenOptions, address| {
            let permits =
                if self.balance == Balance::Nearest { together.clone() } else { options.permits(1) };
            let listener = options.bind_with(address, permits)?;
            if let (Balance::Nearest, Some(cpu)) = (self.balance, runtime.cpu_of(core)) {
                // A kernel that does not know it goes by the hash.
                let _ = listener.socket().set_cpu_affinity(cpu);
            }
            Ok(listener)
        };
        let first = one(0, &self.options, address)?;
        // The kernel has listeners in common where both have said so, whenever that was.
        first.socket().set_reuse_port(true)?;
        let (address, shared) = (first.local_addr()?, self.options.clone().reuse_port(true));
        let others = (1..cores).map(|core| one(core, &shared, address));
        std::iter::once(Ok(first)).chain(others).collect()
    }
}

/// As [`Serve::new`].
impl From<SocketAddr> for Serve {
    #[track_caller]
    fn from(address: SocketAddr) -> Self {
        Self::new(address)
    }
}

/// As [`Serve::listener`].
impl From<std::net::TcpListener> for Serve {
    #[track_caller]
    fn from(listener: std::net::TcpListener) -> Self {
        Self::listener(listener)
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
#[track_caller]
pub fn serve_per_core<H, Fut>(
    address: SocketAddr,
    handler: H,
) -> impl Future<Output = io::Result<Server>> + use<H, Fut>
where
    H: Fn(TcpStream, SocketAddr) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    Serve::new(address).start(handler)
}
