//! The connector of `hyper-util`'s client.
#![forbid(unsafe_code)]

use crate::net::TcpStream;
use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_service::Service;

/// Connects `hyper_util::client::legacy::Client` over TCP, to hosts and addresses of `http` URIs.
///
/// Small messages are sent at once (`TCP_NODELAY`). Connections belong to the client's pool; one client per
/// core keeps them on their core.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for a URI with another scheme than `http` or without a host; those of
/// [`TcpStream::connect`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Connector(());

impl Connector {
    /// A connector.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

impl Service<Uri> for Connector {
    type Response = TcpStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(async move {
            let stream = TcpStream::connect(target(&uri)?).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    }
}

/// Whom a URI means, as `host:port`.
fn target(uri: &Uri) -> io::Result<String> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    if uri.scheme_str().is_some_and(|scheme| scheme != "http") {
        return Err(invalid("this connector speaks http only"));
    }
    let host = uri.host().ok_or_else(|| invalid("the URI has no host"))?;
    Ok(format!("{host}:{}", uri.port_u16().unwrap_or(80)))
}

impl Connection for TcpStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

#[cfg(test)]
mod tests {
    use super::target;

    #[test]
    fn a_uri_names_host_and_port() {
        let of = |uri: &str| target(&uri.parse().unwrap()).map_err(|error| error.kind());
        assert_eq!(of("http://a.example/x"), Ok("a.example:80".to_owned()));
        assert_eq!(of("http://[::1]:8080/"), Ok("[::1]:8080".to_owned()));
        assert_eq!(of("https://a.example/"), Err(std::io::ErrorKind::InvalidInput));
        assert_eq!(of("/only/a/path"), Err(std::io::ErrorKind::InvalidInput));
    }
}
