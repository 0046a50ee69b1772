//! The cooperative budget: how many ready results a task may take before it must let others run.
//!
//! Owns one thread-local counter. [`with_budget`] fills it for one poll of one task; each leaf future that is
//! about to hand out a result spends one unit through [`poll_proceed`] and gives it back if it turns out to
//! be pending. With the budget spent, `poll_proceed` wakes the task and answers `Pending`: the task goes to
//! the back of its queue. Outside a task's poll nothing is limited, so a future polled by another executor
//! never yields on our account. It is not preemption: code that awaits nothing is not stopped by it.

use super::sync::with_budget_left;
use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Ready results a task may take in one poll. 128 small operations stay well below a millisecond.
const UNITS_PER_POLL: u8 = 128;

/// What the poll that is going on may still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// No task is being polled: nothing is limited.
    Outside,
    /// One is, in a future that has opted out.
    Unlimited,
    Units(u8),
}

impl Left {
    #[inline]
    fn get() -> Self {
        with_budget_left(Cell::get)
    }

    #[inline]
    fn set(self) {
        with_budget_left(|left| left.set(self));
    }

    #[inline]
    fn replace(self) -> Self {
        with_budget_left(|left| left.replace(self))
    }
}

/// Puts the counter back as it was, also when the poll inside panics.
struct Reset(Left);

impl Drop for Reset {
    #[inline]
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Runs `poll` with a full budget (one poll of a task).
#[inline]
pub(crate) fn with_budget<R>(poll: impl FnOnce() -> R) -> R {
    let _reset = Reset(Left::Units(UNITS_PER_POLL).replace());
    poll()
}

/// Runs `poll`, of a task that begins within the poll of another, with what is left of that one's budget, and
/// takes what it spends from it. Where there is no limit it has its own.
#[inline]
pub(crate) fn with_rest_of_budget<R>(poll: impl FnOnce() -> R) -> R {
    if matches!(Left::get(), Left::Units(_)) {
        return poll();
    }
    with_budget(poll)
}

/// Spends a unit of the poll that is going on; false if none is left, and where no task is being polled.
#[inline]
pub(crate) fn spend_within_a_poll() -> bool {
    match Left::get() {
        Left::Outside | Left::Units(0) => false,
        Left::Unlimited => true,
        Left::Units(left) => {
            Left::Units(left - 1).set();
            true
        }
    }
}

/// Runs `call` without a limit.
#[inline]
pub(crate) fn without_budget<R>(call: impl FnOnce() -> R) -> R {
    let reset = Reset(Left::get());
    if matches!(reset.0, Left::Units(_)) {
        Left::Unlimited.set();
    }
    call()
}

/// Whether the current task may take another ready result in this poll; always true outside a task.
///
/// A loop that does its own work between results may ask this and return early.
///
/// ```
/// assert!(ringwork::task::coop::has_budget_remaining());
/// ```
#[inline]
#[must_use = "the answer is the only effect"]
pub fn has_budget_remaining() -> bool {
    Left::get() != Left::Units(0)
}

/// Gives the spent unit back when dropped, unless [`made_progress`](Self::made_progress) was called.
#[must_use = "dropping it at once gives the unit back"]
#[derive(Debug)]
pub struct RestoreOnPending {
    is_spent: bool,
}

impl RestoreOnPending {
    /// The operation is ready: the unit stays spent.
    #[inline]
    pub fn made_progress(mut self) {
        self.is_spent = false;
    }
}

impl Drop for RestoreOnPending {
    #[inline]
    fn drop(&mut self) {
        // One, and not what there was: what has been spent since stays spent.
        if self.is_spent
            && let Left::Units(left @ 0..UNITS_PER_POLL) = Left::get()
        {
            Left::Units(left + 1).set();
        }
    }
}

/// Spends one unit of the task's budget, for a leaf future that is about to look for its result.
///
/// `Pending` means that the budget is spent and the task has been woken: return `Pending` at once.
///
/// ```
/// use std::task::{Context, Poll};
/// use ringwork::task::coop;
///
/// fn poll_next(queue: &mut Vec<u32>, cx: &mut Context<'_>) -> Poll<u32> {
///     let unit = std::task::ready!(coop::poll_proceed(cx));
///     match queue.pop() {
///         Some(value) => {
///             unit.made_progress();
///             Poll::Ready(value)
///         }
///         None => Poll::Pending, // `unit` is dropped and goes back
///     }
/// }
/// # assert!(poll_next(&mut vec![1], &mut Context::from_waker(std::task::Waker::noop())).is_ready());
/// ```
#[inline]
pub fn poll_proceed(cx: &mut Context<'_>) -> Poll<RestoreOnPending> {
    match Left::get() {
        Left::Outside | Left::Unlimited => Poll::Ready(RestoreOnPending { is_spent: false }),
        Left::Units(0) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        Left::Units(left) => {
            Left::Units(left - 1).set();
            Poll::Ready(RestoreOnPending { is_spent: true })
        }
    }
}

/// Spends one unit of the task's budget; yields to other tasks if none is left.
///
/// For long computations between awaits that are always ready.
///
/// ```
/// # futures_executor::block_on(async {
/// let mut sum = 0u64;
/// for n in 0..10_000 {
///     sum += n;
///     ringwork::task::coop::consume_budget().await;
/// }
/// assert_eq!(sum, 49_995_000);
/// # });
/// ```
pub async fn consume_budget() {
    std::future::poll_fn(|cx| {
        ready!(poll_proceed(cx)).made_progress();
        Poll::Ready(())
    })
    .await;
}

/// Bytes that are moved for a unit: some microseconds of the core.
const MOVED: u64 = 16 * 1024;

/// Spends what moving so many bytes costs; yields whenever nothing is left, and says whether it has.
pub(crate) async fn consume_for(bytes: u64) -> bool {
    let mut has_yielded = false;
    for _ in 0..bytes.div_ceil(MOVED) {
        std::future::poll_fn(|cx| {
            let unit = poll_proceed(cx);
            has_yielded |= unit.is_pending();
            unit.map(RestoreOnPending::made_progress)
        })
        .await;
    }
    has_yielded
}

/// Lets `future` run without a budget: it is never made to yield.
///
/// A future that is always ready then holds its core for as long as it likes.
///
/// ```
/// # futures_executor::block_on(async {
/// let answer = ringwork::task::coop::unconstrained(async { 42 }).await;
/// assert_eq!(answer, 42);
/// # });
/// ```
pub fn unconstrained<F: Future>(future: F) -> Unconstrained<F> {
    Unconstrained { future }
}

/// The future of [`unconstrained`].
#[must_use = "futures do nothing unless they are awaited or polled"]
#[derive(Debug)]
pub struct Unconstrained<F> {
    future: F,
}

impl<F: Future> Future for Unconstrained<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is pinned whenever the wrapper is: nothing moves it out, there is no `Drop` and
        // the automatic `Unpin` asks for `F: Unpin`.
        let future = unsafe { self.map_unchecked_mut(|wrapper| &mut wrapper.future) };
        without_budget(|| future.poll(cx))
    }
}

