//! A client whose records are made and read one by one, for what no well-behaved library would send and for
//! what none tells of.

use crate::certs::Authority;
use crate::name;
use crate::records::Records;
use ringwork::net::TcpStream;
use ringwork::tls::{Acceptor, TlsStream};
use rustls::{ClientConnection, ContentType, SupportedProtocolVersion};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::thread;

const NEW_SESSION_TICKET: u8 = 4;
/// The kind of handshake message that changes keys.
pub const KEY_UPDATE: u8 = 24;

/// A plain client that knows its secrets after the handshake and goes on by hand.
pub struct ByHand {
    /// The socket.
    pub socket: std::net::TcpStream,
    /// What it sends.
    pub to: Records,
    from: Records,
}

impl ByHand {
    /// Sends a record.
    ///
    /// # Panics
    /// If the socket cannot.
    pub fn send(&mut self, kind: ContentType, payload: &[u8]) {
        let record = self.to.seal(kind, payload);
        self.socket.write_all(&record).expect("the connection is open");
    }

    /// The next record that is not a session ticket.
    ///
    /// # Panics
    /// If there comes none, or one that is not right.
    pub fn receive(&mut self) -> (ContentType, Vec<u8>) {
        self.try_receive().expect("a record comes")
    }

    /// The same.
    ///
    /// # Errors
    /// The socket's, and UnexpectedEof if there comes no other record.
    ///
    /// # Panics
    /// If the record is not right.
    pub fn try_receive(&mut self) -> io::Result<(ContentType, Vec<u8>)> {
        loop {
            let mut record = vec![0; 5];
            self.socket.read_exact(&mut record)?;
            let len = usize::from(u16::from_be_bytes([record[3], record[4]]));
            record.resize(5 + len, 0);
            self.socket.read_exact(&mut record[5..])?;
            let (kind, plain) = self.from.open(&record);
            if kind != ContentType::Handshake || plain[0] != NEW_SESSION_TICKET {
                return Ok((kind, plain));
            }
        }
    }

    /// How many bytes of data come, and what record comes behind them; none if the connection ends.
    ///
    /// # Panics
    /// As [`ByHand::receive`].
    pub fn receive_behind_data(&mut self) -> (usize, Option<(ContentType, Vec<u8>)>) {
        let mut data = 0;
        loop {
            match self.try_receive() {
                Ok((ContentType::ApplicationData, plain)) => data += plain.len(),
                Ok(other) => return (data, Some(other)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return (data, None),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Our server on one end of a connection and a client by hand on the other, after a handshake.
///
/// # Panics
/// If they do not agree.
pub async fn by_hand<T: Send + 'static>(
    version: &'static SupportedProtocolVersion,
    (stream, mut socket): (TcpStream, std::net::TcpStream),
    talk: impl FnOnce(ByHand) -> T + Send + 'static,
) -> (TlsStream, thread::JoinHandle<T>) {
    let authority = Authority::new();
    let mut config = authority.client_config_of(&[version]);
    config.enable_secret_extraction = true;
    let mut connection = ClientConnection::new(Arc::new(config), name()).expect("the configuration is whole");
    let client = thread::spawn(move || {
        while connection.is_handshaking() || connection.wants_write() {
            if connection.wants_write() {
                connection.write_tls(&mut socket).expect("the connection is open");
            } else {
                // By the byte, so that nothing behind the handshake is read.
                connection.read_tls(&mut (&mut socket).take(1)).expect("the connection is open");
                connection.process_new_packets().expect("they agree");
            }
        }
        let suite = connection.negotiated_cipher_suite().expect("they have agreed");
        let secrets = connection.dangerous_extract_secrets().expect("it is allowed");
        talk(ByHand { socket, to: Records::new(suite, secrets.tx), from: Records::new(suite, secrets.rx) })
    });
    let acceptor = Acceptor::new(Arc::new(authority.server_config()));
    (acceptor.accept(stream).await.expect("they agree"), client)
}
