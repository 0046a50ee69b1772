//! A handle whose drop ends the task.
//!
//! Owns [`AbortOnDrop`]: a [`JoinHandle`] with the other answer to "what if this is dropped?". What an abort
//! does, and when the task is over then, is the handle's matter.
#![forbid(unsafe_code)]

use super::{AbortHandle, Id, JoinError, JoinHandle};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Waits for a task's output and, unlike [`JoinHandle`], aborts the task when it is dropped; made by
/// [`JoinHandle::abort_on_drop`].
///
/// The drop does what [`JoinHandle::abort`] does: a task is over as soon as its core gets to it; a job that
/// waits in the blocking pool's queue is over, and its closure dropped, when the drop returns; a job that has
/// begun runs to its end. A task that is over is not touched. To wait until the task is over, abort and await
/// instead of dropping.
///
/// ```
/// use ringwork::time::{sleep, timeout, Duration};
///
/// # #[ringwork::main(cores = 1)]
/// # async fn main() {
/// let slow = ringwork::spawn(sleep(Duration::from_secs(3600))).abort_on_drop();
/// // The time limit drops the handle, which ends the task.
/// assert!(timeout(Duration::from_millis(1), slow).await.is_err());
/// let quick = ringwork::spawn(async { 7 }).abort_on_drop();
/// assert_eq!(quick.await.unwrap(), 7);
/// # }
/// ```
#[must_use = "dropping this aborts the task"]
#[derive(Debug)]
pub struct AbortOnDrop<T> {
    /// Always there, except after `detach`.
    handle: Option<JoinHandle<T>>,
}

impl<T> AbortOnDrop<T> {
    pub(super) fn new(handle: JoinHandle<T>) -> Self {
        Self { handle: Some(handle) }
    }

    /// The plain handle, whose drop lets the task run on.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let task = ringwork::spawn(async { 7 }).abort_on_drop();
    /// assert_eq!(task.detach().await.unwrap(), 7);
    /// # }
    /// ```
    pub fn detach(mut self) -> JoinHandle<T> {
        self.handle.take().expect(THERE)
    }

    /// As [`JoinHandle::abort`].
    pub fn abort(&self) {
        self.handle().abort();
    }

    /// As [`JoinHandle::abort_handle`].
    #[must_use = "an abort handle does nothing by itself"]
    pub fn abort_handle(&self) -> AbortHandle {
        self.handle().abort_handle()
    }

    /// As [`JoinHandle::is_finished`].
    #[must_use = "the answer is the only effect"]
    pub fn is_finished(&self) -> bool {
        self.handle().is_finished()
    }

    /// The task's id.
    #[must_use = "the answer is the only effect"]
    pub fn id(&self) -> Id {
        self.handle().id()
    }

    /// The task's name, if it was given one.
    #[must_use = "the answer is the only effect"]
    pub fn name(&self) -> Option<&str> {
        self.handle().name()
    }

    fn handle(&self) -> &JoinHandle<T> {
        self.handle.as_ref().expect(THERE)
    }
}

const THERE: &str = "the handle is there until it is detached";

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(self.handle.as_mut().expect(THERE)).poll(cx)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.abort();
        }
    }
}