/// Charges each result of `future` to the task's budget.
///
/// For futures of crates that do not know ringwork's budget (channels, locks): a task that always finds one
/// of them ready is made to yield in its turn.
///
/// ```
/// # futures_executor::block_on(async {
/// let answer = ringwork::task::coop::cooperative(std::future::ready(42)).await;
/// assert_eq!(answer, 42);
/// # });
/// ```
pub fn cooperative<F: Future>(future: F) -> Cooperative<F> {
    Cooperative { future }
}

/// The future of [`cooperative`].
#[must_use = "futures do nothing unless they are awaited or polled"]
#[derive(Debug)]
pub struct Cooperative<F> {
    future: F,
}

impl<F: Future> Future for Cooperative<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let unit = ready!(poll_proceed(cx));
        // SAFETY: as in `Unconstrained`: structural pinning, no `Drop`, automatic `Unpin`.
        let future = unsafe { self.map_unchecked_mut(|wrapper| &mut wrapper.future) };
        let output = ready!(future.poll(cx));
        unit.made_progress();
        Poll::Ready(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn poll_once<F: Future>(future: F, waker: &Waker) -> Poll<F::Output> {
        std::pin::pin!(future).poll(&mut Context::from_waker(waker))
    }

    async fn always_ready(times: u32) {
        for _ in 0..times {
            cooperative(std::future::ready(())).await;
        }
    }

    #[test]
    fn a_spent_budget_wakes_the_task_once_and_pends() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let units = u32::from(UNITS_PER_POLL);
        assert!(with_budget(|| poll_once(always_ready(units), &waker)).is_ready());
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        assert!(with_budget(|| poll_once(always_ready(units + 1), &waker)).is_pending());
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn outside_a_task_and_inside_unconstrained_there_is_no_limit() {
        assert!(poll_once(always_ready(10_000), Waker::noop()).is_ready());
        with_budget(|| {
            assert!(poll_once(unconstrained(always_ready(10_000)), Waker::noop()).is_ready());
            assert!(has_budget_remaining());
            assert!(poll_once(always_ready(10_000), Waker::noop()).is_pending());
            assert!(!has_budget_remaining());
        });
        assert!(has_budget_remaining());
    }

    #[test]
    fn a_pending_operation_gets_its_unit_back() {
        with_budget(|| {
            for _ in 0..1_000 {
                assert!(poll_once(cooperative(std::future::pending::<()>()), Waker::noop()).is_pending());
            }
            assert!(has_budget_remaining());
        });
    }

    #[test]
    fn a_pending_operation_gets_no_more_back_than_its_unit() {
        let spends_and_pends = || async {
            consume_budget().await;
            std::future::pending::<()>().await;
        };
        with_budget(|| {
            for _ in 1..UNITS_PER_POLL {
                assert!(poll_once(cooperative(spends_and_pends()), Waker::noop()).is_pending());
            }
            assert_eq!(Left::get(), Left::Units(1));
        });
    }

    #[test]
    fn a_panic_in_a_poll_leaves_the_thread_without_a_limit() {
        let caught = std::panic::catch_unwind(|| with_budget(|| panic!("in a poll")));
        assert!(caught.is_err());
        assert_eq!(Left::get(), Left::Outside);
    }
}
