//! What waiting costs: no CPU, and little memory.

mod kit;

use kit::process::{self, alone};
use kit::{bounded, runtime, wait_for};
use ringwork::net::TcpListener;
use ringwork::runtime::Runtime;
use ringwork::time::{Duration, sleep};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const CONNECTIONS: usize = 1_000;

/// CPU time of the whole process while `span` passes.
fn cpu_while_idle(span: Duration) -> Duration {
    let before = process::cpu_time();
    thread::sleep(span);
    process::cpu_time() - before
}

/// How a connection waits.
#[derive(Clone, Copy)]
enum Waits {
    InPooledReceive,
    InReceiveAfterTalking,
}

/// A thousand connections whose server ends wait in a receive; the clients.
fn connections(runtime: &Runtime, waits: Waits) -> Vec<TcpStream> {
    let waiting = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&waiting);
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    drop(runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            drop(ringwork::spawn(async move {
                if let Waits::InReceiveAfterTalking = waits {
                    let hello = stream.recv_pooled().await.unwrap();
                    stream.send_all(hello).await.0.unwrap();
                }
                count.fetch_add(1, Ordering::SeqCst);
                let end = stream.recv_pooled().await.unwrap();
                assert!(end.is_empty());
            }));
        }
    }));
    let client = |_| {
        let mut client = TcpStream::connect(address).unwrap();
        if let Waits::InReceiveAfterTalking = waits {
            std::io::Write::write_all(&mut client, b"hello").unwrap();
            std::io::Read::read_exact(&mut client, &mut [0; 5]).unwrap();
        }
        client
    };
    let clients = (0..CONNECTIONS).map(client).collect();
    wait_for("all to wait", || waiting.load(Ordering::SeqCst) == CONNECTIONS);
    clients
}

fn idle_for(span: Duration, most: Duration) {
    assert!(process::raise_descriptor_limit() > 2 * CONNECTIONS as u64 + 50, "ulimit -n is too low");
    let runtime = runtime(2);
    let clients = connections(&runtime, Waits::InReceiveAfterTalking);
    // An hour's timer for each, as a server would have.
    for _ in 0..CONNECTIONS {
        drop(runtime.spawn(sleep(Duration::from_secs(3600))));
    }
    let _ = cpu_while_idle(Duration::from_millis(100));
    let used = cpu_while_idle(span);
    println!("measured: {used:?} of CPU in {span:?} with {CONNECTIONS} idle connections");
    assert!(used <= most, "{used:?} in {span:?}");
    drop(clients);
}

#[test]
fn a_thousand_idle_connections_use_no_cpu() {
    alone(|| idle_for(Duration::from_secs(2), Duration::from_millis(4)));
}

#[test]
#[ignore = "takes five seconds: the figure the project promises"]
fn a_thousand_idle_connections_use_no_cpu_for_five_seconds() {
    alone(|| idle_for(Duration::from_secs(5), Duration::from_millis(10)));
}

#[test]
fn a_runtime_that_was_busy_uses_no_cpu_when_it_is_idle_again() {
    alone(|| {
        bounded(|| {
            let runtime = runtime(2);
            let echo = kit::echo_server();
            for _ in 0..50 {
                runtime.block_on(runtime.spawn(kit::talk(echo, "hello"))).unwrap().unwrap();
                runtime.block_on(runtime.handle().spawn_blocking(|| ())).unwrap();
                runtime.block_on(ringwork::fs::read("Cargo.toml")).unwrap();
            }
            let stolen = runtime.spawn(async {
                let tasks = (0..1_000).map(|_| ringwork::spawn(ringwork::task::yield_now()));
                futures_util::future::join_all(tasks.collect::<Vec<_>>()).await
            });
            runtime.block_on(stolen).unwrap();
            let _ = cpu_while_idle(Duration::from_millis(100));
            let used = cpu_while_idle(Duration::from_secs(1));
            assert!(used <= Duration::from_millis(3), "{used:?}");
        });
    });
}

#[test]
fn cancelled_ops_leave_no_core_busy() {
    alone(|| {
        bounded(|| {
            let runtime = runtime(2);
            for _ in 0..100 {
                let accepting = runtime.spawn(async {
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    listener.accept().await.map(drop)
                });
                thread::yield_now();
                accepting.abort();
                assert!(runtime.block_on(accepting).unwrap_err().is_cancelled());
            }
            let _ = cpu_while_idle(Duration::from_millis(100));
            let used = cpu_while_idle(Duration::from_secs(1));
            assert!(used <= Duration::from_millis(3), "{used:?}");
        });
    });
}

/// User memory of one idle connection; the kernel's is not part of the resident set.
fn memory_of_one(waits: Waits) -> u64 {
    assert!(process::raise_descriptor_limit() > 2 * CONNECTIONS as u64 + 50, "ulimit -n is too low");
    let runtime = runtime(1);
    touch_all_buffers(&runtime);
    let before = process::resident();
    let clients = connections(&runtime, waits);
    let each = process::resident().saturating_sub(before) / CONNECTIONS as u64;
    drop(clients);
    each
}

/// Receives until every buffer of the pool has been written to: they are the runtime's, not a connection's.
fn touch_all_buffers(runtime: &Runtime) {
    let echo = kit::echo_server();
    let talk = runtime.spawn(async move {
        let stream = ringwork::net::TcpStream::connect(echo).await.unwrap();
        for _ in 0..1_000 {
            stream.send_all("hello").await.0.unwrap();
            assert!(!stream.recv_pooled().await.unwrap().is_empty());
        }
    });
    runtime.block_on(talk).unwrap();
}

#[test]
fn an_idle_connection_takes_little_memory() {
    alone(|| {
        let fresh = memory_of_one(Waits::InPooledReceive);
        println!("measured: {fresh} bytes for a connection that has never talked");
        assert!(fresh <= 1_536, "{fresh} bytes each");
    });
}

#[test]
fn an_idle_connection_that_has_talked_takes_little_memory() {
    alone(|| {
        let used = memory_of_one(Waits::InReceiveAfterTalking);
        println!("measured: {used} bytes for a connection that has talked");
        assert!(used <= 1_536, "{used} bytes each");
    });
}
