//! A core's mailbox: connections that were placed there and wait for the handler that lives there.
//!
//! Owns what is in it until it is taken. Promises that a connection is taken once, in the order they came,
//! and that one that comes too late (its core is gone) is given back. It places nothing and serves nothing.
#![forbid(unsafe_code)]

use super::state::Live;
use crate::base::guard;
use crate::net::TcpStream;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// A connection on its way to its handler.
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) live: Live,
}

/// Where the connections of one core wait.
#[derive(Default)]
pub(super) struct Mailbox {
    content: Mutex<Content>,
    /// Changed under the lock; read without it for a hint.
    closed: AtomicBool,
}

#[derive(Default)]
struct Content {
    arrivals: VecDeque<Arrival>,
    waiting: Vec<Waker>,
}

impl Mailbox {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody serves it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Puts a connection in and wakes whoever waits for one.
    ///
    /// # Errors
    /// The connection, if the mailbox is closed.
    pub(super) fn put(&self, arrival: Arrival) -> Result<(), Arrival> {
        let mut content = self.content();
        if self.is_closed() {
            return Err(arrival);
        }
        content.arrivals.push_back(arrival);
        let waiting = std::mem::take(&mut content.waiting);
        drop(content);
        waiting.into_iter().for_each(guard::wake);
        Ok(())
    }

    /// The oldest connection, or the promise to wake the task of `cx` when there is one.
    pub(super) fn take(&self, cx: &Context<'_>) -> Option<Arrival> {
        let mut content = self.content();
        let arrival = content.arrivals.pop_front();
        if arrival.is_none() && !content.waiting.iter().any(|known| known.will_wake(cx.waker())) {
            content.waiting.push(cx.waker().clone());
        }
        arrival
    }

    /// Nobody takes anything any more: what is in it is closed, and what comes is given back.
    pub(super) fn close(&self) {
        let mut content = self.content();
        self.closed.store(true, Ordering::Relaxed);
        let rest = std::mem::take(&mut *content);
        // Outside of the lock: sockets are closed and counts are left.
        drop(content);
        drop(rest);
    }
}
