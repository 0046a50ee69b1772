//! What one HTTP/1 request on a kept-alive connection costs in steady state: completions, entries, polls and
//! allocations, the last beside tokio's.
//!
//! `cargo test -p ringwork-compat --test http_cost -- --nocapture` prints the numbers.

#[path = "../../support/mod.rs"]
mod support;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use ringwork::net::TcpStream;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::io::{Read, Write};
use support::{LIMIT, std_pair, within};

const WARM_UP: u64 = 200;
const REQUESTS: u64 = 2_000;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n\r\n";

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is passed on to the system's allocator as it came; counting touches a cell of the
// thread's own that has no destructor and needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
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

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"hello"))))
}

/// Sends requests one by one and reads each answer whole.
fn ask(stream: &mut std::net::TcpStream, times: u64) {
    let mut answer = [0; 1024];
    for _ in 0..times {
        stream.write_all(REQUEST).unwrap();
        let mut n = 0;
        while !answer[..n].ends_with(b"\r\n\r\nhello") {
            let more = stream.read(&mut answer[n..]).unwrap();
            assert!(more > 0, "the server closed the connection");
            n += more;
        }
    }
}

/// Allocations of a tokio thread that does the same.
fn tokios() -> u64 {
    let (server, mut client) = std_pair();
    let asks = std::thread::spawn(move || ask(&mut client, WARM_UP + REQUESTS));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let served = std::cell::Cell::new(0);
    let start = std::cell::Cell::new(0);
    runtime.block_on(async {
        server.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(server).unwrap();
        let service = service_fn(|request| {
            served.set(served.get() + 1);
            if served.get() == WARM_UP {
                start.set(ALLOCATIONS.get());
            }
            hello(request)
        });
        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.unwrap();
    });
    asks.join().unwrap();
    ALLOCATIONS.get() - start.get()
}

#[test]
fn a_request_costs_one_receive_completion_one_send_and_no_more_memory_than_with_tokio() {
    within(LIMIT, || {
        let runtime = support::runtime(1);
        let handle = runtime.handle().clone();
        let (server, mut client) = std_pair();
        drop(handle.spawn_on(0, move || async move {
            let stream = TcpStream::from_std(server).unwrap();
            let _ended = http1::Builder::new().serve_connection(stream, service_fn(hello)).await;
        }));
        let allocations = || runtime.block_on(handle.call(0, || ALLOCATIONS.get())).unwrap();
        ask(&mut client, WARM_UP);
        // The call first: an answer is there before the enter that has sent it returns, and is counted.
        let (start, before) = (allocations(), handle.metrics().cores[0].clone());
        ask(&mut client, REQUESTS);
        let (end, after) = (allocations(), handle.metrics().cores[0].clone());

        let each = |count: u64| count as f64 / REQUESTS as f64;
        let (sqes, cqes) = (after.sqes - before.sqes, after.cqes - before.cqes);
        let tokios = tokios();
        println!("per request: {:.3} entries, {:.3} completions", each(sqes), each(cqes));
        println!(
            "  {:.3} polls, {:.3} enters",
            each(after.polls - before.polls),
            each(after.enters - before.enters)
        );
        println!("  {:.3} allocations, tokio {:.3}", each(end - start), each(tokios));
        // The doorbell of what asks for the numbers is among them. A send on the spot has neither entry nor
        // completion, and nearly all of these are.
        let few = 20;
        let sent = after.sends_on_the_spot - before.sends_on_the_spot;
        assert!(sent > REQUESTS * 9 / 10, "{sent} sends on the spot");
        let entries = REQUESTS - sent..REQUESTS - sent + few;
        assert!(entries.contains(&sqes), "{sqes} entries: no receive anew, and {sent} sends without");
        let completions = 2 * REQUESTS - sent..2 * REQUESTS - sent + few;
        assert!(
            completions.contains(&cqes),
            "{cqes} completions: one receive each, and {sent} sends without"
        );
        assert!(end - start <= tokios + few, "{} allocations, tokio {tokios}", end - start);
    });
}
