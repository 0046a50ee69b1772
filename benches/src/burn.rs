//! Work for a CPU that touches no memory: a chain of shifts, each of which needs the one before. How many
//! turns of it take how long is found out once, by the harness, so that all peers of a run do the same work
//! and not merely spin for the same time: a task that was interrupted has not worked meanwhile.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Turns that are timed at once: short enough to pass between two interrupts.
const PIECE: u64 = 20_000;
const PIECES: usize = 200;

/// Works for `turns`.
pub(crate) fn burn(turns: u64) {
    let mut state = black_box(0x2545_F491_4F6C_DD1D_u64);
    for _ in 0..turns {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    black_box(state);
}

/// How many turns take `time` on this CPU if nothing interrupts them.
pub(crate) fn turns_for(time: Duration) -> u64 {
    let piece = |_| {
        let begun = Instant::now();
        burn(PIECE);
        begun.elapsed()
    };
    let fastest = (0..PIECES).map(piece).min().unwrap_or_default();
    (time.as_nanos() * u128::from(PIECE) / fastest.as_nanos().max(1)) as u64
}
