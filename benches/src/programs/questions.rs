//! What a server of ours answers while it runs: for each empty line on standard input, one line of JSON with
//! what it has counted. A thread of its own waits for the lines, so a server pays only when it is asked.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::thread;

use serde::Serialize;

use crate::counting;
use crate::raw;
use crate::sample::{Counters, Report};

/// Tells the harness where to connect, and answers its questions from now on.
pub(super) fn announce(address: SocketAddr) -> io::Result<()> {
    announce_counting(address, || None)
}

/// The same for a runtime that counts what it does.
pub(super) fn announce_counting(
    address: SocketAddr,
    counters: impl Fn() -> Option<Counters> + Send + 'static,
) -> io::Result<()> {
    answer(move |line| {
        if line.is_empty() {
            print(&report(counters()));
        }
    })?;
    say(address)
}

/// Tells the harness where to connect.
pub(super) fn say(address: SocketAddr) -> io::Result<()> {
    println!("{address}");
    io::stdout().flush()
}

/// Hands each line that comes in to `reply`, on a thread of its own, until the input ends.
pub(super) fn answer(reply: impl Fn(&str) + Send + 'static) -> io::Result<()> {
    let work = move || {
        counting::leave_out_this_thread();
        io::stdin().lines().map_while(Result::ok).for_each(|line| reply(&line));
    };
    thread::Builder::new().name("questions".to_owned()).spawn(work).map(drop)
}

/// What has been counted so far.
pub(super) fn report(counters: Option<Counters>) -> Report {
    let heap = counting::reading();
    Report {
        allocations: heap.map(|(calls, _)| calls),
        heap_bytes: heap.map(|(_, live)| live),
        waits: raw::waits(),
        counters,
        syscalls: None,
    }
}

/// Prints an answer as one line.
pub(super) fn print(answer: &impl Serialize) {
    println!("{}", serde_json::to_string(answer).expect("numbers only"));
}
