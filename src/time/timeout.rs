//! A future with a deadline.
//!
//! Owns [`Timeout`]. It stops waiting; what the future had begun is the future's own matter.
#![forbid(unsafe_code)]

use super::error::Elapsed;
use super::sleep::{Sleep, sleep, sleep_until};
use super::{Duration, Instant};
use crate::base::coop;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Waits for `future`, but no longer than `duration`.
///
/// The future is polled before the clock is looked at, so one that is ready in time, or at its first poll,
/// wins over any deadline, a zero duration included. If the deadline passes, the result is [`Elapsed`] and
/// the future is dropped with the `Timeout`: what that cancels is what dropping it cancels. An operation on
/// a socket or file has a `timeout` of its own, which gives its buffer back.
///
/// ```
/// use ringwork::time::{timeout, Duration};
///
/// #[ringwork::main]
/// async fn main() {
///     let answer = timeout(Duration::from_secs(5), async { 42 }).await;
///     assert_eq!(answer, Ok(42));
///     assert!(timeout(Duration::from_millis(1), std::future::pending::<()>()).await.is_err());
/// }
/// ```
///
/// # Panics
/// When polled without a runtime in reach, as [`sleep`] does.
#[cfg_attr(feature = "tracing", track_caller)]
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: future.into_future(), sleep: sleep(duration) }
}

/// Waits for `future`, but no longer than until `deadline`. See [`timeout`].
///
/// ```
/// use ringwork::time::{timeout_at, Duration, Instant};
///
/// #[ringwork::main]
/// async fn main() {
///     let deadline = Instant::now() + Duration::from_millis(1);
///     assert!(timeout_at(deadline, std::future::pending::<()>()).await.is_err());
///     assert!(Instant::now() >= deadline);
/// }
/// ```
///
/// # Panics
/// As [`timeout`].
#[cfg_attr(feature = "tracing", track_caller)]
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: future.into_future(), sleep: sleep_until(deadline) }
}

pin_project! {
    /// The future of [`timeout`] and [`timeout_at`].
    #[must_use = "a timeout neither runs its future nor waits unless it is awaited or polled"]
    #[derive(Debug)]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F> Timeout<F> {
    /// The future inside.
    ///
    /// ```
    /// use ringwork::time::{timeout, Duration};
    ///
    /// let mut limited = timeout(Duration::from_secs(1), std::future::ready(7));
    /// limited.get_mut();
    /// limited.get_ref();
    /// assert_eq!(limited.into_inner().into_inner(), 7);
    /// ```
    #[must_use]
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The future inside, to be changed before it is pinned.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// The future inside, without a deadline.
    #[must_use]
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let had_budget = coop::has_budget_remaining();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        // If the future spent the task's budget, the deadline must be looked at all the same, or a future
        // that is always busy could never be stopped.
        let deadline = if had_budget && !coop::has_budget_remaining() {
            coop::without_budget(|| Pin::new(this.sleep).poll(cx))
        } else {
            Pin::new(this.sleep).poll(cx)
        };
        deadline.map(|()| Err(Elapsed {}))
    }
}
