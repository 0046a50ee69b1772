//! When the helper thread is to stop: once nobody keeps it.
//!
//! Owns [`Until`], which it waits for, and [`Kept`], of which there is one for all who keep it.
#![forbid(unsafe_code)]

use crate::base::guard;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// What the helper thread waits for.
#[derive(Debug, Default)]
pub(super) struct Until(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_over: bool,
    waker: Option<Waker>,
    deadline: Option<Instant>,
}

/// When the last one of those who share it lets it go, the helper stops.
#[derive(Debug)]
pub(super) struct Kept(pub(super) Arc<Until>);

impl Until {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody keeps it. For one task.
    pub(super) async fn is_over(&self) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.is_over {
                return Poll::Ready(());
            }
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Says by when all has to be over; the first one who does decides.
    pub(super) fn set_deadline(&self, deadline: Instant) {
        self.lock().deadline.get_or_insert(deadline);
    }

    /// What is left until then.
    pub(super) fn time_left(&self) -> Duration {
        self.lock().deadline.map_or(Duration::ZERO, |end| end.saturating_duration_since(Instant::now()))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.0.lock();
            state.is_over = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            guard::wake(waker);
        }
    }
}
