//! The programs that are compared, by peer and role. Each is written the way its runtime's users would
//! write it; servers serve until they are killed, programs without clients run for a stated time and print
//! one line. They promise equal work, not equal code; where only schedulers are compared (`local/`,
//! `send/`) the code is equal as well. A new peer is a file in the folder of its role and a row in
//! [`PROGRAMS`].

mod answers;
mod cross;
mod disk;
mod even;
mod files;
mod foreign;
mod hot;
mod http;
mod kv;
mod local;
mod net;
mod questions;
mod send;
mod service;
mod tls;
mod walk;

use std::io;

use crate::plan::Plan;

pub(crate) use cross::CrossOp;
pub(crate) use even::NO_CORE;
pub(crate) use http::{HELLO, USER_JSON, USER_PATH};
pub(crate) use local::LocalOp;
pub(crate) use net::listen;
pub(crate) use send::{SendOp, WORKERS};

/// One program of this build.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    pub(crate) peer: &'static str,
    /// What it does, as the workloads ask for it.
    pub(crate) role: &'static str,
    /// Does it, until killed or for the planned time.
    pub(crate) run: fn(&Plan) -> io::Result<()>,
    /// Of somebody else's program: says why it cannot be started on this machine, if so.
    pub(crate) foreign: Option<fn() -> Result<(), String>>,
}

/// A program of ours.
const fn own(peer: &'static str, role: &'static str, run: fn(&Plan) -> io::Result<()>) -> Program {
    Program { peer, role, run, foreign: None }
}

/// A program of somebody else's, if `look` finds it.
const fn foreign(
    peer: &'static str,
    role: &'static str,
    run: fn(&Plan) -> io::Result<()>,
    look: fn() -> Result<(), String>,
) -> Program {
    Program { peer, role, run, foreign: Some(look) }
}

