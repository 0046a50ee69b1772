//! The loops of one core of a server: accepting, placing, and serving what was placed here.
//!
//! Owns the order of the end: each listener is drained before it closes, and a mailbox is served until nobody
//! can put anything into it. It does not choose a core (`balance.rs`) and starts no connection itself: the
//! starter it is given does.
#![forbid(unsafe_code)]

use super::mailbox::{Arrival, Mailbox};
use super::state::{Live, State};
use crate::net::{TcpListener, TcpStream};
use crate::runtime::spawn_local;
use crate::task::yield_now;
use crate::time::sleep;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How long a core waits after an accept that failed for a reason of the system's.
const RETRY: Duration = Duration::from_millis(50);
/// Connections that are taken from a mailbox before others of the core have their turn.
const MAIL_BATCH: u32 = 64;

/// Starts a connection on the core it was placed on: this one, if connections go by mail.
pub(super) trait Start: Fn(usize, TcpStream, SocketAddr, Live) + 'static {}

impl<S: Fn(usize, TcpStream, SocketAddr, Live) + 'static> Start for S {}

/// One core of a server.
struct Seat<S> {
    core: usize,
    start: S,
    state: Arc<State>,
}

/// Serves on core `core`, which this is, until the server stops; accepts from `listener` if it has one.
pub(super) async fn serve_core<S: Start>(
    core: usize,
    listener: Option<TcpListener>,
    start: S,
    state: Arc<State>,
) -> io::Result<()> {
    let seat = Rc::new(Seat { core, start, state });
    let mail = seat.state.mailbox(core).is_some().then(|| spawn_local(serve_mail(Rc::clone(&seat))));
    let accepted = match listener {
        Some(listener) => seat.accept_loop(listener).await,
        None => Ok(()),
    };
    if let Some(mail) = mail {
        // It ends early with the runtime only, and then this does too.
        let _ = mail.await;
    }
    accepted
}

impl<S: Start> Seat<S> {
    async fn accept_loop(&self, listener: TcpListener) -> io::Result<()> {
        let _ended = Ended(&self.state);
        loop {
            let mut accept = pin!(listener.accept());
            let accepted = poll_fn(|cx| match self.state.poll_stopping(cx) {
                true => Poll::Ready(None),
                false => accept.as_mut().poll(cx).map(Some),
            });
            match accepted.await {
                Some(Ok((stream, peer))) => self.place(stream, peer),
                Some(Err(error)) if error.kind() == io::ErrorKind::NotConnected => return Err(error),
                // The socket itself is well; whatever it was may pass.
                Some(Err(_)) => sleep(RETRY).await,
                None => break,
            }
        }
        for stream in listener.drain().await? {
            if let Ok(peer) = stream.peer_addr() {
                self.place(stream, peer);
            }
        }
        Ok(())
    }

    /// Finds a core for a fresh connection and starts it there.
    fn place(&self, stream: TcpStream, peer: SocketAddr) {
        let core = self.state.place(self.core);
        let live = Live::new(&self.state, core);
        match self.state.mailbox(core) {
            Some(mailbox) if core != self.core => mailbox.put(Arrival { stream, peer, live }),
            _ => (self.start)(core, stream, peer, live),
        }
    }
}

/// Says that an accept loop has ended, however it did.
struct Ended<'a>(&'a State);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.accepted_all();
    }
}

/// Serves what is put into this core's mailbox until nobody can put anything into it.
async fn serve_mail<S: Start>(seat: Rc<Seat<S>>) {
    let Some(mailbox) = seat.state.mailbox(seat.core) else { return };
    let _closes = Closes(mailbox);
    loop {
        for _ in 0..MAIL_BATCH {
            let next = poll_fn(|cx| {
                // In this order: what was put in before the last accept loop ended is found after that was
                // seen.
                let last = seat.state.poll_accepted_all(cx);
                match mailbox.take(cx) {
                    Some(arrival) => Poll::Ready(Some(arrival)),
                    None if last => Poll::Ready(None),
                    None => Poll::Pending,
                }
            });
            let Some(Arrival { stream, peer, live }) = next.await else { return };
            (seat.start)(seat.core, stream, peer, live);
        }
        yield_now().await;
    }
}

/// Closes a mailbox when nobody serves it any more.
struct Closes<'a>(&'a Mailbox);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
