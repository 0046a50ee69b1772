//! The echo workload on one core of ringwork: a local task per connection, the received buffer is the one
//! sent.

use std::io;
use std::net::SocketAddr;

use ringwork::net::{TcpListener, TcpStream};

use super::announce;

/// Echoes until killed.
pub(crate) fn run(address: SocketAddr) -> io::Result<()> {
    let runtime = ringwork::runtime::Builder::new().cores(1).build().map_err(io::Error::other)?;
    let serving = runtime.handle().spawn_on(0, move || serve(address));
    runtime.block_on(serving).map_err(io::Error::other)?
}

async fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    announce(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        ringwork::spawn_local(echo(stream));
    }
}

/// Sends back what comes in.
pub(super) async fn echo(stream: TcpStream) -> io::Result<()> {
    loop {
        let received = stream.recv_pooled().await?;
        if received.is_empty() {
            return Ok(());
        }
        stream.send_all(received).await.0?;
    }
}
