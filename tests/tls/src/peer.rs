//! Peers: plain rustls on std sockets, each in a thread of its own.

use crate::name;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// A client of plain rustls.
pub type Client = StreamOwned<ClientConnection, TcpStream>;
/// A server of plain rustls.
pub type Server = StreamOwned<ServerConnection, TcpStream>;

/// Runs a client in a thread.
pub fn client<T: Send + 'static>(
    config: Arc<ClientConfig>,
    socket: TcpStream,
    talk: impl FnOnce(Client) -> T + Send + 'static,
) -> JoinHandle<T> {
    thread::spawn(move || {
        let connection = ClientConnection::new(config, name()).expect("the configuration is whole");
        talk(StreamOwned::new(connection, socket))
    })
}

/// Runs a server in a thread.
pub fn server<T: Send + 'static>(
    config: Arc<ServerConfig>,
    socket: TcpStream,
    talk: impl FnOnce(Server) -> T + Send + 'static,
) -> JoinHandle<T> {
    thread::spawn(move || {
        let connection = ServerConnection::new(config).expect("the configuration is whole");
        talk(StreamOwned::new(connection, socket))
    })
}

/// A socket that writes in small pieces, so that records and messages arrive in parts.
#[derive(Debug)]
pub struct Dribble {
    /// The socket.
    pub socket: TcpStream,
    /// Bytes of each piece, used in turn.
    pub pieces: Vec<usize>,
    /// Where in `pieces` the next one is.
    pub next: usize,
}

impl Dribble {
    /// A socket that writes in pieces of these sizes.
    pub fn new(socket: TcpStream, pieces: &[usize]) -> Self {
        socket.set_nodelay(true).expect("it is a TCP socket");
        Self { socket, pieces: pieces.to_vec(), next: 0 }
    }
}

impl Read for Dribble {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buf)
    }
}

impl Write for Dribble {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let piece = self.pieces[self.next % self.pieces.len()];
        self.next += 1;
        let n = self.socket.write(&buf[..piece.min(buf.len())])?;
        // A moment for the other side to take it, so that pieces do not arrive as one. Nothing depends on
        // it.
        thread::yield_now();
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Ends what this side sends, then reads to the end that the peer announces.
///
/// # Errors
/// The socket's; UnexpectedEof if the peer does not announce it.
pub fn finish(stream: &mut Client) -> io::Result<Vec<u8>> {
    stream.conn.send_close_notify();
    stream.flush()?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)?;
    Ok(rest)
}
