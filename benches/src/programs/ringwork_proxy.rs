//! The proxy workload on one core of ringwork: a local task per direction, the received buffer is the one
//! sent on.

use std::io;
use std::net::SocketAddr;

use ringwork::net::{OwnedRecvHalf, OwnedSendHalf, TcpListener, TcpStream};

use super::announce;

/// Passes connections on to `upstream` until killed.
pub(crate) fn run(address: SocketAddr, upstream: SocketAddr) -> io::Result<()> {
    let runtime = ringwork::runtime::Builder::new().cores(1).build().map_err(io::Error::other)?;
    let serving = runtime.handle().spawn_on(0, move || serve(address, upstream));
    runtime.block_on(serving).map_err(io::Error::other)?
}

async fn serve(address: SocketAddr, upstream: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    announce(listener.local_addr()?)?;
    loop {
        let (client, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        ringwork::spawn_local(relay(client, upstream));
    }
}

async fn relay(client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    ringwork::spawn_local(pass(from_client, to_server));
    pass(from_server, to_client).await
}

async fn pass(from: OwnedRecvHalf, to: OwnedSendHalf) -> io::Result<()> {
    loop {
        let received = from.recv_pooled().await?;
        if received.is_empty() {
            return to.shutdown_write().await;
        }
        to.send_all(received).await.0?;
    }
}
