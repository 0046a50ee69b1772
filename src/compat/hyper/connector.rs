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
            let target = Target::of(&uri)?;
            if target.scheme == Scheme::Https {
                return Err(invalid("this connector speaks http only: use HttpsConnector (feature `tls`)"));
            }
            dial(&target).await
        })
    }
}

/// Whom a URI means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) scheme: Scheme,
    /// As in the URI, so an IPv6 address is in brackets.
    pub(super) host: &'a str,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl<'a> Target<'a> {
    pub(super) fn of(uri: &'a Uri) -> io::Result<Self> {
        let (scheme, port) = match uri.scheme_str() {
            None | Some("http") => (Scheme::Http, 80),
            Some("https") => (Scheme::Https, 443),
            Some(_) => return Err(invalid("the scheme of the URI is neither http nor https")),
        };
        let host = uri.host().ok_or_else(|| invalid("the URI has no host"))?;
        Ok(Self { scheme, host, port: uri.port_u16().unwrap_or(port) })
    }
}

/// A TCP connection to it, which sends small messages at once.
pub(super) async fn dial(target: &Target<'_>) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(format!("{}:{}", target.host, target.port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

impl Connection for TcpStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{Scheme, Target};

    #[test]
    fn a_uri_names_scheme_host_and_port() {
        let of = |uri: &str| {
            let uri = uri.parse().unwrap();
            let target = Target::of(&uri).map_err(|error| error.kind())?;
            Ok((target.scheme, target.host.to_owned(), target.port))
        };
        assert_eq!(of("http://a.example/x"), Ok((Scheme::Http, "a.example".to_owned(), 80)));
        assert_eq!(of("http://[::1]:8080/"), Ok((Scheme::Http, "[::1]".to_owned(), 8080)));
        assert_eq!(of("https://a.example/"), Ok((Scheme::Https, "a.example".to_owned(), 443)));
        assert_eq!(of("ftp://a.example/"), Err(std::io::ErrorKind::InvalidInput));
        assert_eq!(of("/only/a/path"), Err(std::io::ErrorKind::InvalidInput));
    }
}
