//! Many receivers and senders at once.

use crate::support::{assert_pattern, pattern};
use crate::{connected, everywhere, socket};
use ringwork::net::UdpSocket;
use std::sync::Arc;

#[test]
fn receivers_get_datagrams_in_the_order_in_which_they_asked() {
    everywhere(1, |_| async {
        let (one, other) = connected().await;
        let mut receivers: Vec<_> = (0..50).map(|_| Box::pin(other.recv(Vec::with_capacity(8)))).collect();
        for receiver in &mut receivers {
            assert!(futures_util::poll!(receiver).is_pending());
        }
        for number in 0..50u8 {
            one.send([number]).await.0.unwrap();
        }
        for (number, receiver) in receivers.into_iter().enumerate() {
            let (n, bytes) = receiver.await;
            assert_eq!((n.unwrap(), bytes), (1, vec![number as u8]));
        }
    });
}

#[test]
fn many_tasks_of_several_cores_share_one_socket_and_lose_nothing() {
    everywhere(2, |handle| async move {
        const TASKS: usize = 16;
        const EACH: usize = 100;
        let (server, address) = socket().await;
        let server = Arc::new(server);
        let echoing: Vec<_> = (0..TASKS)
            .map(|task| {
                let server = Arc::clone(&server);
                handle.spawn_on(task % 2, move || async move {
                    loop {
                        let (received, bytes) = server.recv_from(Vec::with_capacity(2_000)).await;
                        let (_, from) = received.unwrap();
                        server.send_to(bytes, from).await.0.unwrap();
                    }
                })
            })
            .collect();
        let asking: Vec<_> = (0..TASKS)
            .map(|task| {
                handle.spawn_on(task % 2, move || async move {
                    let (client, _) = socket().await;
                    client.connect(address).await.unwrap();
                    for round in 0..EACH {
                        let at = task * EACH + round;
                        client.send(pattern(at, 1 + at)).await.0.unwrap();
                        let (n, bytes) = client.recv(Vec::with_capacity(2_000)).await;
                        assert_eq!(n.unwrap(), 1 + at);
                        assert_pattern(at, &bytes);
                    }
                })
            })
            .collect();
        for task in asking {
            task.await.unwrap();
        }
        for task in &echoing {
            task.abort();
        }
    });
}

#[test]
fn many_sends_are_in_flight_at_once_and_each_leaves_whole() {
    everywhere(2, |_| async {
        let (one, other) = connected().await;
        // The receiver's buffer has room for them all.
        socket2::SockRef::from(&other).set_recv_buffer_size(1 << 20).unwrap();
        let sends = (0..64u8).map(|number| one.send(vec![number; 500]));
        for (sent, bytes) in futures_util::future::join_all(sends).await {
            assert_eq!((sent.unwrap(), bytes.len()), (500, 500));
        }
        let mut seen = [false; 64];
        for _ in 0..64 {
            let (n, bytes) = other.recv(Vec::with_capacity(1_000)).await;
            assert_eq!(n.unwrap(), 500);
            assert!(bytes.iter().all(|byte| *byte == bytes[0]));
            assert!(!std::mem::replace(&mut seen[usize::from(bytes[0])], true), "twice");
        }
    });
}

#[test]
fn a_socket_is_received_from_on_one_core_and_sent_from_on_another() {
    // The buffer of a socket has room for so many, however slow the other side is.
    const COUNT: u32 = 150;
    everywhere(2, |handle| async move {
        let (one, other) = connected().await;
        let (one, other) = (Arc::new(one), Arc::new(other));
        let receiving = handle.spawn_on(1, {
            let one = Arc::clone(&one);
            move || async move {
                for number in 0..COUNT {
                    let (_, bytes) = one.recv([0u8; 4]).await;
                    assert_eq!(u32::from_ne_bytes(bytes), number);
                }
            }
        });
        let answering = handle.spawn_on(0, move || answer(other, COUNT as usize));
        for number in 0..COUNT {
            one.send(number.to_ne_bytes()).await.0.unwrap();
        }
        answering.await.unwrap();
        receiving.await.unwrap();
    });
}

async fn answer(socket: Arc<UdpSocket>, count: usize) {
    for _ in 0..count {
        let (n, bytes) = socket.recv([0u8; 4]).await;
        assert_eq!(n.unwrap(), 4);
        socket.send(bytes).await.0.unwrap();
    }
}
