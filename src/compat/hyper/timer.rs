//! hyper's time limits on the timers of a core.
#![forbid(unsafe_code)]

use crate::time;
use hyper::rt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Gives hyper its time, by the clock of the runtime the caller is in.
///
/// Its sleeps panic like [`time::Sleep`] when first polled outside of a runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timer;

/// One sleep. A type of its own, because the trait is hyper's.
struct Sleep(time::Sleep);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl rt::Sleep for Sleep {}

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep(time::sleep(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep(time::sleep_until(time::Instant::from_std(deadline))))
    }

    fn now(&self) -> Instant {
        time::Instant::now().into_std()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn rt::Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Sleep>() {
            Some(ours) => Pin::new(&mut ours.get_mut().0).reset(time::Instant::from_std(deadline)),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}
