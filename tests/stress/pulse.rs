//! Sees that something goes on: if nothing has happened for long, or one runtime has not come to its end,
//! the process says what its counters say and ends.

use crate::world::{lock, steps};
use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing has happened for so long: it hangs. A little more than what each wait of the test allows itself,
/// so that one that waits in vain can say what for.
const STILL: Duration = Duration::from_secs(33);
/// One runtime has been there for so long: something in it hangs, although the rest goes on.
const LIFETIME: Duration = Duration::from_secs(150);

/// What tells how the runtime is that is watched, and since when it is.
type Watched = Option<(Box<dyn Fn() -> String + Send>, Instant)>;

/// Watches until it is dropped.
pub(crate) struct Pulse {
    watched: Arc<Mutex<Watched>>,
    stop: Option<(Sender<()>, thread::JoinHandle<()>)>,
}

impl Pulse {
    pub(crate) fn watch() -> Self {
        let watched: Arc<Mutex<Watched>> = Arc::default();
        let (stop, stopped) = channel();
        let seen = Arc::clone(&watched);
        let watching = thread::spawn(move || {
            let (mut last, mut since) = (steps(), Instant::now());
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(Duration::from_secs(1)) {
                if steps() != last {
                    (last, since) = (steps(), Instant::now());
                }
                if since.elapsed() > STILL {
                    stop_at_once(&seen, "nothing has happened for long");
                }
                let age = lock(&seen).as_ref().map_or(Duration::ZERO, |(_, begun)| begun.elapsed());
                if age > LIFETIME {
                    stop_at_once(&seen, "a runtime does not come to its end");
                }
            }
        });
        Self { watched, stop: Some((stop, watching)) }
    }

    /// A new runtime has begun; `dump` tells how it is. It is dropped when the next one begins or
    /// [`rest`](Self::rest) is called.
    pub(crate) fn turn_to(&self, dump: impl Fn() -> String + Send + 'static) {
        *lock(&self.watched) = Some((Box::new(dump), Instant::now()));
    }

    /// The runtime is gone.
    pub(crate) fn rest(&self) {
        *lock(&self.watched) = None;
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.stop.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// Not by a panic: who hangs would not see it.
fn stop_at_once(watched: &Mutex<Watched>, why: &str) -> ! {
    let dump = lock(watched).as_ref().map(|(dump, _)| dump());
    // Past the harness, which holds back what is printed.
    let _ = writeln!(std::io::stderr(), "stress: {why}\n{}", dump.unwrap_or_default());
    std::process::abort();
}
