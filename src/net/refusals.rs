//! What is said when the system refuses one more socket.
//!
//! Owns the counter, the event and the hook of
//! [`ListenOptions::on_accept_error`](super::ListenOptions::on_accept_error). Promises that nothing foreign
//! is called under a lock, and that what panics there stops no accept. It decides nothing: the listener
//! pauses.
#![forbid(unsafe_code)]

use crate::base::guard::contained;
use crate::ring::with_current;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two events of one listener: an accept that is refused is tried twenty times a second.
const EVENT_EVERY: Duration = Duration::from_secs(10);

/// What a program wants to be told.
#[derive(Clone)]
pub(super) struct Hook(Option<Arc<dyn Fn(&io::Error) + Send + Sync>>);

impl Hook {
    pub(super) const NONE: Self = Self(None);

    pub(super) fn new(tell: impl Fn(&io::Error) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Some(..)" } else { "None" })
    }
}

/// The refusals of one listener.
pub(super) struct Refusals {
    hook: Hook,
    /// When the last event was.
    event: Mutex<Option<Instant>>,
}

impl Refusals {
    pub(super) fn new(hook: Hook) -> Self {
        Self { hook, event: Mutex::new(None) }
    }

    /// Accepting pauses for this reason.
    pub(super) fn tell(&self, errno: i32) {
        with_current(|ring| {
            if let Some(ring) = ring {
                ring.counters().accept_pauses.add(1);
            }
        });
        let error = io::Error::from_raw_os_error(errno);
        if self.is_event_due() {
            contained(|| {
                tracing::warn!(
                    target: "ringwork::accept", %error, "no room for a new connection: accepting pauses"
                );
            });
        }
        if let Some(hook) = &self.hook.0 {
            contained(|| hook(&error));
        }
    }

    fn is_event_due(&self) -> bool {
        let now = Instant::now();
        let mut last = self.event.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now.duration_since(last) >= EVENT_EVERY);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}
