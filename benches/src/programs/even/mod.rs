//! Echo servers on two workers, for load that is even on both. A connection is greeted with the number of the
//! core that serves it, so that the harness can choose as many of each; a line on standard input that is not
//! empty is an order (`stuck.rs`).

#[cfg(feature = "ringwork")]
pub(crate) mod ringwork;
mod stuck;
pub(crate) mod tokio;

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::questions::{answer, print, report, say};
use crate::sample::Counters;
use stuck::{OnePoll, Order};

/// Greets a connection that belongs to no core.
pub(crate) const NO_CORE: u8 = u8::MAX;

/// What the questions are about.
trait Server: Send + 'static {
    /// What its runtime has counted so far, if it counts.
    fn counters(&self) -> Option<Counters>;

    /// Starts a task for `poll`, after [`stuck::DELAY`], on the first worker, as far as the runtime lets
    /// one choose.
    fn start(&self, poll: OnePoll);

    /// When the runtime told first, from `begun` on, that its first worker is stuck, if it tells.
    fn told_since(&self, begun: Instant) -> Option<Instant>;
}

/// Tells the harness where to connect, and answers each line that comes in.
fn announce(address: SocketAddr, server: impl Server) -> io::Result<()> {
    answer(move |line| match Order::parse(line) {
        Some(order) => print(&order.carry_out(&server)),
        None => print(&report(server.counters())),
    })?;
    say(address)
}
