//! The rustls connection: the one file that touches its state machine.
//!
//! Owns the order in which received bytes go in and bytes for the peer come out. It does no I/O and knows
//! no lanes: `state.rs` calls it under the lock of the stream.
//!
//! # What goes in
//! Received buffers, as they came. rustls decrypts in the slice it is given; whole records are processed
//! where they lie, and only a record that lies in two buffers is put together (carry.rs). Bytes of
//! unfinished handshake messages must be shown to rustls again from the same place, and from no other
//! slice, until it lets go of them: so every call is given what is carried, also a call that only wants to
//! encrypt.
//!
//! # What comes out
//! Plaintext, record by record, to a function of the caller; and `owed`, bytes for the peer that nobody
//! asked for: handshake messages, tickets, alerts, acknowledgements of new keys. They were numbered when
//! rustls made them, so they stand in front of whatever is encrypted after them: `seal` puts them there.
//!
//! # Versions
//! In rustls 0.23 plaintext comes as a copy that rustls has made and freed by the time the next record is
//! asked for. Its successor has one function instead of the states, is given a buffer of the same shape,
//! and hands out the plaintext in it. The functions here have that shape already: a slice in, a function
//! for plaintext, a vector for what is owed.
#![forbid(unsafe_code)]

use super::carry::{Carry, whole_records};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::{CommonState, Error, ExtractedSecrets, InvalidMessage};

/// The most that encryption adds to a record: header, explicit nonce, content type, tag. Should a provider
/// add more, rustls says so and the buffer grows.
const RECORD_OVERHEAD: usize = 40;
/// Plaintext in a record.
const RECORD_PLAIN: usize = 16 * 1024;

/// A connection of either side.
pub(super) enum Side {
    /// We connected.
    Client(UnbufferedClientConnection),
    /// We accepted.
    Server(UnbufferedServerConnection),
}

/// Where plaintext goes.
pub(super) type Sink<'a> = &'a mut dyn FnMut(&[u8]);

/// A rustls connection with the bytes it waits for and the bytes it owes the peer.
pub(super) struct Engine {
    side: Side,
    carry: Carry,
    owed: Vec<u8>,
    peer_closed: bool,
    failed: Option<Error>,
}

impl Engine {
    /// A connection before its first message.
    pub(super) fn new(side: Side) -> Self {
        Self { side, carry: Carry::default(), owed: Vec::new(), peer_closed: false, failed: None }
    }

    /// What rustls tells of both sides.
    pub(super) fn common(&self) -> &CommonState {
        match &self.side {
            Side::Client(connection) => connection,
            Side::Server(connection) => connection,
        }
    }

    /// Whether the peer has said that it will send no more.
    pub(super) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// What ended the connection, if it was no agreement.
    pub(super) fn failed(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    /// Whether there are bytes for the peer that nobody asked for.
    pub(super) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Takes them. They must be sent before anything that is encrypted later.
    pub(super) fn take_owed(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.owed)
    }

    /// Whether a part of a record or of a handshake message has been received and not the rest.
    pub(super) fn is_amid_record(&self) -> bool {
        !self.carry.is_empty()
    }

    /// How many bytes may be received without reaching behind the record that is amid.
    pub(super) fn missing(&self) -> usize {
        self.carry.missing()
    }

