//! Bytes in and out.

use crate::support::{assert_pattern, on_cores, pattern};
use crate::{OwnPath, everywhere};
use ringwork::fs::File;
use ringwork::net::UnixStream;
use std::io::{ErrorKind, Read, Write};

#[test]
fn bytes_arrive_in_order_both_ways_at_once_in_pieces_of_all_sizes() {
    everywhere(2, |_| async {
        let (one, other) = UnixStream::pair().unwrap();
        let talk = |stream: UnixStream| async move {
            let (receiver, sender) = stream.into_split();
            let sending = ringwork::spawn(async move {
                let mut at = 0;
                for size in [1, 100, 4_096, 8_192, 70_000, 1_000_000, 3, 300_000] {
                    sender.send_all(pattern(at, size)).await.0.unwrap();
                    at += size;
                }
                at
            });
            let mut at = 0;
            loop {
                // Receives of both kinds take their turns on one stream.
                let bytes = receiver.recv_pooled().await.unwrap();
                if bytes.is_empty() {
                    break;
                }
                assert_pattern(at, &bytes);
                at += bytes.len();
                let (n, bytes) = receiver.recv(Vec::with_capacity(10_000)).await;
                assert_pattern(at, &bytes);
                at += n.unwrap();
            }
            assert_eq!(at, sending.await.unwrap());
        };
        let there = ringwork::spawn(talk(other));
        talk(one).await;
        there.await.unwrap();
    });
}

