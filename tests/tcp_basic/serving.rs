//! `serve_per_core`: one address on every core, and an end that resets nobody.

use crate::support::{LIMIT, on_cores, runtime, within};
use ringwork::net::ListenOptions;
use ringwork::runtime::Runtime;
use ringwork::serve_per_core;
use ringwork::{Balance, Serve};
use std::cell::Cell;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn of_two_that_start_at_the_same_time_one_at_most_has_the_port() {
    within(LIMIT, || {
        const TIMES: usize = 1_000;
        let (runtimes, mut had) = ([runtime(2), runtime(2)], 0);
        for _ in 0..TIMES {
            let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let gate = Barrier::new(2);
            let start = |runtime: &Runtime| {
                gate.wait();
                runtime.block_on(serve_per_core(address, |_, _| async {}))
            };
            let started = std::thread::scope(|scope| {
                let other = scope.spawn(|| start(&runtimes[1]));
                [start(&runtimes[0]), other.join().unwrap()]
            });
            let [one, other] = started.each_ref().map(Result::is_ok);
            assert!(!(one && other), "both have it");
            had += usize::from(one || other);
            for (runtime, server) in runtimes.iter().zip(started) {
                match server {
                    Ok(server) => assert!(runtime.block_on(server.stop(LONG))),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse),
                }
            }
        }
        // Another test may have got the port in between, or each have met the other one listening, seldom.
        assert!(had > TIMES / 2, "{had} of {TIMES}");
    });
}

