//! The end: what is in flight is answered, what is not answered in time is cut, nothing is left.

use crate::kit::*;
use crate::support::LIMIT;
use crate::support::Levels;
use hyper::StatusCode;
use ringwork::compat::tower::serve;
use ringwork::net::TcpStream;
use ringwork::time::sleep;
use std::future::IntoFuture;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn a_request_in_flight_is_answered_after_the_word_to_stop_and_idle_connections_are_closed() {
    on_cores(2, |handle| async move {
        let levels = Levels::at_start(&handle).await;
        let (server, talk) = server().await;
        let (mut idle, mut busy) = (connect(&server).await, connect(&server).await);
        assert!(ask(&mut idle, "/").await.starts_with("HTTP/1.1 200 "));
        busy.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut http2 = connect_http2(&server).await;
        let slow = ringwork::spawn(async move { get(&mut http2, "/slow").await });
        talk.begun(3).await;
        let address = server.local_addr();
        let stopping = ringwork::spawn(server.stop(LIMIT));
        // Closed while the slow requests wait: they are what the server waits for.
        ends(&mut idle).await;
        assert!(!stopping.is_finished());
        // What comes before the listeners have closed is accepted, and closed for want of a request.
        while TcpStream::connect(address).await.is_ok() {}
        talk.go.add_permits(2);
        let last = answer(&mut busy).await;
        assert!(last.starts_with("HTTP/1.1 200 ") && last.contains("connection: close"), "{last}");
        ends(&mut busy).await;
        assert_eq!(slow.await.unwrap().unwrap().status(), 200);
        assert_eq!(stopping.await.unwrap(), 0);
        drop((idle, busy));
        levels.return_on(&handle).await;
    });
}

#[test]
fn what_is_not_answered_at_the_deadline_is_cut_and_counted_and_its_handlers_are_dropped() {
    on_cores(2, |handle| async move {
        let levels = Levels::at_start(&handle).await;
        let (server, talk) = server().await;
        let mut busy = [connect(&server).await, connect(&server).await];
        for client in &mut busy {
            client.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        }
        let mut http2 = connect_http2(&server).await;
        let slow = ringwork::spawn(async move { get(&mut http2, "/slow").await });
        talk.begun(3).await;
        assert_eq!(server.stop(Duration::from_millis(200)).await, 3);
        for client in &mut busy {
            ends(client).await;
        }
        slow.await.unwrap().unwrap_err();
        while talk.alive.load(Ordering::SeqCst) > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        drop(busy);
        levels.return_on(&handle).await;
    });
}

#[test]
fn what_the_kernel_had_accepted_before_the_word_to_stop_is_served() {
    on_cores(2, |_| async {
        let (server, _talk) = server().await;
        let mut clients = Vec::new();
        for _ in 0..50 {
            let mut client = connect(&server).await;
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            clients.push(client);
        }
        let mut http2 = connect_http2(&server).await;
        let (stopped, answered) = futures_lite::future::zip(server.stop(LIMIT), get(&mut http2, "/")).await;
        assert_eq!((stopped, answered.unwrap().status()), (0, StatusCode::OK));
        for client in &mut clients {
            assert!(answer(client).await.starts_with("HTTP/1.1 200 "));
        }
    });
}

#[test]
fn an_upgraded_connection_outlives_the_server() {
    on_cores(2, |_| async {
        let (server, talk) = server().await;
        let mut client = connect(&server).await;
        let head = b"GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        client.write_all(head).await.unwrap();
        assert!(answer(&mut client).await.starts_with("HTTP/1.1 101 "));
        talk.begun(1).await;
        assert_eq!(server.stop(LIMIT).await, 0, "it is not waited for");
        client.write_all(b"still here").await.unwrap();
        let mut echo = [0; 10];
        client.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"still here");
    });
}

#[test]
fn awaited_it_serves_for_ever_and_dropped_it_accepts_no_more() {
    on_cores(2, |_| async {
        let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, talk) = (bound.local_addr().unwrap(), Talk::new());
        let mut client = {
            let serving = serve(bound, make!(talk)).into_future();
            let asks = async {
                let mut client = TcpStream::connect(address).await.unwrap();
                assert!(ask(&mut client, "/").await.starts_with("HTTP/1.1 200 "));
                Ok(client)
            };
            let served = async { serving.await.map(|()| panic!("it serves for ever")) };
            futures_lite::future::or(asks, served).await.unwrap()
        };
        ends(&mut client).await;
        while TcpStream::connect(address).await.is_ok() {}
        let bound = std::net::TcpListener::bind(address).expect("the listener before is closed");
        let signal = async { talk.begun(2).await };
        let serving = serve(bound, make!(talk)).with_graceful_shutdown(signal, LIMIT);
        let asks = async {
            let mut client = TcpStream::connect(address).await.unwrap();
            assert!(ask(&mut client, "/").await.starts_with("HTTP/1.1 200 "));
        };
        let (cut, ()) = futures_lite::future::zip(serving, asks).await;
        assert_eq!(cut.unwrap(), 0);
    });
}

#[test]
fn clients_that_break_off_anywhere_leave_nothing_behind() {
    on_cores(2, |handle| async move {
        let levels = Levels::at_start(&handle).await;
        let (server, _talk) = server().await;
        let whole = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
        let address = server.local_addr();
        let breaks = ringwork::spawn_blocking(move || {
            for len in 0..=whole.len() {
                let mut client = std::net::TcpStream::connect(address).unwrap();
                client.write_all(&whole[..len]).unwrap();
                // Every second one with a reset.
                let linger = (len % 2 == 0).then_some(Duration::ZERO);
                socket2::SockRef::from(&client).set_linger(linger).unwrap();
            }
        });
        breaks.await.unwrap();
        assert_eq!(server.stop(LIMIT).await, 0);
        levels.return_on(&handle).await;
    });
}
