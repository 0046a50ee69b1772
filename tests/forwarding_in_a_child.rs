//! A forwarding in bulk in a forked child. In a program of its own, one test at a time: nothing else runs
//! when it forks.

mod support;

use futures_util::poll;
use ringwork::net::ForwardError;
use ringwork::time::{sleep, timeout};
use std::io::{Read, Write};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use support::{alone, forwarding_pipes, half_std_pair, in_bulk, in_child, on_cores};

/// Says that it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// In the child: the forwarding ends, and says why.
fn assert_told(mut forwarding: Pin<&mut impl Future<Output = Result<u64, ForwardError>>>) {
    let polled = forwarding.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Err(error)) = polled else { panic!("it neither fails nor ends") };
    let error = std::io::Error::from(error);
    assert!(error.to_string().contains("forked"), "{error}");
}

#[test]
fn a_child_forked_while_a_forwarding_ends_a_receive_is_told_and_does_not_wait() {
    let _alone = alone();
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let ((from, mut writes), (to, _reads)) = (in_bulk().await, half_std_pair());
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let mut cx = Context::from_waker(&waker);
            let mut forwarding = Box::pin(from.forward_to(&to));
            assert!(forwarding.as_mut().poll(&mut cx).is_pending(), "there is nothing yet");
            writes.write_all(&[1; 50_000]).unwrap();
            while !woken.0.load(Ordering::SeqCst) {
                sleep(Duration::from_millis(1)).await;
            }
            assert!(forwarding.as_mut().poll(&mut cx).is_pending());
            assert_eq!(forwarding_pipes(), 0, "before it takes a pipe the receive has to end");
            assert_eq!(in_child(|| assert_told(forwarding.as_mut())), 0);
        });
        ran.await.unwrap();
    });
}

#[test]
fn a_child_forked_while_a_forwarding_waits_for_its_turn_is_told_and_does_not_wait() {
    let _alone = alone();
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
        assert_eq!(in_child(|| assert_told(forwarding.as_mut())), 0);
        drop(forwarding);
        drop((from, reads));
        writing.await.unwrap();
    });
}
