//! The progress line: overwritten on a terminal, one per finished turn elsewhere, always on standard error.
//! The estimate of the time that is left comes from the turns taken so far.

use std::io::{self, IsTerminal, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Turns of the whole run, those taken, and how many would have been taken if all had taken part in the
/// workloads that are over.
struct Run {
    begun: Instant,
    turns: usize,
    taken: usize,
    ended: usize,
}

impl Run {
    /// A workload is over: what was planned for it and not done will never be.
    fn over(&mut self, planned: usize) {
        let missed = (self.ended + planned).saturating_sub(self.taken);
        self.turns -= missed;
        self.ended = self.taken;
    }
}

static RUN: Mutex<Option<Run>> = Mutex::new(None);

/// A run of that many turns begins.
pub(crate) fn begin(turns: usize) {
    *lock() = Some(Run { begun: Instant::now(), turns, taken: 0, ended: 0 });
}

/// What is being done now.
pub(crate) fn show(what: &str) {
    let mut err = io::stderr();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K{}{what}", left()).and_then(|()| err.flush());
    }
}

/// Something that takes long and is no turn begins.
pub(crate) fn step(what: &str) {
    if io::stderr().is_terminal() {
        show(what);
    } else {
        let _ = writeln!(io::stderr(), "{what}");
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

/// A workload is over for which that many turns had been planned: peers that were left out or have failed did
/// not take all of theirs.
pub(crate) fn over(planned: usize) {
    if let Some(run) = lock().as_mut() {
        run.over(planned);
    }
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
    fn turns_that_were_not_taken_are_not_waited_for() {
        let mut run = Run { begun: Instant::now(), turns: 30, taken: 10, ended: 0 };
        run.over(10);
        assert_eq!((run.turns, run.taken), (30, 10));
        run.taken += 4;
        run.over(10);
        assert_eq!((run.turns, run.taken), (24, 14));
        run.taken += 10;
        run.over(10);
        assert_eq!((run.turns, run.taken), (24, 24));
    }

    #[test]
    fn what_is_left_follows_from_what_was_taken() {
        assert_eq!(remaining(Duration::from_secs(10), 5, 15), Duration::from_secs(20));
        assert_eq!(remaining(Duration::from_secs(10), 15, 15), Duration::ZERO);
    }
}
