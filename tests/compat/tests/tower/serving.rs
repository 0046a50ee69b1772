//! What clients get, and that one bad request is one bad request.

use crate::kit::*;
use crate::support::LIMIT;
use http_body_util::BodyExt;
use ringwork::Balance;
use ringwork::compat::tower::{IncomingStream, Serve, serve};
use ringwork::net::{ListenOptions, TcpStream};
use ringwork::time::sleep;
use std::future::ready;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tower::service_fn;

#[test]
fn both_versions_of_http_are_served_and_a_service_is_made_for_each_connection() {
    on_cores(2, |_| async {
        let (server, talk) = server().await;
        for _ in 0..4 {
            let mut client = connect(&server).await;
            let me = client.local_addr().unwrap().to_string();
            for _ in 0..3 {
                assert!(ask(&mut client, "/").await.ends_with(&me));
            }
        }
        let mut client = connect_http2(&server).await;
        for _ in 0..3 {
            let body = get(&mut client, "/").await.unwrap().into_body().collect().await.unwrap().to_bytes();
            assert!(body.starts_with(b"127.0.0.1:"), "{body:?}");
        }
        assert_eq!(talk.begun.load(Ordering::SeqCst), 15);
        drop(client);
        assert_eq!(server.stop(LIMIT).await, 0);
    });
}

#[test]
fn a_panic_in_a_handler_ends_its_connection_or_stream_and_nothing_else() {
    on_cores(2, |_| async {
        let (server, _talk) = server().await;
        let (mut good, mut bad) = (connect(&server).await, connect(&server).await);
        bad.write_all(b"GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        ends(&mut bad).await;
        let mut http2 = connect_http2(&server).await;
        get(&mut http2, "/panic").await.unwrap_err();
        assert_eq!(get(&mut http2, "/").await.unwrap().status(), 200, "on the same connection");
        assert!(ask(&mut good, "/").await.starts_with("HTTP/1.1 200 "));
        drop(http2);
        assert_eq!(server.stop(LIMIT).await, 0);
    });
}

#[test]
fn a_make_service_that_fails_or_panics_costs_one_connection() {
    on_cores(1, |_| async {
        let (talk, count) = (Talk::new(), Arc::new(AtomicUsize::new(0)));
        let make = service_fn(move |incoming: IncomingStream<'_>| {
            let (talk, peer) = (talk.clone(), incoming.remote_addr());
            ready(match count.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("a make-service that panics, as the test wants"),
                1 => Err(io::Error::other("not today")),
                _ => Ok(service_fn(move |request| talk.clone().answer(peer, request))),
            })
        });
        let server = serve(anywhere(), make).start().await.unwrap();
        for _ in 0..2 {
            ends(&mut connect(&server).await).await;
        }
        assert!(ask(&mut connect(&server).await, "/").await.starts_with("HTTP/1.1 200 "));
        assert_eq!(server.stop(LIMIT).await, 0);
    });
}

#[test]
fn settings_reach_hyper_and_so_do_the_options_of_the_listener() {
    on_cores(2, |_| async {
        let talk = Talk::new();
        let on = anywhere().balance(Balance::LeastLoaded).options(ListenOptions::new().max_connections(2));
        let serve: Serve<_> = serve(on, make!(talk)).http(|http| {
            http.http1().keep_alive(false).max_headers(2);
        });
        let server = serve.start().await.unwrap();
        let mut client = connect(&server).await;
        assert!(ask(&mut client, "/").await.contains("connection: close"));
        ends(&mut client).await;
        let mut client = connect(&server).await;
        client.write_all(b"GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n").await.unwrap();
        assert!(answer(&mut client).await.starts_with("HTTP/1.1 431 "));
        drop(client);
        let mut clients = [connect(&server).await, connect(&server).await, connect(&server).await];
        while server.connections() < 2 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(server.connections_per_core(), [1, 1], "balanced, and no more than allowed");
        for client in &mut clients {
            assert!(ask(client, "/").await.starts_with("HTTP/1.1 200 "));
        }
        assert_eq!(server.stop(LIMIT).await, 0);
    });
}

#[test]
fn a_listener_that_was_bound_elsewhere_is_served_by_all_cores() {
    on_cores(2, |_| async {
        let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, talk) = (bound.local_addr().unwrap(), Talk::new());
        let server = serve(bound, make!(talk)).start().await.unwrap();
        assert_eq!(server.local_addr(), address);
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(connect(&server).await);
        }
        for client in &mut clients {
            assert!(ask(client, "/").await.starts_with("HTTP/1.1 200 "));
        }
        assert_eq!(server.connections_per_core(), [2, 2]);
        drop(clients);
        assert_eq!(server.stop(LIMIT).await, 0);
        drop(std::net::TcpListener::bind(address).expect("the socket is closed"));
    });
}

#[test]
fn serving_a_socket_that_somebody_else_shuts_down_ends_with_its_error() {
    for cores in [1, 2] {
        on_cores(cores, |_| async {
            let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let (other, talk) = (bound.try_clone().unwrap(), Talk::new());
            let address = bound.local_addr().unwrap();
            let serving = ringwork::spawn(async move { serve(bound, make!(talk)).await });
            let mut client = TcpStream::connect(address).await.unwrap();
            assert!(ask(&mut client, "/").await.starts_with("HTTP/1.1 200 "));
            socket2::SockRef::from(&other).shutdown(std::net::Shutdown::Both).unwrap();
            assert_eq!(serving.await.unwrap().unwrap_err().raw_os_error(), Some(libc::EINVAL));
        });
    }
}
