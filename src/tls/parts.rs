//! Taking a stream apart for somebody else to go on with its encryption.
//!
//! # Steps
//! 1. Take the send turn, so that nothing is in flight; send what is owed.
//! 2. Release the socket: its receive ends, and what it had read ahead comes with it.
//! 3. Decrypt that. It may end amid a record: receive exactly the rest of it, header first, until the last
//!    record is whole. From here on the kernel has every byte that we have not decrypted.
//! 4. Give the connection up for its secrets. Both sequence numbers are those of the next record.
#![forbid(unsafe_code)]

use super::TlsStream;
use super::error;
use super::state::{Inner, Sealed};
use crate::buf::IoBuf;
use crate::net::{LaneSend, TcpStream};
use crate::task::yield_now;
use rustls::ExtractedSecrets;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;

/// What is left of a TLS stream whose encryption somebody else goes on with, for example the kernel (kTLS);
/// made by [`TlsStream::into_parts`](super::TlsStream::into_parts).
///
/// All records that were received are decrypted, and none has been received in part. So the next byte of
/// `stream` is the first of the record with the number in `secrets.rx`, and the next record to be sent has
/// the number in `secrets.tx`: what `setsockopt(SOL_TLS, TLS_RX)` and `TLS_TX` want.
///
/// Alerts, new keys and session tickets are the new owner's affair from now on. If the peer has asked for
/// new keys and nothing was sent since, rustls has not answered yet and the answer is lost: send something
/// first where peers do that.
///
/// ```no_run
/// use ringwork::tls::TlsStream;
///
/// # async fn hand_over(stream: TlsStream) -> std::io::Result<()> {
/// let parts = stream.into_parts().await?;
/// let (next_record, _keys) = &parts.secrets.tx;
/// println!("{} bytes were not read; record {next_record} is next to be sent", parts.plaintext.len());
/// // Set the socket up for kTLS with `parts.secrets`, then go on with `parts.stream`.
/// # Ok(())
/// # }
/// ```
#[non_exhaustive]
pub struct Parts {
    /// The socket. It does not read ahead ([`TcpStream::read_ahead`]) unless it is told to.
    pub stream: TcpStream,
    /// What was received, decrypted and not read; the peer's next record comes behind it.
    pub plaintext: Vec<u8>,
    /// The keys and, for each direction, the number of the next record.
    pub secrets: ExtractedSecrets,
    /// The peer has announced the end of what it sends.
    pub peer_closed: bool,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest is secret.
        f.debug_struct("Parts").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// The steps of the module header.
pub(super) async fn take_apart(stream: TlsStream) -> io::Result<Parts> {
    // With the handle: a long message that is waited for ends with it, should this be dropped.
    send_all_owed(stream.inner()).await?;
    let mut inner = stream.hand_over();
    let inner = loop {
        match Arc::try_unwrap(inner) {
            Ok(inner) => break inner,
            // The task of a long message, which has passed the turn as the last thing it does.
            Err(shared) => inner = shared,
        }
        yield_now().await;
    };
    let (tcp, mut state) = inner.into_state();
    let mut plaintext = Vec::new();
    while let Some(ready) = state.take_ready() {
        match ready? {
            end if end.is_empty() => break,
            ready => plaintext.extend_from_slice(&ready),
        }
    }
    let (fd, mut unread) = tcp.release().await?;
    let stream = TcpStream::from_std(fd.into())?;
    stream.read_ahead(false);
    let mut engine = state.engine;
    loop {
        let result = engine.take_in(&mut unread, &mut |plain| plaintext.extend_from_slice(plain));
        if engine.owes() {
            let (sent, _) = stream.send_all(engine.take_owed()).await;
            // The peer may be gone; what went wrong matters more than whether it hears of it.
            if result.is_ok() {
                sent?;
            }
        }
        result.map_err(error::protocol)?;
        if !engine.is_amid_record() {
            break;
        }
        let (result, rest) = stream.recv_exact(Vec::with_capacity(engine.missing())).await;
        result?;
        unread = rest;
    }
    let peer_closed = engine.peer_closed();
    let secrets = engine.into_secrets().map_err(error::protocol)?;
    Ok(Parts { stream, plaintext, secrets, peer_closed })
}

async fn send_all_owed(inner: &Inner) -> io::Result<()> {
    let mut lane: LaneSend<'_, Sealed> = LaneSend::new(&inner.tcp);
    poll_fn(|cx| inner.poll_turn(&mut lane, cx)).await;
    let owed = {
        let mut state = inner.state();
        state.check_sendable()?;
        state.engine.take_owed()
    };
    if !owed.is_empty() {
        lane.start(owed.slice(..));
        poll_fn(|cx| lane.poll_sent(cx)).await.0?;
    }
    lane.pass();
    Ok(())
}
