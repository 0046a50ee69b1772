//! Becoming a TLS stream: the two sides of a handshake.
//!
//! Owns what each side begins with and the exchange until both agree. A handshake is a future like any
//! other: bound it with `time::timeout`; dropping it closes the socket and leaves nothing behind.
#![forbid(unsafe_code)]

use super::TlsStream;
use super::engine::{Engine, Side};
use super::error;
use super::hello::Hello;
use super::reload::Reloadable;
use super::session::Session;
use super::state::{Inner, open};
use crate::buf::PooledBuf;
use crate::net::TcpStream;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ServerConfig};
use std::io;

/// The server's side: makes TLS streams of accepted connections.
///
/// Cheap to clone. Which protocols are offered (ALPN), which certificate is shown for which name, whether
/// clients must show theirs and how sessions are resumed is all in the `rustls::ServerConfig`.
///
/// ```no_run
/// use ringwork::net::TcpListener;
/// use ringwork::time::timeout;
/// use ringwork::tls::{Acceptor, rustls::ServerConfig};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// # async fn serve(config: Arc<ServerConfig>) -> std::io::Result<()> {
/// let acceptor = Acceptor::new(config);
/// let listener = TcpListener::bind("127.0.0.1:8443").await?;
/// loop {
///     let (stream, _) = listener.accept().await?;
///     let acceptor = acceptor.clone();
///     ringwork::spawn(async move {
///         let stream = timeout(Duration::from_secs(10), acceptor.accept(stream)).await??;
///         while let bytes = stream.recv_pooled().await?
///             && !bytes.is_empty()
///         {
///             stream.send_all(bytes).await.0?;
///         }
///         stream.shutdown_write().await
///     });
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Acceptor {
    config: Reloadable<ServerConfig>,
}

impl Acceptor {
    /// An acceptor with an `Arc<ServerConfig>`, or with a [`Reloadable`] one.
    pub fn new(config: impl Into<Reloadable<ServerConfig>>) -> Self {
        Self { config: config.into() }
    }

    /// Does the server's side of a handshake on a fresh connection.
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// - [`io::ErrorKind::InvalidData`] with a `rustls::Error` in it if the peer does not speak TLS, offers
    ///   nothing acceptable, shows no certificate that it should, or sends an alert. The peer is sent an
    ///   alert first.
    /// - [`io::ErrorKind::UnexpectedEof`] if the peer closes the connection.
    /// - [`io::ErrorKind::Unsupported`] if the configuration accepts early data, which this does not: what
    ///   is in it may have been sent before by somebody else.
    /// - The socket's.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream> {
        let config = self.config.current();
        if config.max_early_data_size > 0 {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "early data (0-RTT) is not accepted"));
        }
        let connection = UnbufferedServerConnection::new(config).map_err(error::protocol)?;
        let mut hello = Hello::new();
        let shaken = shake(&stream, Engine::new(Side::Server(connection)), |bytes| hello.look(bytes)).await?;
        Ok(finish(stream, shaken, hello.into_name()))
    }
}

/// The client's side: makes TLS streams of connections to servers.
///
/// Cheap to clone. Sessions are resumed out of the store in the `rustls::ClientConfig`, so use one
/// connector for all connections.
///
/// ```no_run
/// use ringwork::net::TcpStream;
/// use ringwork::tls::{Connector, rustls::ClientConfig};
/// use std::sync::Arc;
///
/// # async fn get(config: Arc<ClientConfig>) -> std::io::Result<()> {
/// let connector = Connector::new(config);
/// let stream = TcpStream::connect("example.org:443").await?;
/// let stream = connector.connect("example.org".try_into().expect("a name"), stream).await?;
/// stream.send_all("GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n").await.0?;
/// println!("{:?}", stream.recv_pooled().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Connector {
    config: Reloadable<ClientConfig>,
}

impl Connector {
    /// A connector with an `Arc<ClientConfig>`, or with a [`Reloadable`] one.
    pub fn new(config: impl Into<Reloadable<ClientConfig>>) -> Self {
        Self { config: config.into() }
    }

    /// Does the client's side of a handshake. `name` is whom the peer's certificate must vouch for, and is
    /// sent to the peer if it is a host name.
    ///
    /// Dropping the future closes the connection. Early data is not sent.
    ///
    /// # Errors
    /// As [`Acceptor::accept`]; also if the peer's certificate is not valid for `name`.
    pub async fn connect(&self, name: ServerName<'static>, stream: TcpStream) -> io::Result<TlsStream> {
        let asked = match &name {
            ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
            _ => None,
        };
        let connection =
            UnbufferedClientConnection::new(self.config.current(), name).map_err(error::protocol)?;
        let shaken = shake(&stream, Engine::new(Side::Client(connection)), |_| {}).await?;
        Ok(finish(stream, shaken, asked))
    }
}

/// The connection after a handshake, and plaintext that came with the last of it.
type Shaken = (Engine, Option<PooledBuf>);

/// Exchanges messages until both sides agree.
async fn shake(stream: &TcpStream, mut engine: Engine, mut look: impl FnMut(&[u8])) -> io::Result<Shaken> {
    engine.begin().map_err(error::protocol)?;
    loop {
        if engine.owes() {
            stream.send_all(engine.take_owed()).await.0?;
        }
        let received = stream.recv_pooled().await?;
        if received.is_empty() {
            return Err(error::truncated("the connection ended during the handshake"));
        }
        look(&received);
        let (ready, result) = open(&mut engine, received, &mut |_| 0);
        if engine.common().is_handshaking() {
            let Err(error) = result else { continue };
            // The peer may be gone; what went wrong matters more than whether it hears of it.
            let _ = stream.send_all(engine.take_owed()).await;
            return Err(error::protocol(error));
        }
        // An error behind the handshake is not one of the handshake: receives will meet it.
        if engine.owes() {
            stream.send_all(engine.take_owed()).await.0?;
        }
        return Ok((engine, ready));
    }
}

fn finish(stream: TcpStream, (engine, ready): Shaken, name: Option<String>) -> TlsStream {
    let session = Session::new(engine.common(), name);
    TlsStream::new(Inner::new(stream, engine, ready, session))
}
