//! Echo servers on two workers, for load that is even on both. A connection is greeted with the number of the
//! core that serves it, so that the harness can choose as many of each; for each line on standard input the
//! program prints what its runtime has counted, as one line of JSON, or does what the line says (`stuck.rs`).

#[cfg(feature = "ringwork")]
pub(crate) mod ringwork;
mod stuck;
pub(crate) mod tokio;

use std::io;
use std::thread;
use std::time::Instant;

use serde::Serialize;

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

/// Answers each line that comes in, from a thread of its own, until the input ends.
fn answer_questions(server: impl Server) -> io::Result<()> {
    let answer = move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if let Some(order) = Order::parse(&line) {
                print(&order.carry_out(&server));
            } else {
                print(&server.counters());
            }
        }
    };
    thread::Builder::new().name("questions".to_owned()).spawn(answer).map(drop)
}

fn print(answer: &impl Serialize) {
    println!("{}", serde_json::to_string(answer).expect("numbers only"));
}