    /// Begins: a client has something to say first.
    ///
    /// # Errors
    /// rustls's.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        let (used, result) = self.drive(None, &mut |_| {});
        debug_assert!(used == 0, "what is carried was looked at when it came");
        self.note(result)
    }

    /// Processes received bytes, whole records in place. Behind the peer's last message nothing is looked
    /// at.
    ///
    /// # Errors
    /// What the peer did wrong, or the alert it sent. In the first case the alert for it becomes owed. The
    /// connection is at its end.
    pub(super) fn take_in(&mut self, received: &mut [u8], sink: Sink<'_>) -> Result<(), Error> {
        let mut at = 0;
        while at < received.len() && !self.peer_closed {
            if self.carry.is_empty() {
                let whole = whole_records(&received[at..]);
                let (used, result) = self.drive(Some(&mut received[at..]), sink);
                self.note(result)?;
                let left = &received[at + used..];
                if !left.is_empty() && !self.peer_closed {
                    self.carry.add(left, whole.saturating_sub(used));
                }
                return Ok(());
            }
            let (n, look) = self.carry.complete(&received[at..]);
            at += n;
            if self.carry.is_too_long() {
                return self.note(Err(InvalidMessage::HandshakePayloadTooLarge.into()));
            }
            if look {
                let (used, result) = self.drive(None, sink);
                self.note(result)?;
                if !self.carry.is_empty() {
                    self.carry.looked_at(used);
                }
            }
        }
        Ok(())
    }

    /// Encrypts `plain` behind what is owed, into `out`, which grows if it must; returns how many bytes
    /// there are to send. What `out` held is overwritten or lies behind those.
    ///
    /// # Errors
    /// rustls's, for a connection that has failed or must not use its keys any longer.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<usize, Error> {
        self.ask(Ask::Encrypt(plain), room_for(plain), out, 0)
    }

    /// As [`Engine::seal`], behind what `out` holds; `out` ends with what there is to send.
    pub(super) fn seal_behind(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.ask_behind(Ask::Encrypt(plain), room_for(plain), out)
    }

    /// Makes the message that no more will follow, behind what is owed.
    ///
    /// # Errors
    /// As [`Engine::seal`].
    pub(super) fn seal_close(&mut self, out: &mut Vec<u8>) -> Result<usize, Error> {
        self.ask(Ask::Close, 2 * RECORD_OVERHEAD, out, 0)
    }

    /// As [`Engine::seal_close`], behind what `out` holds.
    pub(super) fn seal_close_behind(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.ask_behind(Ask::Close, 2 * RECORD_OVERHEAD, out)
    }

    /// Changes the keys of what is sent from now on. The message about it becomes owed.
    ///
    /// # Errors
    /// For TLS 1.2, which cannot, and for a connection that has failed.
    pub(super) fn new_keys(&mut self) -> Result<(), Error> {
        self.ask(Ask::NewKeys, 0, &mut Vec::new(), 0)?;
        self.begin()
    }

    /// Gives the connection up for its secrets and sequence numbers.
    ///
    /// # Errors
    /// If the configuration does not allow it or the handshake is not complete.
    pub(super) fn into_secrets(self) -> Result<ExtractedSecrets, Error> {
        match self.side {
            Side::Client(connection) => Ok(connection.dangerous_into_kernel_connection()?.0),
            Side::Server(connection) => Ok(connection.dangerous_into_kernel_connection()?.0),
        }
    }

    /// Lets rustls look at `received`, or at what is carried.
    fn drive(&mut self, received: Option<&mut [u8]>, sink: Sink<'_>) -> (usize, Result<(), Error>) {
        let Self { side, carry, owed, peer_closed, .. } = self;
        let bytes = received.unwrap_or_else(|| carry.bytes_mut());
        match side {
            Side::Client(connection) => drive(connection, bytes, owed, peer_closed, sink),
            Side::Server(connection) => drive(connection, bytes, owed, peer_closed, sink),
        }
    }

    /// Keeps an error, and lets go of what waited for more bytes if none will be looked at.
    fn note(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        if self.peer_closed || self.failed.is_some() {
            self.carry.clear();
        }
        result
    }

    /// As `ask`, behind what `out` holds.
    fn ask_behind(&mut self, ask: Ask<'_>, guess: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        let at = out.len();
        let result = self.ask(ask, guess, out, at);
        out.truncate(at + result.as_ref().unwrap_or(&0));
        result.map(drop)
    }

    /// Has rustls write something into `out`, from `at` on and behind what is owed, which then is no longer
    /// owed; returns how many bytes that is.
    fn ask(&mut self, ask: Ask<'_>, guess: usize, out: &mut Vec<u8>, at: usize) -> Result<usize, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let mut room = guess;
        loop {
            let owed = if matches!(ask, Ask::NewKeys) { 0 } else { self.owed.len() };
            if out.len() < at + owed + room {
                out.resize(at + owed + room, 0);
            }
            let Self { side, carry, owed: more, .. } = self;
            let (carried, into) = (carry.bytes_mut(), &mut out[at + owed..]);
            let answer = match side {
                Side::Client(connection) => answer(connection, carried, ask, into, more),
                Side::Server(connection) => answer(connection, carried, ask, into, more),
            };
            match answer {
                Answer::Written(n) => {
                    out[at..at + owed].copy_from_slice(&self.owed[..owed]);
                    self.owed.drain(..owed);
                    return Ok(owed + n);
                }
                Answer::Needs(size) => room = size,
                // It had something to hand out first, which now is owed.
                Answer::NotYet => {}
                Answer::Refused(error) => return Err(error),
            }
        }
    }
}

/// How much room the records of `plain` take, if a provider adds no more than usual.
fn room_for(plain: &[u8]) -> usize {
    plain.len() + plain.len().div_ceil(RECORD_PLAIN) * RECORD_OVERHEAD
}