#[test]
fn several_buffers_are_one_message_and_exact_receives_gather_it() {
    everywhere(1, |_| async {
        let (one, other) = UnixStream::pair().unwrap();
        let parts: Vec<Vec<u8>> = (0..1_000).map(|part| pattern(part * 10, 10)).collect();
        let (sent, _) = one.send_vectored(parts).await;
        assert_eq!(sent.unwrap(), 10_000);
        let (received, bytes) = other.recv_exact(Vec::with_capacity(10_000)).await;
        received.unwrap();
        assert_pattern(0, &bytes);
        drop(one);
        let (received, _) = other.recv_exact([0u8; 1]).await;
        assert_eq!(received.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn a_message_larger_than_the_socket_leaves_whole_against_a_slow_reader() {
    everywhere(2, |_| async {
        let (one, mut peer) = half_std_pair();
        let sending = ringwork::spawn(async move {
            let (sent, bytes) = one.send(pattern(0, 3_000_000)).await;
            (sent.unwrap(), bytes.len())
        });
        let reading = ringwork::spawn_blocking(move || {
            let mut bytes = vec![0; 3_000_000];
            for piece in bytes.chunks_mut(100_000) {
                peer.read_exact(piece).unwrap();
            }
            assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the stream was dropped behind its message");
            bytes
        });
        assert_eq!(sending.await.unwrap(), (3_000_000, 3_000_000));
        assert_pattern(0, &reading.await.unwrap());
    });
}

#[test]
fn a_file_is_sent_on_the_spot_and_through_the_ring() {
    everywhere(2, |_| async {
        let path = OwnPath::new();
        std::fs::write(&path, pattern(0, 1_000_000)).unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        let reading = ringwork::spawn(async move {
            let (received, bytes) = other.recv_exact(Vec::with_capacity(999_990)).await;
            received.unwrap();
            assert_pattern(10, &bytes);
            // The file ends before: fewer bytes.
            let (received, bytes) = other.recv_exact(Vec::with_capacity(100)).await;
            received.unwrap();
            assert_pattern(999_900, &bytes);
            assert!(other.recv_pooled().await.unwrap().is_empty());
        });
        let file = File::open(&path.0).await.unwrap();
        assert_eq!(one.send_file(&file, 10, 999_990).await.unwrap(), 999_990);
        assert_eq!(one.send_file(&file, 999_900, 1_000).await.unwrap(), 100);
        one.shutdown_write().await.unwrap();
        reading.await.unwrap();
    });
}

#[test]
fn halves_are_put_together_again_and_a_dropped_send_half_closes_its_direction() {
    everywhere(1, |_| async {
        let (one, other) = UnixStream::pair().unwrap();
        let (receiver, sender) = one.into_split();
        let (foreign, not_ours) = other.into_split();
        let error = receiver.reunite(not_ours).unwrap_err();
        let one = error.0.reunite(sender).unwrap();
        let other = foreign.reunite(error.1).unwrap();
        let (receiver, sender) = one.into_split();
        sender.send_all("last").await.0.unwrap();
        drop(sender);
        assert_eq!(&other.recv_pooled().await.unwrap()[..], b"last");
        assert!(other.recv_pooled().await.unwrap().is_empty());
        let (theirs, ours) = other.split();
        ours.send_all("answer").await.0.unwrap();
        assert_eq!(&receiver.recv_pooled().await.unwrap()[..], b"answer");
        assert!(theirs.peer_addr().unwrap().is_unnamed() && ours.local_addr().unwrap().is_unnamed());
    });
}

#[test]
fn a_socket_comes_from_std_and_goes_back_with_what_was_read_ahead() {
    everywhere(1, |_| async {
        let (one, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        let stream = UnixStream::from_std(one).unwrap();
        peer.write_all(b"ab").unwrap();
        assert_eq!(stream.recv([0u8; 2]).await.1, *b"ab");
        let mut one = stream.into_std().expect("nothing is in flight");
        one.write_all(b"cd").unwrap();
        let mut two = [0; 2];
        peer.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"cd");

        let stream = UnixStream::from_std(one).unwrap();
        peer.write_all(b"0123456789").unwrap();
        let (n, _) = stream.recv([0u8; 1]).await;
        assert_eq!(n.unwrap(), 1);
        let chunk = stream.recv_pooled().await.unwrap();
        peer.write_all(b"more").unwrap();
        let (fd, mut unread) = stream.release().await.unwrap();
        let mut std = std::os::unix::net::UnixStream::from(fd);
        drop(peer);
        std.read_to_end(&mut unread).unwrap();
        assert_eq!([&chunk[..], &unread].concat(), b"123456789more");
    });
}

#[test]
fn without_read_ahead_a_receive_takes_no_more_than_it_has_room_for() {
    everywhere(1, |_| async {
        let (stream, mut peer) = half_std_pair();
        stream.read_ahead(false);
        peer.write_all(b"0123456789").unwrap();
        assert_eq!(stream.recv([0u8; 4]).await.1, *b"0123");
        let (fd, unread) = stream.release().await.unwrap();
        assert!(unread.is_empty());
        let mut rest = [0; 6];
        std::os::unix::net::UnixStream::from(fd).read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"456789");
    });
}

#[test]
fn a_peer_that_closes_without_reading_all_is_an_error_once_and_then_the_end() {
    everywhere(1, |_| async {
        let (stream, peer) = half_std_pair();
        stream.send_all("unread").await.0.unwrap();
        drop(peer);
        let (n, buf) = stream.recv(Vec::with_capacity(8)).await;
        assert_eq!(n.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(stream.recv(buf).await.0.unwrap(), 0);
        assert_eq!(stream.send("x").await.0.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn descriptors_that_a_peer_sends_are_closed_and_the_bytes_beside_them_arrive() {
    on_cores(1, |handle| async move {
        for pooled in [false, true] {
            let (stream, peer) = half_std_pair();
            let (mut read_end, write_end) = std::io::pipe().unwrap();
            send_descriptor(&peer, &write_end);
            drop(write_end);
            let receiving = handle.spawn_on(0, move || async move {
                let bytes = match pooled {
                    true => stream.recv_pooled().await.unwrap().to_vec(),
                    false => stream.recv(Vec::with_capacity(8)).await.1,
                };
                assert_eq!(bytes, b"with it");
                stream
            });
            let _stream = receiving.await.unwrap();
            // The pipe ends: the last descriptor of its write end is closed.
            let ended = ringwork::spawn_blocking(move || read_end.read(&mut [0]).unwrap());
            assert_eq!(ended.await.unwrap(), 0);
        }
    });
}

fn send_descriptor(through: &std::os::unix::net::UnixStream, what: &impl std::os::fd::AsRawFd) {
    // `struct cmsghdr` (`cmsg(3)`): length, SOL_SOCKET, SCM_RIGHTS, then the descriptor and padding.
    let mut control = Vec::new();
    control.extend_from_slice(&(size_of::<usize>() + 12).to_ne_bytes());
    control.extend_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
    control.extend_from_slice(&libc::SCM_RIGHTS.to_ne_bytes());
    control.extend_from_slice(&what.as_raw_fd().to_ne_bytes());
    control.extend_from_slice(&[0; 4]);
    let bytes = [std::io::IoSlice::new(b"with it")];
    let message = socket2::MsgHdr::new().with_buffers(&bytes).with_control(&control);
    assert_eq!(socket2::SockRef::from(through).sendmsg(&message, 0).unwrap(), 7);
}

/// A stream and its peer as a plain blocking socket.
fn half_std_pair() -> (UnixStream, std::os::unix::net::UnixStream) {
    let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
    (UnixStream::from_std(one).unwrap(), other)
}