/// Every program of this build.
pub(crate) const PROGRAMS: &[Program] = &[
    own("floor", "echo", net::echo::<net::floor::Floor>),
    own("epoll", "echo", net::echo::<net::epoll::EpollLoop>),
    own("tokio", "echo", net::echo::<net::tokio::CurrentThread>),
    own("tokio-near", "echo-all", net::echo_near::<net::tokio::CurrentThread>),
    own("tokio-shared", "echo-shared", net::echo::<net::shared::Tokio>),
    own("tokio-multi", "echo", net::tokio_multi::echo),
    own("monoio", "echo", net::echo::<net::monoio::Monoio>),
    own("monoio-near", "echo-all", net::echo_near::<net::monoio::Monoio>),
    own("glommio", "echo", net::echo::<net::glommio::Glommio>),
    own("glommio-shared", "echo-shared", net::echo::<net::shared::Glommio>),
    own("compio", "echo", net::echo::<net::compio::Compio>),
    own("compio-near", "echo-all", net::echo_near::<net::compio::Compio>),
    own("compio-managed", "echo-one-cpu", net::echo::<net::compio_managed::Managed>),
    own("smol", "echo", net::echo::<net::smol::Smol>),
    own("smol-near", "echo-all", net::echo_near::<net::smol::Smol>),
    own("smol-shared", "echo-shared", net::echo::<net::shared::Smol>),
    foreign("go", "echo", foreign::go::echo, foreign::go::look),
    #[cfg(feature = "ringwork")]
    own("ringwork", "echo", net::ringwork::echo),
    #[cfg(feature = "ringwork")]
    own("ringwork-hashed", "echo-all", net::ringwork::echo_hashed),
    own("floor", "proxy", net::proxy::<net::floor::Floor>),
    own("floor-splice", "proxy-bulk", net::proxy::<net::splice::Splicing>),
    own("epoll", "proxy", net::proxy::<net::epoll::EpollLoop>),
    own("tokio", "proxy", net::proxy::<net::tokio::CurrentThread>),
    own("tokio-near", "proxy-all", net::proxy_near::<net::tokio::CurrentThread>),
    own("tokio-multi", "proxy", net::tokio_multi::proxy),
    own("monoio", "proxy", net::proxy::<net::monoio::Monoio>),
    own("monoio-near", "proxy-all", net::proxy_near::<net::monoio::Monoio>),
    own("glommio", "proxy", net::proxy::<net::glommio::Glommio>),
    own("compio", "proxy", net::proxy::<net::compio::Compio>),
    own("compio-near", "proxy-all", net::proxy_near::<net::compio::Compio>),
    own("smol", "proxy", net::proxy::<net::smol::Smol>),
    own("smol-near", "proxy-all", net::proxy_near::<net::smol::Smol>),
    foreign("go", "proxy", foreign::go::proxy, foreign::go::look),
    foreign("haproxy", "proxy", foreign::haproxy::plain, foreign::haproxy::look),
    foreign("haproxy-splice", "proxy", foreign::haproxy::splicing, foreign::haproxy::look),
    #[cfg(feature = "ringwork")]
    own("ringwork", "proxy", net::ringwork::proxy),
    #[cfg(feature = "ringwork")]
    own("ringwork-hashed", "proxy-all", net::ringwork::proxy_hashed),
    own("floor", "source", net::source::<net::floor::Floor>),
    own("epoll", "source", net::source::<net::epoll::EpollLoop>),
    own("tokio", "source", net::source::<net::tokio::CurrentThread>),
    own("tokio-multi", "source", net::tokio_multi::source),
    own("monoio", "source", net::source::<net::monoio::Monoio>),
    own("glommio", "source", net::source::<net::glommio::Glommio>),
    own("compio", "source", net::source::<net::compio::Compio>),
    own("smol", "source", net::source::<net::smol::Smol>),
    foreign("go", "source", foreign::go::source, foreign::go::look),
    #[cfg(feature = "ringwork")]
    own("ringwork", "source", net::ringwork::source),
    own("floor", "read", disk::floor::read),
    own("pread", "read", disk::pread::run),
    own("tokio", "read", disk::read::<local::tokio::LocalRuntime>),
    own("tokio-one-blocking", "read", disk::read::<local::tokio::OneBlocking>),
    own("monoio", "read", disk::read::<local::monoio::Monoio>),
    own("glommio", "read", disk::read::<local::glommio::Glommio>),
    own("compio", "read", disk::read::<local::compio::Compio>),
    #[cfg(feature = "ringwork")]
    own("ringwork", "read", disk::read::<local::ringwork::Ringwork>),
    own("floor", "write", disk::floor::write),
    own("pwrite", "write-one", disk::pwrite::random),
    own("tokio", "write", disk::write::<local::tokio::LocalRuntime>),
    own("monoio", "write", disk::write::<local::monoio::Monoio>),
    own("glommio", "write", disk::write::<local::glommio::Glommio>),
    own("compio", "write", disk::write::<local::compio::Compio>),
    #[cfg(feature = "ringwork")]
    own("ringwork", "write", disk::write::<local::ringwork::Ringwork>),
    own("floor", "log", disk::floor_log::run),
    own("pwrite", "log", disk::pwrite::log),
    own("tokio", "log", disk::log::<local::tokio::LocalRuntime>),
    own("monoio", "log", disk::log::<local::monoio::Monoio>),
    own("glommio", "log", disk::log::<local::glommio::Glommio>),
    own("compio", "log", disk::log::<local::compio::Compio>),
    #[cfg(feature = "ringwork")]
    own("ringwork", "log", disk::log::<local::ringwork::Ringwork>),
    own("std", "walk", walk::std::run),
    own("tokio", "walk", walk::run::<local::tokio::LocalRuntime>),
    own("tokio-batched", "walk", walk::run::<walk::tokio::Batched>),
    own("smol", "walk", walk::run::<local::smol::Smol>),
    own("smol-batched", "walk", walk::run::<walk::smol::Batched>),
    #[cfg(feature = "ringwork")]
    own("ringwork", "walk", walk::run::<local::ringwork::Ringwork>),
    #[cfg(feature = "ringwork")]
    own("ringwork-batched", "walk", walk::run::<walk::ringwork::Batched>),
    own("floor", "files", files::floor::open),
    own("floor-parsing", "files", files::floor::parsing),
    own("epoll", "files", files::epoll::run),
    foreign("nginx", "files", foreign::nginx::copying, foreign::nginx::look),
    foreign("nginx-sendfile", "files", foreign::nginx::sending, foreign::nginx::look),
    foreign("ringwork", "files", foreign::file_server::run, foreign::file_server::look),
    #[cfg(feature = "ringwork")]
    own("ringwork-bare", "files", files::ringwork::run),
    own("floor", "files-nocache", files::floor::parsing),
    own("epoll", "files-nocache", files::epoll::run),
    foreign("nginx", "files-nocache", foreign::nginx::copying, foreign::nginx::look),
    foreign("nginx-sendfile", "files-nocache", foreign::nginx::sending, foreign::nginx::look),
    foreign("ringwork", "files-nocache", foreign::file_server::run, foreign::file_server::look),
    #[cfg(feature = "ringwork")]
    own("ringwork-bare", "files-nocache", files::ringwork::run),
    own("floor", "hyper", http::floor::run),
    own("epoll", "hyper", http::epoll::run),
    own("tokio", "hyper", http::tokio::hyper),
    own("tokio-near", "hyper-all", http::tokio::hyper_near),
    own("tokio-multi", "hyper", http::tokio_multi::hyper),
    #[cfg(feature = "ringwork")]
    own("ringwork", "hyper", http::ringwork::hyper),
    own("floor", "axum", http::floor::run),
    own("epoll", "axum", http::epoll::run),
    own("tokio", "axum", http::tokio::axum),
    own("tokio-near", "axum-all", http::tokio::axum_near),
    own("tokio-multi", "axum", http::tokio_multi::axum),
    #[cfg(feature = "ringwork")]
    own("ringwork", "axum", http::ringwork::axum),
    own("floor", "http2", http::raw_http2::ring),
    own("epoll", "http2", http::raw_http2::epoll),
    own("tokio", "http2", http::tokio::http2),
    #[cfg(feature = "ringwork")]
    own("ringwork", "http2", http::ringwork::http2),
    own("floor", "tls", tls::raw::ring),
    own("epoll", "tls", tls::raw::epoll),
    own("tokio", "tls", tls::tokio::run),
    #[cfg(feature = "ringwork")]
    own("ringwork", "tls", tls::ringwork::own),
    #[cfg(feature = "ringwork")]
    own("ringwork-polled", "tls", tls::ringwork::polled),
    #[cfg(feature = "ringwork")]
    own("ringwork-tokio-rustls", "tls", tls::ringwork::tokio_rustls),
    own("floor", "kv", kv::raw::ring),
    own("epoll", "kv", kv::raw::epoll),
    own("tokio", "kv", kv::tokio::current_thread),
    own("tokio-multi", "kv", kv::tokio::multi_thread),
    own("monoio", "kv", kv::monoio::run),
    foreign("redis", "kv", foreign::redis::run, foreign::redis::look),
    #[cfg(feature = "ringwork")]
    own("ringwork", "kv", kv::ringwork::own),
    #[cfg(feature = "ringwork")]
    own("ringwork-ported", "kv", kv::ringwork::ported),
    own("tokio", "local", local::run::<local::tokio::LocalRuntime>),
    own("monoio", "local", local::run::<local::monoio::Monoio>),
    own("glommio", "local", local::run::<local::glommio::Glommio>),
    own("glommio-queued", "local", local::run::<local::glommio::Queued>),
    own("compio", "local", local::run::<local::compio::Compio>),
    #[cfg(feature = "ringwork")]
    own("ringwork", "local", local::run::<local::ringwork::Ringwork>),
    #[cfg(feature = "ringwork")]
    own("ringwork-eager", "local", local::run::<local::ringwork::Eager>),
    own("smol", "local", local::run::<local::smol::Smol>),
    own("tokio", "sleepers", local::sleepers::<local::tokio::LocalRuntime>),
    own("monoio", "sleepers", local::sleepers::<local::monoio::Monoio>),
    own("glommio", "sleepers", local::sleepers::<local::glommio::Glommio>),
    own("compio", "sleepers", local::sleepers::<local::compio::Compio>),
    own("smol", "sleepers", local::sleepers::<local::smol::Smol>),
    #[cfg(feature = "ringwork")]
    own("ringwork", "sleepers", local::sleepers::<local::ringwork::Ringwork>),
    own("tokio", "start", local::start_up::<local::tokio::LocalRuntime>),
    own("monoio", "start", local::start_up::<local::monoio::Monoio>),
    own("glommio", "start", local::start_up::<local::glommio::Glommio>),
    own("compio", "start", local::start_up::<local::compio::Compio>),
    own("smol", "start", local::start_up::<local::smol::Smol>),
    #[cfg(feature = "ringwork")]
    own("ringwork", "start", local::start_up::<local::ringwork::Ringwork>),
    own("tokio", "cross", cross::run::<local::tokio::LocalRuntime>),
    own("glommio", "cross", cross::run::<local::glommio::Glommio>),
    own("compio", "cross", cross::run::<local::compio::Compio>),
    own("smol", "cross", cross::run::<local::smol::Smol>),
    #[cfg(feature = "ringwork")]
    own("ringwork", "cross", cross::ringwork::run),
    own("tokio-multi", "remote", send::remote::<send::tokio::MultiThread>),
    #[cfg(feature = "ringwork")]
    own("ringwork", "remote", send::remote::<send::ringwork::Stealing>),
    own("tokio-multi", "blocking", send::blocking::<send::tokio::MultiThread>),
    #[cfg(feature = "ringwork")]
    own("ringwork", "blocking", send::blocking::<send::ringwork::Stealing>),
    own("tokio-multi", "start-two", send::start_up::<send::tokio::MultiThread>),
    #[cfg(feature = "ringwork")]
    own("ringwork", "start-two", send::start_up::<send::ringwork::Stealing>),
    own("tokio-multi", "send", send::run::<send::tokio::MultiThread>),
    #[cfg(feature = "ringwork")]
    own("ringwork", "send", send::run::<send::ringwork::Stealing>),
    own("tokio-multi", "hot", hot::run::<send::tokio::MultiThread>),
    #[cfg(feature = "ringwork")]
    own("ringwork", "hot", hot::run::<send::ringwork::Stealing>),
    #[cfg(feature = "ringwork")]
    own("ringwork-never", "hot", hot::run::<send::ringwork::Never>),
    own("tokio-multi", "even", even::tokio::run),
    #[cfg(feature = "ringwork")]
    own("ringwork", "even", even::ringwork::stealing),
    #[cfg(feature = "ringwork")]
    own("ringwork-never", "even", even::ringwork::never),
    own("tokio-multi", "stuck", even::tokio::run),
    #[cfg(feature = "ringwork")]
    own("ringwork", "stuck", even::ringwork::watched),
];