/// What can be asked of a connection that may send.
#[derive(Clone, Copy)]
enum Ask<'a> {
    Encrypt(&'a [u8]),
    Close,
    NewKeys,
}

/// What comes of it.
enum Answer {
    Written(usize),
    Needs(usize),
    NotYet,
    Refused(Error),
}

/// What the two sides of rustls have in common without a trait for it.
trait Connection {
    type Data;

    fn common(&self) -> &CommonState;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Connection for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn common(&self) -> &CommonState {
        self
    }

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Connection for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn common(&self) -> &CommonState {
        self
    }

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

/// Goes on until rustls needs more bytes, has nothing to do or fails; returns how many bytes at the front
/// of `incoming` it is done with.
fn drive<C: Connection>(
    connection: &mut C,
    incoming: &mut [u8],
    owed: &mut Vec<u8>,
    peer_closed: &mut bool,
    sink: Sink<'_>,
) -> (usize, Result<(), Error>) {
    let (mut used, mut result) = (0, Ok(()));
    loop {
        let UnbufferedStatus { mut discard, state } = connection.process(&mut incoming[used..]);
        let goes_on = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            sink(record.payload);
                        }
                        Err(error) => result = Err(error),
                    }
                }
                // The usual case: one record, and nothing is left to look at or to hand out.
                let more = used + discard < incoming.len() || connection.common().wants_write();
                result.is_ok() && more
            }
            Ok(ConnectionState::EncodeTlsData(data)) => {
                encode(data, owed);
                true
            }
            // What is owed is sent by the lane's rules, and in order: that is all rustls must know.
            Ok(ConnectionState::TransmitTlsData(transmit)) => {
                transmit.done();
                true
            }
            Ok(ConnectionState::PeerClosed) => {
                *peer_closed = true;
                true
            }
            // Not to be met: early data is not accepted (handshake.rs).
            Ok(ConnectionState::ReadEarlyData(_)) => {
                result = Err(Error::General("early data was not asked for".into()));
                false
            }
            Ok(_) => false,
            Err(error) => {
                collect_alert(connection, owed);
                result = Err(error);
                false
            }
        };
        used += discard;
        if !goes_on {
            return (used.min(incoming.len()), result);
        }
    }
}

/// After an error: takes the alert for the peer, and shows rustls no more bytes.
fn collect_alert<C: Connection>(connection: &mut C, owed: &mut Vec<u8>) {
    while connection.common().wants_write() {
        let Ok(ConnectionState::EncodeTlsData(data)) = connection.process(&mut []).state else { return };
        encode(data, owed);
    }
}

/// Appends a message of rustls's own to what is owed.
fn encode<D>(mut data: EncodeTlsData<'_, D>, owed: &mut Vec<u8>) {
    let start = owed.len();
    loop {
        match data.encode(&mut owed[start..]) {
            Ok(n) => return owed.truncate(start + n),
            Err(EncodeError::InsufficientSize(size)) => owed.resize(start + size.required_size, 0),
            Err(EncodeError::AlreadyEncoded) => return,
        }
    }
}

/// Asks rustls for one thing, with all that is carried shown to it.
fn answer<C: Connection>(
    connection: &mut C,
    carried: &mut [u8],
    ask: Ask<'_>,
    room: &mut [u8],
    owed: &mut Vec<u8>,
) -> Answer {
    let mut traffic = match connection.process(carried).state {
        Ok(ConnectionState::WriteTraffic(traffic)) => traffic,
        Ok(ConnectionState::EncodeTlsData(data)) => {
            encode(data, owed);
            return Answer::NotYet;
        }
        Ok(ConnectionState::TransmitTlsData(transmit)) => {
            transmit.done();
            return Answer::NotYet;
        }
        Ok(_) => return Answer::Refused(Error::HandshakeNotComplete),
        Err(error) => return Answer::Refused(error),
    };
    let written = match ask {
        Ask::Encrypt(plain) => traffic.encrypt(plain, room),
        Ask::Close => traffic.queue_close_notify(room),
        Ask::NewKeys => {
            return match traffic.refresh_traffic_keys() {
                Ok(()) => Answer::Written(0),
                Err(error) => Answer::Refused(error),
            };
        }
    };
    match written {
        Ok(n) => Answer::Written(n),
        Err(EncryptError::InsufficientSize(size)) => Answer::Needs(size.required_size),
        Err(EncryptError::EncryptExhausted) => Answer::Refused(Error::EncryptError),
    }
}
