//! What the TLS tests share: certificates, connected ends, peers on plain rustls over std sockets.
//!
//! Owns no assertion about the runtime, except that a runtime shuts down clean; each test says itself what
//! must be true.
#![forbid(unsafe_code)]

pub mod by_hand;
pub mod certs;
pub mod peer;
pub mod records;

use ringwork::net::TcpStream;
use ringwork::runtime::{Builder, Handle, Pin};
use ringwork::tls::{Acceptor, Connector, TlsStream};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Longer than any correct run takes on a busy machine; what is not done by then hangs.
pub const LIMIT: Duration = Duration::from_secs(120);

/// The name in all server certificates that are not about names.
pub const NAME: &str = "server.test";

/// Runs the future on a runtime of `cores` unpinned cores, fails if it hangs or the runtime does not shut
/// down clean.
///
/// # Panics
/// If so, and if the future does.
pub fn on_cores<F>(cores: usize, test: impl FnOnce(Handle) -> F + Send + 'static)
where
    F: Future<Output = ()>,
{
    let (done, ended) = channel();
    let body = thread::spawn(move || {
        let runtime = Builder::new().cores(cores).pin(Pin::Off).build().expect("a runtime starts here");
        let handle = runtime.handle().clone();
        runtime.block_on(test(handle));
        let report = runtime.shutdown_timeout(Duration::from_secs(20));
        assert!(report.is_clean(), "{report}");
        let _ = done.send(());
    });
    match ended.recv_timeout(LIMIT) {
        Err(RecvTimeoutError::Timeout) => panic!("the test did not end within {LIMIT:?}"),
        _ => body.join().unwrap_or_else(|panic| resume_unwind(panic)),
    }
}

/// Two plain blocking ends of one connection.
pub fn std_pair() -> (std::net::TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("the loopback has a port");
    let one = std::net::TcpStream::connect(listener.local_addr().unwrap()).expect("it listens");
    let (other, _) = listener.accept().expect("a connection waits");
    (one, other)
}

/// A stream of the runtime and its peer as a plain blocking socket.
pub fn half_std_pair() -> (TcpStream, std::net::TcpStream) {
    let (one, other) = std_pair();
    (TcpStream::from_std(one).expect("it is connected"), other)
}

/// The same, but the peer takes only a few KiB from the runtime's stream until it reads.
pub fn narrow_pair() -> (TcpStream, std::net::TcpStream) {
    const ROOM: usize = 4 * 1024;
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let listener = listener.expect("there is IPv4");
    // Before the connection is made: a window that was offered is not taken back.
    listener.set_recv_buffer_size(ROOM).expect("it is a socket");
    let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&loopback.into()).expect("the loopback has a port");
    listener.listen(1).expect("it is bound");
    let listener = std::net::TcpListener::from(listener);
    let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).expect("it listens");
    socket2::SockRef::from(&ours).set_send_buffer_size(ROOM).expect("it is a socket");
    let (theirs, _) = listener.accept().expect("a connection waits");
    (TcpStream::from_std(ours).expect("it is connected"), theirs)
}

/// The name as rustls wants it.
pub fn name() -> ServerName<'static> {
    NAME.try_into().expect("it is a name")
}

/// Client and server, both ours, after a handshake.
pub async fn pair(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> (TlsStream, TlsStream) {
    let (one, other) = std_pair();
    let (one, other) = (TcpStream::from_std(one).unwrap(), TcpStream::from_std(other).unwrap());
    let accepted = ringwork::spawn(async move { Acceptor::new(server).accept(other).await });
    let client = Connector::new(client).connect(name(), one).await.expect("the client agrees");
    (client, accepted.await.expect("no panic").expect("the server agrees"))
}

/// Client and server with configurations that nothing is special about.
pub async fn plain_pair() -> (TlsStream, TlsStream) {
    let authority = certs::Authority::new();
    pair(Arc::new(authority.client_config()), Arc::new(authority.server_config())).await
}

/// Bytes that tell their position: no two aligned 8-byte words of one stream are equal.
pub fn pattern(from: usize, len: usize) -> Vec<u8> {
    let words = from / 8..(from + len).div_ceil(8);
    let mut bytes = Vec::with_capacity(words.len() * 8);
    for word in words {
        let word = (word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.drain(..from % 8);
    bytes.truncate(len);
    bytes
}

/// Checks that `bytes` is the pattern from `from` on.
///
/// # Panics
/// If not, with the place of the first byte that differs.
pub fn assert_pattern(from: usize, bytes: &[u8]) {
    let expected = pattern(from, bytes.len());
    if let Some(at) = (0..bytes.len()).find(|&at| expected[at] != bytes[at]) {
        panic!("byte {} of the stream is {:#x}, not {:#x}", from + at, bytes[at], expected[at]);
    }
}

/// The example of `HttpsConnector`, which needs what users of the features `hyper-util` and `tls` have.
#[cfg(doctest)]
#[doc = include_str!("../../../src/compat/hyper/https.md")]
pub struct HttpsGuide;
