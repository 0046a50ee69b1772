//! One datagram after the other.

use crate::support::{assert_pattern, pattern};
use crate::{connected, everywhere, socket};
use ringwork::buf::IoBufMut;
use ringwork::net::UdpSocket;
use ringwork::net::udp::Datagram;
use std::io::ErrorKind;
use std::time::Duration;

#[test]
fn datagrams_of_all_sizes_arrive_as_they_were_sent_and_say_from_whom() {
    everywhere(2, |_| async {
        let ((one, here), (other, there)) = (socket().await, socket().await);
        for size in [0, 1, 100, 1_472, 9_000, 65_507] {
            let (sent, bytes) = one.send_to(pattern(size, size), there).await;
            assert_eq!((sent.unwrap(), bytes.len()), (size, size));
            let (received, bytes) = other.recv_from(Vec::with_capacity(70_000)).await;
            assert_eq!(received.unwrap(), (size, here));
            assert_eq!(bytes.len(), size);
            assert_pattern(size, &bytes);
        }
        let (sent, bytes) = one.send_to(vec![0; 65_508], there).await;
        assert_eq!(sent.unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
        assert_eq!(bytes.len(), 65_508, "the buffer comes back");
    });
}

#[test]
fn a_receive_appends_to_a_vec_and_fills_fixed_buffers_and_parts_from_their_start() {
    everywhere(1, |_| async {
        let (one, other) = connected().await;
        for _ in 0..3 {
            one.send("abc").await.0.unwrap();
        }
        let mut buf = Vec::with_capacity(64);
        buf.extend_from_slice(b"> ");
        let (n, buf) = other.recv(buf).await;
        assert_eq!((n.unwrap(), &buf[..]), (3, &b"> abc"[..]));
        let (n, array) = other.recv([b'-'; 5]).await;
        assert_eq!((n.unwrap(), array), (3, *b"abc--"));
        let (n, part) = other.recv(vec![b'-'; 6].slice_mut(2..6)).await;
        assert_eq!((n.unwrap(), part.into_inner()), (3, b"--abc-".to_vec()));
    });
}

#[test]
fn what_there_is_no_room_for_is_lost_and_a_receive_can_tell() {
    everywhere(1, |_| async {
        let ((one, here), (other, there)) = (socket().await, socket().await);
        for _ in 0..4 {
            one.send_to("12345", there).await.0.unwrap();
        }
        one.send_to("next", there).await.0.unwrap();
        let (n, buf) = other.recv([0u8; 3]).await;
        assert_eq!((n.unwrap(), &buf), (3, b"123"));
        let (datagram, buf) = other.recv_datagram([0u8; 2]).await;
        assert_eq!(datagram.unwrap(), Datagram { len: 2, whole: 5, from: here });
        assert_eq!(&buf, b"12");
        // A buffer without room takes a datagram, too.
        let (datagram, _) = other.recv_datagram(Vec::new()).await;
        assert_eq!(datagram.unwrap(), Datagram { len: 0, whole: 5, from: here });
        let (datagram, _) = other.recv_datagram(Vec::with_capacity(5)).await;
        let datagram = datagram.unwrap();
        assert!(!datagram.is_cut() && datagram.whole == 5);
        // One that is full of bytes is a mistake, and takes none.
        let refused = other.recv(vec![0; 9]).await.0.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(&other.recv(Vec::with_capacity(9)).await.1, b"next");
    });
}

#[test]
fn a_peek_leaves_the_datagram_to_the_next_receive() {
    everywhere(1, |_| async {
        let ((one, here), (other, there)) = (socket().await, socket().await);
        one.send_to("first", there).await.0.unwrap();
        one.send_to("second", there).await.0.unwrap();
        let (peeked, buf) = other.peek_from([0u8; 2]).await;
        assert_eq!((peeked.unwrap(), &buf), ((2, here), b"fi"));
        assert_eq!(other.peek_from(Vec::with_capacity(9)).await.1, b"first");
        assert_eq!(other.recv(Vec::with_capacity(9)).await.1, b"first");
        assert_eq!(other.recv(Vec::with_capacity(9)).await.1, b"second");
    });
}

#[test]
fn a_connected_socket_hears_its_peer_only() {
    everywhere(1, |_| async {
        let (one, other) = connected().await;
        let (stranger, _) = socket().await;
        stranger.send_to("strange", other.local_addr().unwrap()).await.0.unwrap();
        one.send("known").await.0.unwrap();
        let (received, bytes) = other.recv_from(Vec::with_capacity(64)).await;
        assert_eq!(received.unwrap(), (5, one.local_addr().unwrap()));
        assert_eq!(bytes, b"known");
        let unconnected = stranger.send("x").await.0.unwrap_err();
        assert_eq!(unconnected.raw_os_error(), Some(libc::EDESTADDRREQ));
    });
}

#[test]
fn a_peer_that_is_not_there_is_reported_once() {
    everywhere(1, |_| async {
        let (gone, address) = socket().await;
        drop(gone);
        let (one, here) = socket().await;
        one.connect(address).await.unwrap();
        // By a receive that waits already, and by one that comes later.
        for waits in [true, false] {
            let mut receiving = Box::pin(one.recv(Vec::with_capacity(10)));
            if waits {
                assert!(futures_util::poll!(&mut receiving).is_pending());
            }
            one.send("anybody?").await.0.unwrap();
            let (n, _) = receiving.await;
            assert_eq!(n.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        }
        // By a send, whose datagram does not leave.
        one.send("anybody?").await.0.unwrap();
        assert_eq!(one.send("x").await.0.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        // Each was told once: from here on it is as if nothing had been.
        let peer = UdpSocket::bind(address).await.unwrap();
        one.send("there").await.0.unwrap();
        assert_eq!(peer.recv(Vec::with_capacity(10)).await.1, b"there");
        peer.send_to("here", here).await.0.unwrap();
        assert_eq!(one.recv(Vec::with_capacity(10)).await.1, b"here");
    });
}

#[test]
fn a_receive_with_a_limit_gives_its_buffer_back_and_takes_nothing_with_it() {
    everywhere(1, |_| async {
        let (one, other) = connected().await;
        let (n, buf) = other.recv(Vec::with_capacity(10)).timeout(Duration::from_millis(5)).await;
        assert_eq!((n.unwrap_err().kind(), buf.capacity()), (ErrorKind::TimedOut, 10));
        let (n, buf) = other.recv_from(buf).cancel().await;
        assert_eq!((n.unwrap_err().raw_os_error(), buf.capacity()), (Some(libc::ECANCELED), 10));
        // One that waits behind another.
        let mut first = Box::pin(other.recv([0u8; 8]));
        assert!(futures_util::poll!(&mut first).is_pending());
        let (n, _) = other.recv_datagram(buf).timeout(Duration::from_millis(5)).await;
        assert_eq!(n.unwrap_err().kind(), ErrorKind::TimedOut);
        one.send("x").await.0.unwrap();
        assert_eq!(first.await.0.unwrap(), 1);
    });
}
