//! One connection, from accept to close: receive, parse, answer, again.
//!
//! Teaches: a protocol loop over owned buffers, with every wait bounded. A client may be silent between
//! requests for [`IDLE_TIME`], may take [`REQUEST_TIME`] to send one, and must keep reading (`body.rs`).
//! Requests that arrive together are answered in order, one after the other.
//! Promises: an answer that ends the connection arrives before the connection goes; when the server stops, a
//! request that was begun is answered and an idle connection closes, once it has its answers; while a client
//! is waited for, its connection holds no pooled buffer.
//! It does not know what a file is: `server.rs` turns requests into answers.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use ringwork::buf::PooledBuf;
use ringwork::net::TcpStream;
use ringwork::time::timeout;

use crate::body::{self, Sent};
use crate::inbound::Inbound;
use crate::request::{Parser, Refusal, begins_as_head};
use crate::response::{Persistence, Status};
use crate::server::Server;
use crate::stop::Guest;

/// How long a client may keep a connection open without asking for anything.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// How long a request may take to arrive, from its first byte to its last.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// When the server stops: how long an idle connection is still listened to. A request that was on its way is
/// answered; a client that is told nothing would have to guess whether it was served.
const LAST_CALL: Duration = Duration::from_millis(100);
/// How long, and how much, a refused client may go on sending before the connection is closed in its face.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// Serves one client until either side has had enough.
pub(crate) async fn serve(stream: TcpStream, server: Rc<Server>) {
    // The head and a large body are two sends; the second must not wait for the first to be acknowledged.
    // Failing means the client has gone, which the first receive will tell.
    let _ = stream.set_nodelay(true);
    let guest = server.stop.enter();
    let connection = Connection { stream, server, guest };
    let ended = match connection.run().await {
        Ok(End::Refuse { status, head_only }) => connection.refuse(status, head_only).await,
        Ok(End::Announced) => connection.linger().await,
        // There is nothing to say, but what was said may not have left. Until it has, the server counts the
        // connection as one that it serves, and gives it time when it stops.
        Ok(End::Silent) => body::all_sent(&connection.stream).await,
        Err(error) => Err(error),
    };
    // An error is the client's end of the connection: there is nobody left to tell.
    drop(ended);
}

struct Connection {
    stream: TcpStream,
    server: Rc<Server>,
    guest: Guest,
}

/// How a connection comes to its end.
enum End {
    /// The client has closed it, or was idle for too long.
    Silent,
    /// The last answer said that it is the last.
    Announced,
    /// What the client sent is no request, or cannot be served, and it has to be told so.
    Refuse {
        status: Status,
        /// It was HEAD: fields only.
        head_only: bool,
    },
}

/// What came of waiting for bytes.
enum Received {
    Bytes(PooledBuf),
    /// The client will send no more.
    End,
    TooLate,
}

impl Connection {
    async fn run(&self) -> io::Result<End> {
        let mut inbound = Inbound::new();
        let mut parser = Parser::default();
        // When the first byte of an unfinished request came.
        let mut begun: Option<Instant> = None;
        loop {
            let answered = match parser.parse(inbound.bytes()) {
                Ok(Some(request)) => Some((request.length, self.server.answer(&request).await)),
                Ok(None) => None,
                Err(Refusal(status)) => return Ok(refuse(status, inbound.bytes())),
            };
            if let Some((length, (answer, file))) = answered {
                inbound.consume(length);
                begun = None;
                let part = file.as_ref().zip(answer.file).map(|(open, part)| (&open.file, part));
                // Sending may take as long as the client likes, and others may need the pooled buffer.
                inbound.release();
                if body::send(&self.stream, answer.bytes, part).await? == Sent::Nothing {
                    return Ok(End::Refuse { status: Status::InternalServerError, head_only: false });
                }
                if answer.persistence == Persistence::Close {
                    return Ok(End::Announced);
                }
                continue;
            }
            let received = if inbound.bytes().is_empty() {
                self.receive_first().await?
            } else {
                // So may the rest of a request.
                inbound.release();
                let begun = *begun.get_or_insert_with(Instant::now);
                self.receive_within(REQUEST_TIME.saturating_sub(begun.elapsed())).await?
            };
            match received {
                Received::Bytes(bytes) => inbound.push(bytes),
                Received::TooLate if !inbound.bytes().is_empty() => {
                    return Ok(refuse(Status::RequestTimeout, inbound.bytes()));
                }
                Received::TooLate | Received::End => return Ok(End::Silent),
            }
        }
    }

    /// Waits for the first bytes of a request: not for ever, and not once the server stops.
    async fn receive_first(&self) -> io::Result<Received> {
        let waited = {
            let received = pin!(self.receive_within(IDLE_TIME));
            let stopping = pin!(self.guest.stopping());
            match select(received, stopping).await {
                Either::Left((received, _)) => Some(received),
                Either::Right(((), _)) => None,
            }
        };
        match waited {
            Some(received) => received,
            None => self.receive_within(LAST_CALL).await,
        }
    }

    async fn receive_within(&self, limit: Duration) -> io::Result<Received> {
        match timeout(limit, self.stream.recv_pooled()).await {
            Ok(Ok(bytes)) if bytes.is_empty() => Ok(Received::End),
            Ok(bytes) => bytes.map(Received::Bytes),
            Err(_) => Ok(Received::TooLate),
        }
    }

    /// Answers something that is not served, and ends the connection.
    async fn refuse(&self, status: Status, head_only: bool) -> io::Result<()> {
        let refusal = self.server.refuse(status, head_only);
        body::send(&self.stream, refusal.bytes, None).await?;
        self.linger().await
    }

    /// Ends our direction first and reads on for a while. Closing a socket with unread bytes resets the
    /// connection, and a reset may overtake the answer.
    async fn linger(&self) -> io::Result<()> {
        body::all_sent(&self.stream).await?;
        self.stream.shutdown_write().await?;
        let until = Instant::now() + LINGER_TIME;
        let mut dropped = 0;
        while dropped < LINGER_BYTES_MAX {
            match self.receive_within(until.saturating_duration_since(Instant::now())).await? {
                Received::Bytes(bytes) => dropped += bytes.len(),
                Received::End | Received::TooLate => break,
            }
        }
        Ok(())
    }
}

/// The end that says `status` to what was `received`.
fn refuse(status: Status, received: &[u8]) -> End {
    End::Refuse { status, head_only: begins_as_head(received) }
}

#[cfg(test)]
mod tests;
