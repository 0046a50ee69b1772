//! A stream in a forked child, polled without a future. In a program of its own: nothing else runs when it
//! forks.

mod everywhere;
#[path = "../../support/mod.rs"]
mod support;

use everywhere::fill;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use support::{half_std_pair, on_cores};
use tokio::io::AsyncWrite;

/// Runs `body` in a forked child; the child's exit code.
fn in_child(body: impl FnOnce()) -> i32 {
    // SAFETY: the child runs `body` on this one thread and leaves by `_exit`; the test is alone in its
    // process, and should another thread hold the allocator's lock just then, the alarm ends the child.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", io::Error::last_os_error());
    if child == 0 {
        // SAFETY: a system call without memory.
        unsafe { libc::alarm(10) };
        let code = i32::from(catch_unwind(AssertUnwindSafe(body)).is_err());
        // SAFETY: leaves without running anything of the parent's.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: waits for our own child into a local.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(!libc::WIFSIGNALED(status), "the child was killed by signal {}", libc::WTERMSIG(status));
    libc::WEXITSTATUS(status)
}

fn assert_forked<T>(what: &str, polled: Poll<io::Result<T>>) {
    let Poll::Ready(Err(error)) = polled else { panic!("{what} neither fails nor ends") };
    assert!(error.to_string().contains("forked"), "{what}: {error}");
}

#[test]
fn a_child_forked_while_a_stream_is_sending_is_told_and_does_not_wait() {
    on_cores(1, |_| async move {
        let (mut stream, _peer) = half_std_pair();
        fill(&mut stream).await;
        let code = in_child(|| {
            let mut cx = Context::from_waker(Waker::noop());
            assert_forked("write", Pin::new(&mut stream).poll_write(&mut cx, b"x"));
            assert_forked("flush", Pin::new(&mut stream).poll_flush(&mut cx));
            assert_forked("shutdown", Pin::new(&mut stream).poll_shutdown(&mut cx));
        });
        assert_eq!(code, 0);
        // The parent's op is still the parent's.
        let polled = Pin::new(&mut stream).poll_flush(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    });
}
