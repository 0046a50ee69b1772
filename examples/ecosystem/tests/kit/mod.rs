//! What the tests of this package share: one application on both runtimes, behind the proxy or not, and plain
//! sockets to it.
#![allow(dead_code)]

use axum::Router;
use ringwork::compat::tower::Server;
use ringwork::runtime::{Builder, Pin, Runtime};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Long enough for a slow machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A program that is killed with the test.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

impl Program {
    /// Starts it and waits for the line that says where it listens.
    pub(crate) fn start(path: &str, args: &[&str]) -> Self {
        Self::spawn(Command::new(path).args(["--listen", "127.0.0.1:0", "--cores", "2"]).args(args))
    }

    /// The same with a command that is told where to listen already.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program was built");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("it says where").parse().unwrap();
        Self { child, address }
    }

    pub(crate) fn app() -> Self {
        Self::start(env!("CARGO_BIN_EXE_axum_app"), &[])
    }

    pub(crate) fn proxy(upstream: SocketAddr) -> Self {
        Self::start(env!("CARGO_BIN_EXE_http_proxy"), &["--upstream", &format!("http://{upstream}")])
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An application on ringwork, in this process.
pub(crate) struct OnRingwork {
    pub(crate) address: SocketAddr,
    pub(crate) runtime: Runtime,
    pub(crate) server: Server,
}

impl OnRingwork {
    pub(crate) fn start(app: Router) -> Self {
        let runtime = Builder::new().cores(2).pin(Pin::Off).build().expect("a runtime starts here");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let server = runtime.block_on(ringwork::compat::axum::serve(address, app).start()).unwrap();
        Self { address: server.local_addr(), runtime, server }
    }
}

/// The same on tokio, as its own `axum::serve` does it.
pub(crate) struct OnTokio {
    pub(crate) address: SocketAddr,
    runtime: tokio::runtime::Runtime,
}

impl OnTokio {
    pub(crate) fn start(app: Router) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let bound = TcpListener::bind("127.0.0.1:0").unwrap();
        bound.set_nonblocking(true).unwrap();
        let address = bound.local_addr().unwrap();
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        drop(runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(bound).unwrap();
            axum::serve(listener, app).await
        }));
        Self { address, runtime }
    }
}

pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Reads up to the empty line.
pub(crate) fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}
