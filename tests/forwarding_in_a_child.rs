//! A forwarding in bulk in a forked child. In a program of its own: nothing else runs when it forks.

mod support;

use futures_util::poll;
use ringwork::time::timeout;
use std::io::{Read, Write};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use support::{forwarding_pipes, half_std_pair, in_child, on_cores};

#[test]
fn a_child_forked_while_a_forwarding_waits_for_its_turn_is_told_and_does_not_wait() {
    on_cores(1, |handle| async move {
        let ((from, mut writes), (to, mut reads)) = (half_std_pair(), half_std_pair());
        let writing = handle.spawn_blocking(move || while writes.write_all(&[1; 100_000]).is_ok() {});
        reads.set_nonblocking(true).unwrap();
        let mut buf = vec![0; 100_000];
        let mut forwarding = Box::pin(from.forward_to(&to));
        while forwarding_pipes() == 0 {
            let _ = reads.read(&mut buf);
            assert!(timeout(Duration::from_millis(1), forwarding.as_mut()).await.is_err());
        }
        // Behind what is in the pipe now, and more than fits on the way.
        let mut sending = pin!(to.send_all(vec![2; 64 << 20]));
        loop {
            assert!(poll!(sending.as_mut()).is_pending());
            assert!(timeout(Duration::from_millis(1), forwarding.as_mut()).await.is_err());
            // Once its first byte is here it has the turn, and keeps it: nobody reads on.
            if reads.read(&mut buf).is_ok_and(|n| buf[..n].contains(&2)) {
                break;
            }
        }
        assert!(poll!(forwarding.as_mut()).is_pending(), "it waits with bytes in its pipe");
        assert!(forwarding_pipes() > 0);
        let code = in_child(|| {
            let polled = forwarding.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(Err(error)) = polled else { panic!("it neither fails nor ends") };
            let error = std::io::Error::from(error);
            assert!(error.to_string().contains("forked"), "{error}");
        });
        assert_eq!(code, 0);
        drop(forwarding);
        drop((from, reads));
        writing.await.unwrap();
    });
}
