//! What the tests of poll-shaped streams share: every place a stream may be used from, and a stream that is
//! full.
#![allow(dead_code)]

use crate::support::{on_cores, pattern};
use ringwork::runtime::Handle;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::AsyncWrite;

/// Runs the test on a core, and once more on a thread that is none, from where all ops are submitted by
/// message.
pub(crate) fn everywhere<F>(cores: usize, test: impl Fn(Handle) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    on_cores(cores, test.clone());
    on_cores(cores, |handle| async move {
        let inside = handle.clone();
        handle.spawn_on(0, move || test(inside)).await.unwrap();
    });
}

/// Fills a stream until a write has to wait; returns how much it took.
pub(crate) async fn fill(stream: &mut (impl AsyncWrite + Unpin)) -> usize {
    let mut taken = 0;
    let mut idle = 0;
    while idle < 3 {
        match Pin::new(&mut *stream)
            .poll_write(&mut Context::from_waker(Waker::noop()), &pattern(taken, 50_000))
        {
            Poll::Ready(n) => {
                taken += n.unwrap();
                idle = 0;
            }
            Poll::Pending => {
                // A completion that made room shows by the next turn but one.
                idle += 1;
                ringwork::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    taken
}
