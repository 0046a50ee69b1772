//! The programs that are compared, one file each, by name. Each is written the way its runtime's users
//! would write it, runs on one thread (plus a blocking pool where the runtime needs one) and serves until
//! it is killed; those without clients run for a stated time and print one line. They promise equal work,
//! not equal code; where only schedulers are compared (`local/`) the code is equal as well.

pub(crate) mod epoll_echo;
pub(crate) mod even;
pub(crate) mod floor_echo;
pub(crate) mod floor_proxy;
pub(crate) mod floor_read;
pub(crate) mod hot;
pub(crate) mod local;
pub(crate) mod pread_read;
pub(crate) mod relay;
#[cfg(feature = "ringwork")]
pub(crate) mod ringwork_echo;
#[cfg(feature = "ringwork")]
pub(crate) mod ringwork_proxy;
#[cfg(feature = "ringwork")]
pub(crate) mod ringwork_read;
pub(crate) mod send;
pub(crate) mod tokio_echo;
pub(crate) mod tokio_proxy;
pub(crate) mod tokio_read;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::meter::Times;
use crate::reads::ReadPlan;

pub(crate) use even::NO_CORE;
pub(crate) use hot::HotPlan;
pub(crate) use local::LocalOp;
pub(crate) use send::{SendOp, WORKERS};

/// How a program is started.
#[derive(Clone, Copy)]
pub(crate) enum Entry {
    /// Listens at the address and serves.
    Server(fn(SocketAddr) -> io::Result<()>),
    /// Listens at the first address and passes connections on to the second.
    Proxy(fn(SocketAddr, SocketAddr) -> io::Result<()>),
    /// Reads a file and returns after the planned time.
    Reader(fn(ReadPlan) -> io::Result<()>),
    /// Does one operation of a scheduler of local tasks, over and over, for the planned time.
    Local(fn(LocalOp, Times) -> io::Result<()>),
    /// The same with `Send` tasks on two workers.
    Send(fn(SendOp, Times) -> io::Result<()>),
    /// Works off a burst of tasks.
    Hot(fn(HotPlan) -> io::Result<()>),
}

/// Every program of this build, as `PEER_WORK`.
pub(crate) const PROGRAMS: &[(&str, Entry)] = &[
    ("floor_echo", Entry::Server(floor_echo::run)),
    ("epoll_echo", Entry::Server(epoll_echo::run)),
    ("tokio_echo", Entry::Server(tokio_echo::run)),
    #[cfg(feature = "ringwork")]
    ("ringwork_echo", Entry::Server(ringwork_echo::run)),
    ("floor_proxy", Entry::Proxy(floor_proxy::run)),
    ("tokio_proxy", Entry::Proxy(tokio_proxy::run)),
    #[cfg(feature = "ringwork")]
    ("ringwork_proxy", Entry::Proxy(ringwork_proxy::run)),
    ("floor_read", Entry::Reader(floor_read::run)),
    ("pread_read", Entry::Reader(pread_read::run)),
    ("tokio_read", Entry::Reader(tokio_read::run)),
    #[cfg(feature = "ringwork")]
    ("ringwork_read", Entry::Reader(ringwork_read::run)),
    ("tokio_local", Entry::Local(local::run::<local::tokio::LocalSet>)),
    ("monoio_local", Entry::Local(local::run::<local::monoio::Monoio>)),
    ("glommio_local", Entry::Local(local::run::<local::glommio::Glommio>)),
    ("compio_local", Entry::Local(local::run::<local::compio::Compio>)),
    #[cfg(feature = "ringwork")]
    ("ringwork_local", Entry::Local(local::run::<local::ringwork::Ringwork>)),
    ("tokio-multi_send", Entry::Send(send::run::<send::tokio::MultiThread>)),
    #[cfg(feature = "ringwork")]
    ("ringwork_send", Entry::Send(send::run::<send::ringwork::Stealing>)),
    ("tokio-multi_hot", Entry::Hot(hot::run::<send::tokio::MultiThread>)),
    #[cfg(feature = "ringwork")]
    ("ringwork_hot", Entry::Hot(hot::run::<send::ringwork::Stealing>)),
    #[cfg(feature = "ringwork")]
    ("ringwork-never_hot", Entry::Hot(hot::run::<send::ringwork::Never>)),
    ("tokio-multi_even", Entry::Server(even::tokio::run)),
    #[cfg(feature = "ringwork")]
    ("ringwork_even", Entry::Server(even::ringwork::stealing)),
    #[cfg(feature = "ringwork")]
    ("ringwork-never_even", Entry::Server(even::ringwork::never)),
    ("tokio-multi_stuck", Entry::Server(even::tokio::run)),
    #[cfg(feature = "ringwork")]
    ("ringwork_stuck", Entry::Server(even::ringwork::watched)),
];

/// The program of that name, if this build has it.
pub(crate) fn find(name: &str) -> Option<Entry> {
    PROGRAMS.iter().find(|(known, _)| *known == name).map(|(_, entry)| *entry)
}

/// A listener with room for every connection of a workload at once, announced.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    let listener = TcpListener::from(socket);
    announce(listener.local_addr()?)?;
    Ok(listener)
}

/// Tells the harness where to connect.
pub(crate) fn announce(address: SocketAddr) -> io::Result<()> {
    println!("{address}");
    io::stdout().flush()
}
