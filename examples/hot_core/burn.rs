//! Work of a fixed size: a number of steps, not a length of time, so that a thread that has to share its CPU
//! does not get work for nothing.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// How often the speed is measured; the fastest counts, for the others were disturbed.
const TRIALS: usize = 20;
const STEPS_PER_TRIAL: u64 = 500_000;

/// Some CPU to burn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    steps: u64,
}

impl Work {
    /// As many steps as take this long on a CPU that has nothing else to do.
    pub(crate) fn lasting(time: Duration) -> Self {
        let trial = || {
            let start = Instant::now();
            burn(STEPS_PER_TRIAL);
            start.elapsed()
        };
        let fastest = (0..TRIALS).map(|_| trial()).min().unwrap_or(Duration::from_millis(1));
        let steps = time.as_secs_f64() / fastest.as_secs_f64() * STEPS_PER_TRIAL as f64;
        Self { steps: steps as u64 }
    }

    pub(crate) fn burn(self) {
        burn(self.steps);
    }
}

fn burn(steps: u64) {
    let mut state = 1u64;
    for step in 0..steps {
        state = black_box(state.rotate_left(5) ^ step);
    }
    black_box(state);
}