#[test]
fn a_port_in_use_is_an_error_although_the_cores_share_it() {
    on_cores(2, |_| async {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = serve_per_core(address, |_, _| async {}).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let server = serve_per_core(loopback(), |_, _| async {}).await.unwrap();
        let error = serve_per_core(server.local_addr(), |_, _| async {}).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(server.stop(LONG).await);
        // Stopped, the port is free again.
        let again = serve_per_core(taken.local_addr().unwrap(), |_, _| async {}).await;
        assert_eq!(again.unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(taken);
        assert!(serve_per_core(address, |_, _| async {}).await.unwrap().stop(LONG).await);
    });
}

#[test]
fn every_core_serves() {
    on_cores(2, |_| async {
        let seen: Arc<Mutex<HashMap<usize, usize>>> = Arc::default();
        let counts = Arc::clone(&seen);
        let serve = Serve::new(loopback()).start_local(move || {
            let counts = Arc::clone(&counts);
            // Neither the handler nor its connections leave their core.
            let served = Rc::new(Cell::new(0));
            move |stream, _| {
                let core = ringwork::core::current().expect("a handler runs on a core");
                served.set(served.get() + 1);
                counts.lock().unwrap().insert(core, served.get());
                async move { stream.send_all("served").await.0.unwrap() }
            }
        });
        let server = serve.await.unwrap();
        let address = server.local_addr();
        let so_far = Arc::clone(&seen);
        let clients = ringwork::spawn_blocking(move || {
            let mut clients = 0;
            // A core whose thread the machine keeps waiting counts as stuck, and others accept for it.
            while clients < 64 || so_far.lock().unwrap().len() < 2 {
                let mut answer = String::new();
                std::net::TcpStream::connect(address).unwrap().read_to_string(&mut answer).unwrap();
                assert_eq!(answer, "served");
                clients += 1;
            }
            clients
        });
        let clients = clients.await.unwrap();
        assert!(server.stop(LONG).await);
        let seen = seen.lock().unwrap();
        assert_eq!(seen.values().sum::<usize>(), clients);
        assert_eq!(seen.len(), 2, "{seen:?}");
    });
}

#[test]
fn stopping_serves_what_the_kernel_had_completed_and_resets_nobody() {
    within(LIMIT, || {
        for round in 0..5 {
            let runtime = runtime(2);
            let server = runtime.block_on(serve_per_core(loopback(), |stream, _| async move {
                while let Ok(buf) = stream.recv_pooled().await {
                    if buf.is_empty() || stream.send_all(buf).await.0.is_err() {
                        break;
                    }
                }
            }));
            let server = server.unwrap();
            let address = server.local_addr();
            // More than the high-water mark of unclaimed sockets; all are complete when stop is called.
            let mut clients: Vec<_> =
                (0..100 + round * 50).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            let stopping = runtime.spawn(async move { server.stop(LONG).await });
            for client in &mut clients {
                client.write_all(b"ping").unwrap();
            }
            for mut client in clients {
                let mut answer = [0; 4];
                client.read_exact(&mut answer).expect("an accepted connection is served");
                assert_eq!(&answer, b"ping");
            }
            assert!(runtime.block_on(stopping).unwrap(), "all handlers are done");
            assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
        }
    });
}

#[test]
fn stop_says_when_a_handler_is_not_done_in_time() {
    on_cores(2, |_| async {
        let server = serve_per_core(loopback(), |stream, _| async move {
            let _ = stream.recv_pooled().await;
        });
        let server = server.await.unwrap();
        let client = ringwork::net::TcpStream::connect(server.local_addr()).await.unwrap();
        while server.connections() == 0 {
            ringwork::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(!server.stop(Duration::from_millis(50)).await);
        drop(client);
    });
}

#[test]
fn a_limit_holds_for_each_core() {
    on_cores(1, |_| async {
        let serve = Serve::new(loopback()).options(ListenOptions::new().max_connections(2));
        let server = serve.start(|stream, _| async move {
            stream.send_all("hello").await.0.unwrap();
            let _ = stream.recv_pooled().await;
        });
        let server = server.await.unwrap();
        let address = server.local_addr();
        let clients = ringwork::spawn_blocking(move || {
            let mut clients: Vec<_> =
                (0..6).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            while !clients.is_empty() {
                // Whoever is served is one of the first two still there.
                let mut client = clients.remove(0);
                let mut hello = [0; 5];
                client.read_exact(&mut hello).unwrap();
            }
        });
        ringwork::time::timeout(LONG, clients).await.expect("all are served in turn").unwrap();
        assert!(server.stop(LONG).await);
    });
}

#[test]
fn stopping_serves_no_more_at_a_time_than_allowed_and_whoever_is_within_the_limit() {
    const MOST: usize = 2;
    on_cores(1, |_| async {
        for before in 0..=MOST {
            let (running, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (runs, sees) = (Arc::clone(&running), Arc::clone(&seen));
            let serve = Serve::new(loopback()).options(ListenOptions::new().max_connections(MOST));
            let serve = serve.start(move |stream, _| {
                sees.fetch_max(runs.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let runs = Arc::clone(&runs);
                async move {
                    stream.send_all("hello").await.0.unwrap();
                    let _ = stream.recv_pooled().await;
                    runs.fetch_sub(1, Ordering::SeqCst);
                }
            });
            let server = serve.await.unwrap();
            let connect = |address| std::net::TcpStream::connect(address).unwrap();
            let address = server.local_addr();
            let mut clients: Vec<_> = (0..before).map(|_| connect(address)).collect();
            while server.connections() < before {
                ringwork::time::sleep(Duration::from_millis(1)).await;
            }
            // These wait in the backlog, but for those that there is still a place for.
            clients.extend((before..5).map(|_| connect(address)));
            let clients = ringwork::spawn_blocking(move || {
                for (index, client) in clients.iter_mut().enumerate() {
                    let answer = client.read_exact(&mut [0; 5]);
                    assert_eq!(answer.is_ok(), index < MOST, "client {index} of {before}: {answer:?}");
                }
            });
            assert!(server.stop(LONG).await, "all handlers are done");
            clients.await.unwrap();
            assert_eq!((running.load(Ordering::SeqCst), seen.load(Ordering::SeqCst)), (0, MOST));
        }
    });
}

#[test]
fn two_servers_that_both_want_it_share_a_port_and_one_goes_on_when_the_other_stops() {
    for (cores, balance) in
        [(1, Balance::Nearest), (2, Balance::Nearest), (2, Balance::Kernel), (2, Balance::LeastLoaded)]
    {
        on_cores(cores, move |_| async move {
            let serve = |address, share| {
                let options = ListenOptions::new().reuse_port(share);
                let serve = Serve::new(address).balance(balance).options(options);
                serve.start(|stream, _| async move { drop(stream.send_all("hello").await) })
            };
            let first = serve(loopback(), true).await.unwrap();
            let address = first.local_addr();
            let alone = serve(address, false).await;
            assert_eq!(alone.unwrap_err().kind(), ErrorKind::AddrInUse, "{balance:?}");
            let second = serve(address, true).await.unwrap();
            assert_eq!(second.local_addr(), address);
            let greeted = |count| {
                ringwork::spawn_blocking(move || {
                    for _ in 0..count {
                        let mut client = std::net::TcpStream::connect(address).unwrap();
                        client.read_exact(&mut [0; 5]).expect("somebody serves");
                    }
                })
            };
            greeted(32).await.unwrap();
            assert!(first.stop(LONG).await);
            greeted(32).await.unwrap();
            assert!(second.stop(LONG).await);
        });
    }
}
