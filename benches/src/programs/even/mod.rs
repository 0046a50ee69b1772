//! Echo servers on two workers, for load that is even on both. A connection is greeted with the number of the
//! core that serves it, so that the harness can choose as many of each; for each line on standard input the
//! program prints what its runtime has counted, as one line of JSON.

#[cfg(feature = "ringwork")]
pub(crate) mod ringwork;
pub(crate) mod tokio;

use std::io;
use std::thread;

use crate::sample::Counters;

/// Greets a connection that belongs to no core.
pub(crate) const NO_CORE: u8 = u8::MAX;

/// Prints `counters` for each line that comes in, from a thread of its own, until the input ends.
fn answer_questions(counters: impl Fn() -> Option<Counters> + Send + 'static) -> io::Result<()> {
    let answer = move || {
        for _ in io::stdin().lines().map_while(Result::ok) {
            let line = serde_json::to_string(&counters()).expect("numbers only");
            println!("{line}");
        }
    };
    thread::Builder::new().name("questions".to_owned()).spawn(answer).map(drop)
}