/// Every peer of any workload, with a line on what it is; a table has its rows in this order. The first is
/// the floor.
pub(crate) const PEERS: &[(&str, &str)] = &[
    ("floor", "a raw io_uring loop that does the same work: what a runtime adds its own cost to"),
    ("floor-splice", "the floor of a proxy in bulk that copies nothing: splice(2) through a pipe"),
    ("floor-parsing", "the floor of files that parses the request, opens, stats and closes the file"),
    ("epoll", "a hand-written epoll loop"),
    ("pread", "one thread of pread(2)"),
    ("pwrite", "one thread of pwrite(2) past the page cache, in the log with fdatasync(2) behind it"),
    ("std", "one thread of the standard library's calls"),
    ("tokio", "tokio current_thread, one per core with SO_REUSEPORT"),
    ("tokio-near", "the same with listeners that ask for what arrives on their CPU, as ringwork's do"),
    ("tokio-shared", "tokio with one buffer for all connections of a thread: what is idle holds none"),
    ("tokio-batched", "tokio with one blocking call for each folder and all of its files"),
    ("tokio-one-blocking", "tokio with one thread for blocking calls"),
    ("tokio-multi", "tokio multi-thread, a worker per core"),
    ("tokio-multi-stuck", "the same with a worker blocked"),
    ("monoio", "monoio on io_uring, a runtime per core"),
    ("monoio-near", "the same with listeners as tokio-near has them"),
    ("glommio", "glommio, an executor per core"),
    ("glommio-queued", "the same, with tasks that are queued when they are spawned"),
    ("glommio-shared", "glommio with one buffer as tokio-shared has it"),
    ("compio", "compio on io_uring, a runtime per core"),
    ("compio-near", "the same with listeners as tokio-near has them"),
    ("compio-managed", "compio with read_multi into a pool of buffers"),
    ("smol", "smol, a local executor per core"),
    ("smol-near", "the same with listeners as tokio-near has them"),
    ("smol-shared", "smol with one buffer as tokio-shared has it"),
    ("smol-batched", "smol with one job of its pool for each folder and all of its files"),
    ("go", "Go's net and goroutines, GOMAXPROCS as many as cores; where a Go toolchain is found"),
    ("haproxy", "HAProxy, a thread per core; where it is installed"),
    ("haproxy-splice", "the same with options splice-request and splice-response"),
    ("nginx", "nginx, a process per core, sendfile off; where it is installed"),
    ("nginx-sendfile", "the same with sendfile on"),
    ("redis", "redis-server, one thread, nothing on disk; where it is installed"),
    ("ringwork", "ringwork with its defaults; for files, examples/file_server"),
    (
        "ringwork-hashed",
        "the same with Balance::Kernel: connections spread by a hash, as SO_REUSEPORT does by default",
    ),
    (
        "ringwork-eager",
        "the same with tasks that are polled when they are spawned, as glommio's: spawn_local_eager",
    ),
    ("ringwork-batched", "ringwork's folders read with the metadata of all that is in them"),
    ("ringwork-bare", "ringwork's calls without a web server around them"),
    ("ringwork-ported", "tokio's row, line for line, over ringwork's streams"),
    ("ringwork-polled", "ringwork's own tls under tokio's traits"),
    ("ringwork-tokio-rustls", "tokio-rustls over ringwork's streams, where ringwork is its own tls"),
    ("ringwork-stuck", "the same with a core blocked"),
    ("ringwork-never", "ringwork with Steal::Never"),
];

impl Program {
    /// Its name on the command line of `serve`.
    pub(crate) fn name(&self) -> String {
        format!("{}_{}", self.peer, self.role)
    }

    /// Whether it is somebody else's.
    pub(crate) fn is_foreign(&self) -> bool {
        self.foreign.is_some()
    }

    /// The program of that name.
    pub(crate) fn named(name: &str) -> Option<&'static Program> {
        PROGRAMS.iter().find(|program| program.name() == name)
    }

    /// The program by which `peer` plays `role`.
    pub(crate) fn of(peer: &str, role: &str) -> Option<&'static Program> {
        PROGRAMS.iter().find(|program| program.peer == peer && program.role == role)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{PEERS, PROGRAMS, Program};

    #[test]
    fn every_program_has_a_name_of_its_own_and_a_known_peer() {
        let names: BTreeSet<String> = PROGRAMS.iter().map(Program::name).collect();
        assert_eq!(names.len(), PROGRAMS.len());
        for program in PROGRAMS {
            assert!(PEERS.iter().any(|(peer, _)| *peer == program.peer), "{}", program.name());
        }
    }
}
