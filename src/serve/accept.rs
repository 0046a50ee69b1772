//! The loops of one core of a server: accepting, placing, and serving what was placed here.
//!
//! Owns the order of the end: each listener is drained before it closes, and a mailbox is served until nobody
//! can put anything into it. It does not choose a core (`balance.rs`) and starts no connection itself: the
//! starter it is given does.
#![forbid(unsafe_code)]

use super::mailbox::Arrival;
use super::rescue::{Listener, help_the_stuck};
use super::state::{Live, OnDuty, State};
use crate::net::{TcpListener, TcpStream, is_of_the_listener};
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
pub(super) struct Seat<S> {
    pub(super) core: usize,
    pub(super) start: S,
    pub(super) state: Arc<State>,
}

/// What one core of a server has to do.
pub(super) struct Duties {
    /// A listener of its own.
    pub(super) accept: Option<(TcpListener, OnDuty)>,
    /// Accepting for cores that are stuck.
    pub(super) help: Option<OnDuty>,
    pub(super) mail: Option<OnDuty>,
    /// The listeners of the server, of all cores.
    pub(super) listeners: Arc<[Listener]>,
}

/// Serves on this core until the server stops.
pub(super) async fn serve_core<S: Start>(seat: Seat<S>, duties: Duties) -> io::Result<()> {
    let seat = Rc::new(seat);
    let mail = duties.mail.map(|on_duty| spawn_local(serve_mail(Rc::clone(&seat), on_duty)));
    let all = duties.listeners;
    let helping = |on_duty| spawn_local(help_the_stuck(Rc::clone(&seat), Arc::clone(&all), on_duty));
    let help = duties.help.map(helping);
    let accepted = match duties.accept {
        Some((listener, on_duty)) => seat.accept_loop(listener, all, on_duty).await,
        None => {
            drop(all);
            Ok(())
        }
    };
    for task in [help, mail].into_iter().flatten() {
        // They end early with the runtime only, and then this does too.
        let _ = task.await;
    }
    accepted
}

impl<S: Start> Seat<S> {
    /// Accepts until the server stops, and holds the others' descriptors no longer than that.
    async fn accept_loop(
        &self,
        listener: TcpListener,
        all: Arc<[Listener]>,
        _on_duty: OnDuty,
    ) -> io::Result<()> {
        loop {
            let mut accept = pin!(listener.accept());
            let accepted = poll_fn(|cx| match self.state.poll_stopping(cx) {
                true => Poll::Ready(None),
                false => accept.as_mut().poll(cx).map(Some),
            });
            match accepted.await {
                Some(Ok((stream, peer))) => self.place(stream, peer, self.core, &all),
                Some(Err(error)) if is_for_good(&error) => return Err(error),
                // The socket itself is well; whatever it was may pass.
                Some(Err(_)) => sleep(RETRY).await,
                None => break,
            }
        }
        drop(all);
        for stream in listener.drain().await? {
            if let Ok(peer) = stream.peer_addr() {
                self.place(stream, peer, self.core, &[]);
            }
        }
        Ok(())
    }

    /// Finds a core for a fresh connection, which came to the listener of `came_to`, and starts it there;
    /// `all` are the listeners at which others may wait.
    pub(super) fn place(&self, stream: TcpStream, peer: SocketAddr, came_to: usize, all: &[Listener]) {
        let waiting = |core: usize| all.get(core).map_or(0, |listener| listener.beside.waiting());
        let core = self.state.place(self.core, came_to, waiting);
        let live = Live::new(&self.state, core);
        match self.state.mailbox(core) {
            Some(mailbox) if core != self.core => {
                // Closed a moment ago: its core is gone, and this one is not.
                if let Err(Arrival { stream, peer, live }) = mailbox.put(Arrival { stream, peer, live }) {
                    (self.start)(self.core, stream, peer, live.moved_to(&self.state, self.core));
                }
            }
            _ => (self.start)(core, stream, peer, live),
        }
    }
}

/// Whether accepting has ended with this: the runtime goes down, or nothing listens any more.
fn is_for_good(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotConnected || error.raw_os_error().is_some_and(is_of_the_listener)
}

/// Serves what is put into this core's mailbox until nobody can put anything into it.
async fn serve_mail<S: Start>(seat: Rc<Seat<S>>, _on_duty: OnDuty) {
    let Some(mailbox) = seat.state.mailbox(seat.core) else { return };
    loop {
        for _ in 0..MAIL_BATCH {
            let next = poll_fn(|cx| {
                // In this order: what was put in before the last who could do so ended is found after that
                // was seen.
                let last = seat.state.poll_placed_all(cx);
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
