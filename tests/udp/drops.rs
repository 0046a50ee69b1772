//! Dropping in flight.

use crate::support::{LIMIT, on_cores, runtime, within};
use crate::{connected, everywhere, socket};
use futures_util::poll;
use ringwork::buf::{IoBuf, IoBufMut};
use ringwork::net::UdpSocket;
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

#[test]
fn a_dropped_receive_loses_no_datagram_and_keeps_their_order() {
    // The buffer of a socket has room for so many, however slow its reader is.
    const COUNT: u32 = 150;
    everywhere(2, |handle| async move {
        let (one, other) = connected().await;
        let sending = handle.spawn_on(1, || async move {
            for number in 0..COUNT {
                one.send(number.to_ne_bytes()).await.0.unwrap();
                ringwork::task::yield_now().await;
            }
            one
        });
        let mut next = 0;
        while next < COUNT {
            // Dropped at all stages of its life: some of these receive something.
            if let Poll::Ready((n, bytes)) = poll!(Box::pin(other.recv([0u8; 4]))) {
                n.unwrap();
                assert_eq!(u32::from_ne_bytes(bytes), next);
                next += 1;
                continue;
            }
            let (n, bytes) = other.recv([0u8; 4]).await;
            n.unwrap();
            assert_eq!(u32::from_ne_bytes(bytes), next);
            next += 1;
        }
        sending.await.unwrap();
    });
}

#[test]
fn what_came_for_a_dropped_receive_is_as_long_as_that_had_room_for_and_says_so() {
    on_cores(1, |_| async {
        let ((one, here), (other, there)) = (socket().await, socket().await);
        let mut dropped = Box::pin(other.recv_from([0u8; 3]));
        assert!(poll!(&mut dropped).is_pending());
        one.send_to("12345", there).await.0.unwrap();
        // It has arrived for the future, which has not looked yet: a peek behind it would not return else.
        arrived(&one, here).await;
        drop(dropped);
        for _ in 0..2 {
            let (peeked, bytes) = other.peek_from(Vec::with_capacity(9)).await;
            assert_eq!((peeked.unwrap(), &bytes[..]), ((3, here), &b"123"[..]));
        }
        let (datagram, bytes) = other.recv_datagram(vec![0; 2].into_boxed_slice()).await;
        let datagram = datagram.unwrap();
        assert_eq!((datagram.len, datagram.whole, datagram.from, &bytes[..]), (2, 5, here, &b"12"[..]));
        one.send_to("next", there).await.0.unwrap();
        assert_eq!(other.recv(Vec::with_capacity(9)).await.1, b"next");
    });
}

/// Sends a datagram to the socket itself and receives it: completions that were posted before are seen.
async fn arrived(socket: &UdpSocket, address: std::net::SocketAddr) {
    socket.send_to("mark", address).await.0.unwrap();
    assert_eq!(socket.recv(Vec::with_capacity(9)).await.1, b"mark");
}

