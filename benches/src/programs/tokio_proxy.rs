//! The proxy workload on tokio's current-thread runtime: `copy_bidirectional`, as its documentation
//! suggests.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::listen;

/// Passes connections on to `upstream` until killed.
pub(crate) fn run(address: SocketAddr, upstream: SocketAddr) -> io::Result<()> {
    let listener = listen(address)?;
    listener.set_nonblocking(true)?;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (client, _) = listener.accept().await?;
            client.set_nodelay(true)?;
            tokio::spawn(relay(client, upstream));
        }
    })
}

async fn relay(mut client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
