//! The progress line: overwritten on a terminal, one per finished turn elsewhere, always on standard error.
//! The estimate of the time that is left comes from the turns taken so far.

use std::io::{self, IsTerminal, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Turns of the whole run, and those taken.
struct Run {
    begun: Instant,
    turns: usize,
    taken: usize,
}

static RUN: Mutex<Option<Run>> = Mutex::new(None);

/// A run of that many turns begins.
pub(crate) fn begin(turns: usize) {
    *lock() = Some(Run { begun: Instant::now(), turns, taken: 0 });
}

/// What is being done now.
pub(crate) fn show(what: &str) {
    let mut err = io::stderr();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K{}{what}", left()).and_then(|()| err.flush());
    }
}

/// A turn is over.
pub(crate) fn done(what: &str) {
    if let Some(run) = lock().as_mut() {
        run.taken += 1;
    }
    let mut err = io::stderr();
    let _ = if err.is_terminal() {
        write!(err, "\r\x1b[K{}{what}", left()).and_then(|()| err.flush())
    } else {
        writeln!(err, "{}{what}", left())
    };
}

/// Takes the progress line away before a table is printed.
pub(crate) fn clear() {
    let mut err = io::stderr();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K");
    }
}

fn left() -> String {
    let run = lock();
    match run.as_ref() {
        Some(run) if run.taken > 0 => {
            let left = remaining(run.begun.elapsed(), run.taken, run.turns).as_secs();
            format!("[{}/{}, {}:{:02} left] ", run.taken, run.turns, left / 60, left % 60)
        }
        _ => String::new(),
    }
}

fn remaining(elapsed: Duration, taken: usize, turns: usize) -> Duration {
    elapsed.mul_f64(turns.saturating_sub(taken) as f64 / taken.max(1) as f64)
}

fn lock() -> std::sync::MutexGuard<'static, Option<Run>> {
    RUN.lock().expect("nothing panics under it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_what_was_taken() {
        assert_eq!(remaining(Duration::from_secs(10), 5, 15), Duration::from_secs(20));
        assert_eq!(remaining(Duration::from_secs(10), 15, 15), Duration::ZERO);
    }
}
