//! The connector of `hyper-util`'s client for `https`, over [`crate::tls`].
#![forbid(unsafe_code)]

use super::connector::{Scheme, Target, dial};
use crate::net::TcpStream;
use crate::tls::rustls::pki_types::ServerName;
use crate::tls::{self, TlsStream};
use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_service::Service;

/// Connects `hyper_util::client::legacy::Client` to the hosts of `https` URIs over TLS, and to those of
/// `http` URIs as [`Connector`](super::Connector) does.
///
/// Needs the features `hyper-util` and `tls`. The certificate must be valid for the host in the URI. HTTP/2
/// is spoken if server and configuration agree on it: put `h2` in front of `http/1.1` in
/// `ClientConfig::alpn_protocols`.
///
#[cfg_attr(not(doctest), doc = include_str!("https.md"))]
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for a URI with another scheme or without a host; those of
/// [`TcpStream::connect`] and of [`tls::Connector::connect`].
#[derive(Clone, Debug)]
pub struct HttpsConnector {
    tls: tls::Connector,
}

impl HttpsConnector {
    /// A connector whose handshakes are those of `tls`.
    #[must_use]
    pub fn new(tls: tls::Connector) -> Self {
        Self { tls }
    }
}

impl Service<Uri> for HttpsConnector {
    type Response = HttpsStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<HttpsStream>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.tls.clone();
        Box::pin(async move {
            let target = Target::of(&uri)?;
            let stream = dial(&target).await?;
            if target.scheme == Scheme::Http {
                return Ok(HttpsStream::Plain(stream));
            }
            let name = ServerName::try_from(target.host.trim_matches(['[', ']']).to_owned());
            let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            Ok(HttpsStream::Tls(Box::new(tls.connect(name, stream).await?)))
        })
    }
}

/// A connection made by [`HttpsConnector`]. Dropping it closes it.
#[derive(Debug)]
pub enum HttpsStream {
    /// For an `http` URI.
    Plain(TcpStream),
    /// For an `https` URI.
    Tls(Box<TlsStream>),
}

/// Calls the method of whichever stream it is.
macro_rules! either {
    ($this:ident, $method:ident($($argument:expr),*)) => {
        match $this.get_mut() {
            HttpsStream::Plain(stream) => Pin::new(stream).$method($($argument),*),
            HttpsStream::Tls(stream) => Pin::new(&mut **stream).$method($($argument),*),
        }
    };
}

impl Read for HttpsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_read(cx, buf))
    }
}

impl Write for HttpsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_shutdown(cx))
    }
}

impl Connection for HttpsStream {
    fn connected(&self) -> Connected {
        match self {
            HttpsStream::Plain(stream) => stream.connected(),
            HttpsStream::Tls(stream) => stream.connected(),
        }
    }
}

impl Connection for TlsStream {
    fn connected(&self) -> Connected {
        if self.session().alpn.as_deref() == Some(b"h2") {
            Connected::new().negotiated_h2()
        } else {
            Connected::new()
        }
    }
}
