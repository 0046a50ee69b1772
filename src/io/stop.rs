//! Stopping an op and getting its buffer back.
#![forbid(unsafe_code)]

use crate::time::{Sleep, sleep};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// An op that can be told to stop. It still completes: stopped, or with what it had achieved.
pub trait Stop: Future + Unpin {
    /// Asks for the stop. `why` is the error of an op that had achieved nothing.
    #[doc(hidden)]
    fn stop(&mut self, why: io::ErrorKind);
}

/// An op with a time limit; made by its `timeout` method.
///
/// When the limit passes, the op is cancelled and its final completion awaited: bytes that won the race are
/// returned as success, else the error is [`io::ErrorKind::TimedOut`]. An op that is for all or nothing, as
/// `send_all` is, has the error also if a part was sent. The buffer comes back in every case.
#[must_use = "an op does nothing unless it is awaited"]
#[derive(Debug)]
pub struct Timeout<F> {
    op: F,
    limit: Option<Box<Sleep>>,
}

impl<F: Stop> Timeout<F> {
    pub(crate) fn new(op: F, limit: Duration) -> Self {
        Self { op, limit: Some(Box::new(sleep(limit))) }
    }
}

impl<F: Stop> Future for Timeout<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if let Poll::Ready(output) = Pin::new(&mut self.op).poll(cx) {
            return Poll::Ready(output);
        }
        let Some(limit) = &mut self.limit else { return Poll::Pending };
        // Where no runtime is left that would tell it, the time is over as well: nothing else would end an op
        // that waits for its turn.
        let over = ready!(limit.poll_within_op(cx));
        self.limit = None;
        self.op.stop(over.map_or(io::ErrorKind::Other, |()| io::ErrorKind::TimedOut));
        Pin::new(&mut self.op).poll(cx)
    }
}

/// An op that is being stopped; made by its `cancel` method.
///
/// Resolves when the kernel has let go of the buffer: with what the op had achieved, else with an error whose
/// errno is ECANCELED; so also if a part of an op for all or nothing was done. The buffer comes back in every
/// case.
#[must_use = "an op does nothing unless it is awaited"]
#[derive(Debug)]
pub struct Cancel<F>(F);

impl<F: Stop> Cancel<F> {
    pub(crate) fn new(mut op: F) -> Self {
        op.stop(io::ErrorKind::Other);
        Self(op)
    }
}

impl<F: Stop> Future for Cancel<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// The error of an op that was stopped before it achieved anything.
pub(crate) fn stopped(why: io::ErrorKind) -> io::Error {
    match why {
        io::ErrorKind::TimedOut => why.into(),
        _ => io::Error::from_raw_os_error(libc::ECANCELED),
    }
}

/// Gives a result of a stopped op its reason. One that a helper thread of the kernel had begun ends with
/// EINTR (kernel-notes/cancel-and-close.md).
#[inline]
pub(crate) fn explain<T>(result: io::Result<T>, why: Option<io::ErrorKind>) -> io::Result<T> {
    let Some(why) = why else { return result };
    match result {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EINTR)) => {
            Err(stopped(why))
        }
        result => result,
    }
}

/// Adds `timeout` and `cancel` to an op's future.
macro_rules! stoppable {
    ($name:ident <$($lt:lifetime)? $(,)? $($param:ident $(: $bound:path)?),*>) => {
        impl<$($lt,)? $($param $(: $bound)?),*> $name<$($lt,)? $($param),*> {
            /// Limits how long the op may take. Unlike `time::timeout`, which drops the future, this waits
            /// for the final completion and gives the buffer back; bytes that won the race are returned as
            /// success.
            pub fn timeout(self, limit: std::time::Duration) -> $crate::io::Timeout<Self> {
                $crate::io::Timeout::new(self, limit)
            }

            /// Stops the op and waits until the kernel has let go of the buffer.
            pub fn cancel(self) -> $crate::io::Cancel<Self> {
                $crate::io::Cancel::new(self)
            }
        }
    };
}
pub(crate) use stoppable;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::sqe::Cqe;

    fn explained(res: i32, why: Option<io::ErrorKind>) -> io::Result<usize> {
        explain(Cqe::made_up(res).result(), why)
    }

    #[test]
    fn an_op_that_a_helper_thread_was_interrupted_in_is_as_one_that_was_cancelled() {
        const ERESTARTSYS: i32 = 512;
        for res in [-libc::ECANCELED, -libc::EINTR, -ERESTARTSYS] {
            let timed_out = explained(res, Some(io::ErrorKind::TimedOut)).unwrap_err();
            assert_eq!(timed_out.kind(), io::ErrorKind::TimedOut, "{res}");
            let cancelled = explained(res, Some(io::ErrorKind::Other)).unwrap_err();
            assert_eq!(cancelled.raw_os_error(), Some(libc::ECANCELED), "{res}");
        }
    }

    #[test]
    fn what_was_not_stopped_and_what_won_the_race_stay_as_they_are() {
        for errno in [libc::ECANCELED, libc::EINTR] {
            assert_eq!(explained(-errno, None).unwrap_err().raw_os_error(), Some(errno));
        }
        let why = Some(io::ErrorKind::TimedOut);
        assert_eq!(explained(7, why).unwrap(), 7);
        assert_eq!(explained(-libc::EIO, why).unwrap_err().raw_os_error(), Some(libc::EIO));
    }
}
