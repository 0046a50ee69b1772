//! Wakers of executors that make another one with each clone.

use crate::support::{half_std_pair, on_cores};
use std::future::Future;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

/// The number of the next clone.
static NEXT: AtomicUsize = AtomicUsize::new(100);
/// Which clones have been woken.
static WOKEN: Mutex<Vec<usize>> = Mutex::new(Vec::new());

fn raw(number: usize) -> RawWaker {
    const TABLE: RawWakerVTable = RawWakerVTable::new(
        |_| raw(NEXT.fetch_add(1, Ordering::Relaxed)),
        |data| WOKEN.lock().unwrap().push(data.addr()),
        |data| WOKEN.lock().unwrap().push(data.addr()),
        |_| (),
    );
    RawWaker::new(std::ptr::without_provenance(number), &TABLE)
}

/// A waker at the place where one was before.
fn at_the_same_place() -> Waker {
    // SAFETY: the table's functions take the pointer for a number.
    unsafe { Waker::from_raw(raw(1)) }
}

#[test]
fn who_polls_with_a_waker_at_the_place_of_an_earlier_one_is_woken() {
    on_cores(1, |handle| async move {
        let (stream, mut peer) = half_std_pair();
        let received = handle.spawn_on(0, move || async move {
            let mut earlier = Box::pin(stream.recv_pooled());
            for _ in 0..2 {
                assert!(earlier.as_mut().poll(&mut Context::from_waker(&at_the_same_place())).is_pending());
            }
            drop(earlier);
            let first = NEXT.load(Ordering::Relaxed);
            let mut later = Box::pin(stream.recv_pooled());
            assert!(later.as_mut().poll(&mut Context::from_waker(&at_the_same_place())).is_pending());
            peer.write_all(b"x").unwrap();
            while !WOKEN.lock().unwrap().iter().any(|number| *number >= first) {
                ringwork::task::yield_now().await;
            }
            later.await.unwrap().len()
        });
        assert_eq!(received.await.unwrap(), 1);
    });
}
