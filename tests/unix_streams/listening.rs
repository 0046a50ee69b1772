//! Accepting and connecting.

use crate::support::pattern;
use crate::{OwnPath, everywhere};
use ringwork::net::{UnixListener, UnixStream};
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

#[test]
fn many_clients_of_several_cores_are_served_at_once() {
    everywhere(2, |handle| async move {
        let path = OwnPath::new();
        let listener = UnixListener::bind(&path).unwrap();
        let serving = ringwork::spawn(async move {
            for _ in 0..200 {
                let (stream, _) = listener.accept().await.unwrap();
                ringwork::spawn(async move {
                    loop {
                        let bytes = stream.recv_pooled().await.unwrap();
                        if bytes.is_empty() {
                            break;
                        }
                        stream.send_all(bytes).await.0.unwrap();
                    }
                });
            }
            listener
        });
        let clients: Vec<_> = (0..200)
            .map(|client| {
                let path = path.0.clone();
                handle.spawn_on(client % 2, move || async move {
                    let stream = UnixStream::connect(&path).await.unwrap();
                    for round in 0..10 {
                        let message = pattern(client * 10 + round, 1_000 + client);
                        stream.send_all(message.clone()).await.0.unwrap();
                        let (received, echo) = stream.recv_exact(Vec::with_capacity(message.len())).await;
                        received.unwrap();
                        assert_eq!(echo, message);
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        drop(serving.await.unwrap());
    });
}

#[test]
fn a_connect_waits_for_room_in_the_backlog_and_an_abandoned_one_goes_away() {
    everywhere(2, |_| async {
        let path = OwnPath::new();
        let std = std::os::unix::net::UnixListener::bind(&path).unwrap();
        socket2::SockRef::from(&std).listen(0).unwrap();
        let listener = UnixListener::from_std(std).unwrap();
        let first = UnixStream::connect(&path).await.unwrap();
        {
            let mut abandoned = Box::pin(UnixStream::connect(&path));
            assert!(futures_util::poll!(&mut abandoned).is_pending(), "one waits in the backlog");
        }
        let waits = path.0.clone();
        let second = ringwork::spawn(async move { UnixStream::connect(waits).await.unwrap() });
        ringwork::task::yield_now().await;
        // Of the abandoned one at most its end is seen; the one that waits gets through.
        let accepted = listener.accept_stream().await.unwrap();
        first.send_all("1").await.0.unwrap();
        assert_eq!(&accepted.recv_pooled().await.unwrap()[..], b"1");
        let sender = ringwork::spawn(async move { second.await.unwrap().send_all("2").await.0.unwrap() });
        loop {
            let accepted = listener.accept_stream().await.unwrap();
            match accepted.recv(Vec::with_capacity(8)).await {
                (Ok(0), _) => continue,
                (n, bytes) => break assert_eq!((n.unwrap(), &bytes[..]), (1, &b"2"[..])),
            }
        }
        sender.await.unwrap();
    });
}

#[test]
fn many_connects_that_wait_for_one_listener_keep_none_to_another_waiting() {
    everywhere(1, |_| async {
        let (full, other) = (OwnPath::new(), OwnPath::new());
        let std = std::os::unix::net::UnixListener::bind(&full).unwrap();
        socket2::SockRef::from(&std).listen(0).unwrap();
        let listener = UnixListener::bind(&other).unwrap();
        let _in_the_backlog = UnixStream::connect(&full).await.unwrap();
        let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(UnixStream::connect(&full))).collect();
        for connect in &mut waiting {
            assert!(futures_util::poll!(connect).is_pending());
        }
        let client = UnixStream::connect(&other).await.unwrap();
        client.send_all("x").await.0.unwrap();
        assert_eq!(&listener.accept().await.unwrap().0.recv_pooled().await.unwrap()[..], b"x");
        drop(waiting);
        // Nobody is left in the way of one that comes when there is room.
        drop(std.accept().unwrap());
        UnixStream::connect(&full).await.unwrap();
    });
}

#[test]
fn a_connection_accepted_for_a_dropped_future_goes_to_the_next() {
    everywhere(2, |_| async {
        let path = OwnPath::new();
        let listener = UnixListener::bind(&path).unwrap();
        for round in 0..100u8 {
            let mut dropped = Box::pin(listener.accept_stream());
            assert!(futures_util::poll!(&mut dropped).is_pending());
            let client = UnixStream::connect(&path).await.unwrap();
            drop(dropped);
            let (server, _) = listener.accept().await.unwrap();
            client.send_all([round]).await.0.unwrap();
            assert_eq!(&server.recv_pooled().await.unwrap()[..], [round]);
        }
    });
}

#[test]
fn several_tasks_accept_from_one_listener_and_each_connection_is_served_once() {
    everywhere(2, |handle| async move {
        let path = OwnPath::new();
        let listener = Arc::new(UnixListener::bind(&path).unwrap());
        let servers: Vec<_> = (0..8)
            .map(|server| {
                let listener = Arc::clone(&listener);
                handle.spawn_on(server % 2, move || async move {
                    for _ in 0..5 {
                        let stream = listener.accept_stream().await.unwrap();
                        stream.send_all("served").await.0.unwrap();
                    }
                })
            })
            .collect();
        for _ in 0..40 {
            let client = UnixStream::connect(&path).await.unwrap();
            let (received, bytes) = client.recv_exact([0u8; 6]).await;
            received.unwrap();
            assert_eq!(&bytes, b"served");
            assert!(client.recv_pooled().await.unwrap().is_empty());
        }
        for server in servers {
            server.await.unwrap();
        }
    });
}

#[test]
fn a_dropped_listener_refuses_and_ends_those_that_wait_in_its_backlog() {
    everywhere(1, |_| async {
        let path = OwnPath::new();
        let listener = UnixListener::bind(&path).unwrap();
        // The multishot is armed, and accepts ahead.
        assert!(futures_util::poll!(Box::pin(listener.accept_stream())).is_pending());
        let waiting = UnixStream::connect(&path).await.unwrap();
        drop(listener);
        assert_eq!(UnixStream::connect(&path).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        match waiting.recv(Vec::with_capacity(1)).await.0 {
            Ok(n) => assert_eq!(n, 0),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    });
}

#[test]
fn a_listener_taken_over_from_std_is_not_shut_down_for_others() {
    everywhere(1, |_| async {
        let path = OwnPath::new();
        let std = std::os::unix::net::UnixListener::bind(&path).unwrap();
        std.set_nonblocking(true).unwrap();
        let kept = std.try_clone().unwrap();
        let listener = UnixListener::from_std(std).unwrap();
        let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        client.write_all(b"one").unwrap();
        let stream = listener.accept_stream().await.unwrap();
        assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"one");
        drop(listener);
        let served = ringwork::spawn_blocking(move || {
            let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
            kept.accept().unwrap().0.write_all(b"two").unwrap();
            let mut bytes = Vec::new();
            client.read_to_end(&mut bytes).unwrap();
            bytes
        });
        assert_eq!(served.await.unwrap(), b"two");
    });
}
