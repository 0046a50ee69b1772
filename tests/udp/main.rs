//! UDP sockets as a user sees them: datagrams and their ends, senders, many at once, errors that come later,
//! and drops. Random drops are in tests/tcp_drop.

mod drops;
mod many;
mod options;
#[path = "../support/mod.rs"]
mod support;
mod transfer;

use ringwork::net::UdpSocket;
use ringwork::runtime::Handle;
use std::net::SocketAddr;

/// Runs a test on a core, and once more on a thread that is none.
fn everywhere<F>(cores: usize, test: impl Fn(Handle) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    support::on_cores(cores, test.clone());
    support::on_cores(cores, |handle| async move {
        let inside = handle.clone();
        handle.spawn_on(0, move || test(inside)).await.unwrap();
    });
}

/// A socket on a free port of the loopback, and its address.
async fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("the loopback has a port");
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Two sockets that are connected to each other.
async fn connected() -> (UdpSocket, UdpSocket) {
    let ((one, here), (other, there)) = (socket().await, socket().await);
    one.connect(there).await.unwrap();
    other.connect(here).await.unwrap();
    (one, other)
}