#[test]
fn an_error_that_came_for_a_dropped_receive_is_told_to_the_next() {
    on_cores(1, |_| async {
        let (gone, address) = socket().await;
        drop(gone);
        let ((one, _), (mark, mark_address)) = (socket().await, socket().await);
        one.connect(address).await.unwrap();
        let mut dropped = Box::pin(one.recv([0u8; 3]));
        assert!(poll!(&mut dropped).is_pending());
        one.send("anybody?").await.0.unwrap();
        arrived(&mark, mark_address).await;
        drop(dropped);
        let (n, _) = one.recv([0u8; 3]).await;
        assert_eq!(n.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(poll!(Box::pin(one.recv([0u8; 3]))).is_pending());
    });
}

#[test]
fn a_receiver_that_goes_away_lets_those_behind_it_through() {
    everywhere(1, |_| async {
        let (one, other) = connected().await;
        let mut receivers: Vec<_> = (0..10).map(|_| Box::pin(other.recv(Vec::with_capacity(8)))).collect();
        for receiver in &mut receivers {
            assert!(poll!(receiver).is_pending());
        }
        // The first has an op in flight, others have a place.
        for index in [0, 3, 3, 0] {
            drop(receivers.remove(index));
        }
        for number in 0..6u8 {
            one.send([number]).await.0.unwrap();
        }
        for (number, receiver) in receivers.into_iter().enumerate() {
            assert_eq!(receiver.await.1, vec![number as u8]);
        }
    });
}

#[test]
fn a_socket_goes_to_std_when_nothing_of_it_is_kept() {
    everywhere(1, |_| async {
        let std = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        std.set_nonblocking(true).unwrap();
        let address = std.local_addr().unwrap();
        let socket = UdpSocket::from_std(std).unwrap();
        let mut dropped = Box::pin(socket.recv([0u8; 3]));
        assert!(poll!(&mut dropped).is_pending());
        socket.send_to("abc", address).await.0.unwrap();
        drop(dropped);
        // The op is being cancelled, or its datagram is kept, or still in the kernel.
        let (n, bytes) = socket.recv([0u8; 3]).await;
        assert_eq!((n.unwrap(), &bytes), (3, b"abc"));
        let std = socket.into_std().expect("nothing is in flight");
        std.send_to(b"def", address).unwrap();
        let mut buf = [0; 8];
        assert_eq!(std.recv(&mut buf).unwrap(), 3, "it is in blocking mode");
    });
}

#[test]
fn a_socket_in_use_or_with_a_kept_datagram_stays() {
    on_cores(1, |_| async {
        let (socket, address) = socket().await;
        let (mark, mark_address) = crate::socket().await;
        let mut dropped = Box::pin(socket.recv([0u8; 3]));
        assert!(poll!(&mut dropped).is_pending());
        socket.send_to("abc", address).await.0.unwrap();
        arrived(&mark, mark_address).await;
        drop(dropped);
        let socket = socket.into_std().expect_err("a datagram is kept");
        assert_eq!(&socket.recv([0u8; 3]).await.1, b"abc");
        socket.into_std().unwrap();
    });
}

#[test]
fn a_port_is_free_again_when_its_socket_is_gone() {
    everywhere(1, |_| async {
        let (socket, address) = socket().await;
        assert!(poll!(Box::pin(socket.recv([0u8; 3]))).is_pending());
        drop(socket);
        // A moment later: when the final completion has been seen.
        while UdpSocket::bind(address).await.is_err() {
            ringwork::task::yield_now().await;
        }
    });
}

#[test]
fn receives_in_flight_fail_when_the_runtime_goes_down_and_later_ones_do_too() {
    within(LIMIT, || {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        let (socket, _) = runtime.block_on(socket());
        let _inside = handle.enter();
        let mut cx = Context::from_waker(Waker::noop());
        let (mut first, mut second) =
            (socket.recv(Vec::with_capacity(9)), socket.recv(Vec::with_capacity(9)));
        for receiver in [&mut first, &mut second] {
            assert!(Pin::new(receiver).poll(&mut cx).is_pending());
        }
        assert!(runtime.shutdown_timeout(LIMIT).is_clean());
        // One has an op in flight, one a place behind it, one begins now.
        for receiver in [first, second, socket.recv(Vec::with_capacity(9))] {
            let (n, buf) = futures_executor::block_on(receiver);
            assert!(n.is_err() && buf.capacity() == 9);
        }
        assert!(futures_executor::block_on(socket.send("x")).0.is_err());
    });
}

/// A buffer that panics when it is told what has been read.
struct Moody(Box<[u8; 9]>);

// SAFETY: the bytes are on the heap, all of them are initialised, and nothing changes that.
unsafe impl IoBuf for Moody {
    fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

// SAFETY: all of them may be written.
unsafe impl IoBufMut for Moody {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }

    fn fill_from(&self) -> usize {
        0
    }

    unsafe fn assume_init(&mut self, _end: usize) {
        panic!("a buffer that panics, on purpose");
    }
}

#[test]
fn a_dropped_receive_whose_buffer_panics_is_over_all_the_same() {
    on_cores(1, |handle| async move {
        let (socket, address) = socket().await;
        let (mark, mark_address) = crate::socket().await;
        // Its datagram is there when it is dropped.
        let mut dropped = Box::pin(socket.recv(Moody(Box::default())));
        assert!(poll!(&mut dropped).is_pending());
        socket.send_to("lost", address).await.0.unwrap();
        arrived(&mark, mark_address).await;
        drop(dropped);
        socket.send_to("next", address).await.0.unwrap();
        assert_eq!(socket.recv(Vec::with_capacity(9)).await.1, b"next");

        // It is dropped before its datagram is looked at, and its core finds that out.
        let mut dropped = Box::pin(socket.recv(Moody(Box::default())));
        assert!(poll!(&mut dropped).is_pending());
        arrived(&mark, mark_address).await;
        let (here, is_here) = std::sync::mpsc::channel();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let holds = handle.spawn_on(0, move || async move {
            here.send(()).unwrap();
            let _let_go = held.recv();
        });
        is_here.recv().unwrap();
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"lost", address).unwrap();
        drop(dropped);
        drop(release);
        holds.await.unwrap();
        socket.send_to("next", address).await.0.unwrap();
        let mut received = socket.recv(Vec::with_capacity(9)).await.1;
        if received == b"lost" {
            // The cancel was first.
            received = socket.recv(Vec::with_capacity(9)).await.1;
        }
        assert_eq!(received, b"next");
    });
}
