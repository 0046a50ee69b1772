//! Serving what a stuck core leaves lying: connections on its listener, and in its mailbox.
//!
//! Owns who helps whom: the next core that is well, cyclically, and only while the other is stuck. What it
//! takes it places like any fresh connection, or serves with this core's own handler. It neither finds out
//! who is stuck (the scheduler's monitor does) nor touches a connection that a handler has begun to serve.
//! A listener that has a limit of one connection to itself is not helped: the stuck core waits with that one
//! place. One that shares its limit is (`Balance::Nearest`).
//!
//! Once the server is told to stop, a stuck core's part in that is done for it, too: those that wait at its
//! listener are taken, as far as there is room, and it is closed. Otherwise it would be the last one that is
//! open, all connections would come to it, and they would be served for as long as the core is stuck. A core
//! that comes back meanwhile does what is left itself, beside a helper that has not heard yet (net/rest.rs).
#![forbid(unsafe_code)]

use super::accept::{Seat, Start};
use super::mailbox::Arrival;
use super::state::OnDuty;
use crate::net::{AcceptBeside, Beside, TcpStream};
use crate::runtime::Handle;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

/// Connections that are taken before others of the core have their turn.
const BATCH: usize = 64;

/// One listener of the server.
pub(super) struct Listener {
    /// The core that accepts from it.
    pub(super) home: usize,
    pub(super) beside: Beside,
}

/// What a helping core has in flight on another's listener.
struct Help {
    listener: usize,
    accepting: AcceptBeside,
    /// It is at its end, or broken: that is its own core's affair.
    is_over: bool,
}

/// A waker that waits for news of stuck cores, and goes with the task. The runtime keeps it and it keeps the
/// runtime, so nobody may leave it there.
struct Watch {
    runtime: Handle,
    waker: Option<Waker>,
}

impl Watch {
    /// Waits for the next news.
    fn renew(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.end();
            self.waker = Some(waker.clone());
        }
        self.runtime.watch_stuck(waker);
    }

    fn end(&mut self) {
        if let Some(waker) = self.waker.take() {
            self.runtime.unwatch_stuck(&waker);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

/// Helps stuck cores from this one, until nobody accepts any more.
pub(super) async fn help_the_stuck<S: Start>(
    seat: Rc<Seat<S>>,
    listeners: Arc<[Listener]>,
    _on_duty: OnDuty,
) {
    let mut watch = Watch { runtime: seat.state.runtime().clone(), waker: None };
    let mut helps: Vec<Help> = Vec::new();
    poll_fn(|cx| {
        let runtime = seat.state.runtime();
        // In this order: a core that becomes stuck or well after the looks below wakes this task, and so does
        // the word to stop.
        watch.renew(cx.waker());
        if seat.state.poll_accepted_all(cx) {
            return Poll::Ready(());
        }
        seat.adjust(&mut helps, &listeners);
        let mut left = BATCH;
        for help in &mut helps {
            seat.accept_for(help, listeners[help.listener].home, &mut left, cx);
        }
        for core in 0..runtime.cores() {
            seat.serve_mail_of(core, &mut left, cx);
        }
        if left == 0 {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}

impl<S: Start> Seat<S> {
    /// Whether core `other` is stuck and this is the core to help it.
    fn helps(&self, other: usize) -> bool {
        let runtime = self.state.runtime();
        if !runtime.is_stuck(other) {
            return false;
        }
        let mut after = (1..runtime.cores()).map(|step| (other + step) % runtime.cores());
        after.find(|&core| !runtime.is_stuck(core)) == Some(self.core)
    }

    /// Begins to help where that is due, and ends it where the core is well or another helps.
    fn adjust(&self, helps: &mut Vec<Help>, listeners: &[Listener]) {
        helps.retain(|help| self.helps(listeners[help.listener].home));
        for (listener, Listener { home, beside }) in listeners.iter().enumerate() {
            if self.helps(*home) && !helps.iter().any(|help| help.listener == listener) {
                helps.push(Help { listener, accepting: beside.accepting(), is_over: false });
            }
        }
    }

    fn accept_for(&self, help: &mut Help, home: usize, left: &mut usize, cx: &mut Context<'_>) {
        while *left > 0 {
            let Poll::Ready(stream) = self.poll_accept_for(help, cx) else { return };
            *left -= 1;
            // The peer may be gone already: then there is nobody to serve.
            if let Ok(peer) = stream.peer_addr() {
                self.place(stream, peer, home, &[]);
            }
        }
    }

    /// The next connection at the listener; once the server is told to stop, of those that waited there then.
    fn poll_accept_for(&self, help: &mut Help, cx: &mut Context<'_>) -> Poll<TcpStream> {
        if self.state.is_stopping() {
            // Also if it is at its end: its core may have got stuck amid its own drain.
            return help.accepting.poll_last(cx);
        }
        if !help.is_over {
            match ready!(help.accepting.poll_accept(cx)) {
                Some(stream) => return Poll::Ready(stream),
                None => help.is_over = true,
            }
        }
        Poll::Pending
    }

    /// Takes what was placed on a stuck core and has not reached its handler: this core's serves it.
    fn serve_mail_of(&self, core: usize, left: &mut usize, cx: &mut Context<'_>) {
        let Some(mailbox) = self.state.mailbox(core) else { return };
        while *left > 0 && self.helps(core) {
            let Some(Arrival { stream, peer, live }) = mailbox.take(cx) else { return };
            *left -= 1;
            (self.start)(self.core, stream, peer, live.moved_to(&self.state, self.core));
        }
    }
}
