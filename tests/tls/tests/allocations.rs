//! What a message costs in allocations, once a connection is under way: rustls makes a vector for each
//! record it encrypts and one for each it decrypts, and nothing else is allocated, here or there.

use ringwork::tls::TlsStream;
use ringwork_tls_tests::{on_cores, plain_pair};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, counting.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is passed on.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROUNDS: usize = 2000;

/// One message there and back, received into buffers of the runtime on the way there and into one of the
/// caller on the way back.
async fn round(
    client: &TlsStream,
    server: &TlsStream,
    message: Vec<u8>,
    answer: Vec<u8>,
) -> (Vec<u8>, Vec<u8>) {
    let (sent, message) = client.send_all(message).await;
    sent.unwrap();
    let mut left = message.len();
    while left > 0 {
        let chunk = server.recv_pooled().await.unwrap();
        left -= chunk.len();
        server.send_all(chunk).await.0.unwrap();
    }
    let (received, answer) = client.recv_exact(answer).await;
    received.unwrap();
    (message, answer)
}

/// Allocations per round with messages of `len` bytes.
async fn per_round(client: &TlsStream, server: &TlsStream, len: usize) -> f64 {
    let (mut message, mut answer) = (vec![7; len], Vec::with_capacity(len));
    let mut before = 0;
    for done in 0..2 * ROUNDS {
        if done == ROUNDS {
            before = COUNT.load(Ordering::Relaxed);
        }
        (message, answer) = round(client, server, message, answer).await;
        assert_eq!(answer.len(), len);
        answer.clear();
    }
    (COUNT.load(Ordering::Relaxed) - before) as f64 / ROUNDS as f64
}

#[test]
fn a_record_costs_what_rustls_allocates_and_nothing_more() {
    on_cores(1, |handle| async move {
        // On the core, whose buffers are kept from one message to the next.
        handle
            .spawn_on(0, || async {
                let (client, server) = plain_pair().await;
                // Two records are encrypted and two decrypted.
                for len in [64, 1000, 8000] {
                    let count = per_round(&client, &server, len).await;
                    println!("{len} bytes: {count} allocations per round");
                    assert!((3.99..4.05).contains(&count), "{len} bytes: {count} allocations per round");
                }
            })
            .await
            .unwrap();
    });
}
