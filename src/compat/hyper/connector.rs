//! The connector of `hyper-util`'s client.
#![forbid(unsafe_code)]

use crate::net::TcpStream;
use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use socket2::{SockRef, TcpKeepalive};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_service::Service;

/// How long a connection is silent until TCP asks whether the peer is still there, and how often it asks,
/// after how long again, until it gives the peer up: 40 s after its last word.
const ASK_AFTER: Duration = Duration::from_secs(20);
const ASK_EVERY: Duration = Duration::from_secs(5);
const ASK_TIMES: u32 = 4;

/// When a peer has been silent for so long although it is to acknowledge something.
#[cfg(feature = "tonic")]
const GIVE_UP_AFTER: Duration = Duration::from_secs(40);

/// Connects `hyper_util::client::legacy::Client` over TCP, to hosts and addresses of `http` URIs.
///
/// Small messages are sent at once (`TCP_NODELAY`). Connections belong to the client's pool; one client per
/// core keeps them on their core.
///
/// A peer that is gone without a word is found out: TCP asks one that has been silent for 20 s whether it is
/// still there (`SO_KEEPALIVE`), and 20 s later the connection fails. That is so while nothing is under way
/// to it; what it is to acknowledge is repeated for as long as the kernel does that, mostly a quarter of an
/// hour.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for a URI with another scheme than `http` or without a host; those of
/// [`TcpStream::connect`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Connector {
    /// For how long the peer may leave what it is sent unacknowledged, or have no room for more.
    user_timeout: Option<Duration>,
}

impl Connector {
    /// A connector.
    #[must_use]
    pub fn new() -> Self {
        Self { user_timeout: None }
    }

    /// One for connections whose peer always reads, as those of HTTP/2: what it does not acknowledge is
    /// limited, too. A peer of HTTP/1 may read a large body as slowly as it likes.
    #[cfg(feature = "tonic")]
    pub(crate) fn of_channel() -> Self {
        Self { user_timeout: Some(GIVE_UP_AFTER) }
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
        let user_timeout = self.user_timeout;
        Box::pin(async move {
            let target = Target::of(&uri)?;
            if target.scheme == Scheme::Https {
                return Err(invalid("this connector speaks http only: use HttpsConnector (feature `tls`)"));
            }
            let stream = dial(&target).await?;
            if user_timeout.is_some() {
                SockRef::from(&stream).set_tcp_user_timeout(user_timeout)?;
            }
            Ok(stream)
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

/// A TCP connection to it, which sends small messages at once and finds out when its peer is gone.
pub(super) async fn dial(target: &Target<'_>) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(format!("{}:{}", target.host, target.port)).await?;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(ASK_AFTER).with_interval(ASK_EVERY);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive.with_retries(ASK_TIMES))?;
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
    use super::*;
    use crate::net::TcpListener;
    use crate::runtime::Builder;

    async fn connected(mut connector: Connector) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        connector.call(uri.parse().unwrap()).await.unwrap()
    }

    #[test]
    fn a_connection_asks_after_twenty_seconds_whether_its_peer_is_there_and_gives_it_up_after_twenty_more() {
        Builder::new().cores(1).build().unwrap().block_on(async {
            let stream = connected(Connector::new()).await;
            let socket = SockRef::from(&stream);
            assert!(socket.keepalive().unwrap());
            let (after, every) = (socket.tcp_keepalive_time(), socket.tcp_keepalive_interval());
            assert_eq!(after.unwrap(), Duration::from_secs(20));
            let asks = every.unwrap() * socket.tcp_keepalive_retries().unwrap();
            assert_eq!(asks, Duration::from_secs(20));
            assert_eq!(socket.tcp_user_timeout().unwrap(), None, "a peer may read slowly");
        });
    }

    #[cfg(feature = "tonic")]
    #[test]
    fn a_connection_of_a_channel_waits_for_an_acknowledgement_no_longer() {
        Builder::new().cores(1).build().unwrap().block_on(async {
            let stream = connected(Connector::of_channel()).await;
            let timeout = SockRef::from(&stream).tcp_user_timeout().unwrap();
            assert_eq!(timeout, Some(Duration::from_secs(40)));
        });
    }

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
