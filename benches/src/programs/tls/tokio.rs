//! tokio-rustls on tokio's current-thread runtime, a spawned task per connection.

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::echo;
use crate::plan::Plan;
use crate::programs::http::listener_without_blocking;
use crate::programs::net::on_a_thread;
use crate::tls::server_config;

/// Serves until killed.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(server_config()?));
    let listener = listener_without_blocking(plan)?;
    let accept = async move {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(echo(acceptor.clone(), stream));
        }
    };
    on_a_thread(|| tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(accept))
}
