//! Letting others run.
//!
//! Owns [`yield_now`]. It uses nothing of ringwork: a future that wakes itself and pends once, on any
//! executor. That a task woken by its own poll goes to the back of its queue is the scheduler's promise.
#![forbid(unsafe_code)]

use std::pin::Pin;
use std::task::{Context, Poll};

/// Goes to the back of its queue once: other tasks that wait in it come first.
///
/// What the kernel, timers and other threads have for the core comes with its next turn: after 128 polls or
/// 500 µs at most, and not with each yield.
///
/// ```
/// # let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
/// # runtime.block_on(async {
/// for chunk in [1, 2, 3] {
///     println!("chunk {chunk}: a long computation");
///     ringwork::task::yield_now().await;
/// }
/// # });
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[must_use = "futures do nothing unless they are awaited or polled"]
#[derive(Debug)]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
