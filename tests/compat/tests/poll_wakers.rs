//! Wakers that are not what they seem: one that lies where its task is polled, and whose clones do not.

#[path = "../../support/mod.rs"]
mod support;

use ringwork::net::TcpStream;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::time::Duration;
use support::{on_cores, pair};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What such a waker points at; its clones are those of the waker inside.
struct Front(Waker);

/// # Safety
/// `data` points at a `Front` that lives.
unsafe fn front<'a>(data: *const ()) -> &'a Front {
    // SAFETY: the caller says so.
    unsafe { &*data.cast() }
}

static FRONT: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: `poll_once` keeps the front for as long as its waker, and clones are other wakers.
        let inner = ManuallyDrop::new(unsafe { front(data) }.0.clone());
        RawWaker::new(inner.data(), inner.vtable())
    },
    // SAFETY: as above.
    |data| unsafe { front(data) }.0.wake_by_ref(),
    // SAFETY: as above.
    |data| unsafe { front(data) }.0.wake_by_ref(),
    |_| {},
);

fn poll_once(stream: &mut TcpStream, front: &Front) -> Poll<std::io::Result<()>> {
    // SAFETY: the front outlives this function, and the waker is not dropped, which would be harmless.
    let waker = ManuallyDrop::new(unsafe { Waker::new(std::ptr::from_ref(front).cast(), &FRONT) });
    let mut bytes = [0; 16];
    Pin::new(stream).poll_read(&mut Context::from_waker(&waker), &mut ReadBuf::new(&mut bytes))
}

#[test]
fn the_last_who_polls_is_woken_though_its_waker_lies_where_another_lay() {
    on_cores(1, |_| async {
        let (mut one, mut other) = pair().await;
        let counts: [Arc<Count>; 2] = Default::default();
        let mut front = Front(Waker::from(Arc::clone(&counts[0])));
        assert!(poll_once(&mut one, &front).is_pending());
        front.0 = Waker::from(Arc::clone(&counts[1]));
        assert!(poll_once(&mut one, &front).is_pending());
        other.write_all(b"x").await.unwrap();
        while counts.iter().all(|count| count.0.load(Ordering::SeqCst) == 0) {
            ringwork::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(counts[1].0.load(Ordering::SeqCst), 1);
    });
}

/// A forwarding has taken what came, and waits to send it when somebody without a future asks for bytes.
#[test]
fn who_polls_is_woken_by_what_a_dropped_forwarding_gives_back() {
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let ((one, other), (to, _reads_nothing)) = (pair().await, pair().await);
            // The lane to send in is taken for good.
            to.send_off(vec![0u8; 32 << 20]).await.unwrap();
            let count = Arc::new(Count::default());
            let waker = Waker::from(Arc::clone(&count));
            let (mut reads, _) = one.split();
            {
                let mut forwarding = Box::pin(one.forward_to(&to));
                let unsent = async {
                    other.send_all("bytes").await.0.unwrap();
                    ringwork::time::sleep(Duration::from_millis(20)).await;
                };
                tokio::select! {
                    biased;
                    _ = &mut forwarding => panic!("nothing can be sent"),
                    () = unsent => {}
                }
                let mut bytes = [0; 16];
                let mut buf = ReadBuf::new(&mut bytes);
                let polled = Pin::new(&mut reads).poll_read(&mut Context::from_waker(&waker), &mut buf);
                assert!(polled.is_pending(), "the forwarding has the bytes");
            }
            assert_eq!(count.0.load(Ordering::SeqCst), 1);
            let mut bytes = [0; 16];
            let mut buf = ReadBuf::new(&mut bytes);
            let polled = Pin::new(&mut reads).poll_read(&mut Context::from_waker(&waker), &mut buf);
            assert!(polled.is_ready() && buf.filled() == b"bytes");
        });
        ran.await.unwrap();
    });
}
