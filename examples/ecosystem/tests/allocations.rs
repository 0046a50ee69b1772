//! What a request of an axum application calls the allocator for in steady state, on ringwork and on tokio.
//!
//! `cargo test -p ringwork-ecosystem --test allocations -- --nocapture` prints the numbers.

mod kit;

use axum::{Json, Router, extract::Path, routing::get, routing::post};
use kit::{OnRingwork, OnTokio, connect, head};
use serde::{Deserialize, Serialize};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

const WARM_UP: u64 = 200;
const REQUESTS: u64 = 500;

/// Calls of all threads but those that say that they are clients.
static CALLS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_CLIENT: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if !IS_CLIENT.get() {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
}

struct Counting;

// SAFETY: everything is passed on to the system's allocator as it came; counting touches a static and a cell
// of the thread's own, neither of which needs memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[derive(Serialize)]
struct Greeting {
    hello: String,
    number: u64,
}

#[derive(Deserialize)]
struct Numbers {
    numbers: Vec<f64>,
}

fn app() -> Router {
    let greet = |Path(hello): Path<String>| async { Json(Greeting { hello, number: 7 }) };
    let sum = |Json(Numbers { numbers }): Json<Numbers>| async move { Json(numbers.iter().sum::<f64>()) };
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/hello/{name}", get(greet))
        .route("/sum", post(sum))
}

/// Calls of the allocator per request, on one connection that is kept alive.
fn per_request(to: SocketAddr, request: &[u8], body: &str) -> f64 {
    let mut client = connect(to);
    let mut answer = vec![0; body.len()];
    let mut ask = |times| {
        for _ in 0..times {
            client.write_all(request).unwrap();
            assert!(head(&mut client).starts_with("HTTP/1.1 200 "));
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer, body.as_bytes());
        }
    };
    ask(WARM_UP);
    let before = CALLS.load(Ordering::Relaxed);
    ask(REQUESTS);
    (CALLS.load(Ordering::Relaxed) - before) as f64 / REQUESTS as f64
}

#[test]
fn a_request_of_an_application_allocates_no_more_than_on_tokio() {
    IS_CLIENT.set(true);
    let (ours, tokios) = (OnRingwork::start(app()), OnTokio::start(app()));
    let sum =
        b"POST /sum HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 19\r\n\r\n\
        {\"numbers\":[1,2.5]}";
    for (name, request, body) in [
        ("text", &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], "hello"),
        ("JSON out", b"GET /hello/you HTTP/1.1\r\nhost: a\r\n\r\n", "{\"hello\":\"you\",\"number\":7}"),
        ("JSON in and out", sum, "3.5"),
    ] {
        let [ours, tokios] = [ours.address, tokios.address].map(|to| per_request(to, request, body));
        println!("{name}: {ours:.2} calls of the allocator per request, tokio {tokios:.2}");
        // What other threads of either runtime do meanwhile is a few calls, whatever the number of requests.
        assert!(ours <= tokios + 0.1, "{name}: {ours} against {tokios}");
    }
}
