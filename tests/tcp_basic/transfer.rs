//! Bytes in and out: every kind of receive and send, and every kind of buffer.

use crate::support::{LIMIT, assert_pattern, everywhere, half_std_pair, on_cores, pair, pattern, within};
use bytes::{Bytes, BytesMut};
use ringwork::buf::{AlignedBuf, IoBuf, IoBufMut};
use ringwork::fs::File;
use ringwork::net::{TcpListener, TcpStream};
use std::io::{ErrorKind, Read, Write};
use std::pin::pin;
use std::time::Duration;

#[test]
fn a_receive_appends_to_a_vec_and_grows_it_by_what_came() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        one.send_all("hello").await.0.unwrap();
        let mut buf = Vec::with_capacity(64);
        buf.extend_from_slice(b"> ");
        let (n, buf) = other.recv(buf).await;
        assert_eq!((n.unwrap(), &buf[..]), (5, &b"> hello"[..]));
    });
}

#[test]
fn a_receive_fills_fixed_buffers_from_their_start() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        one.send_all("abc").await.0.unwrap();
        let (n, array) = other.recv([0u8; 4]).await;
        assert_eq!((n.unwrap(), array), (3, *b"abc\0"));
        one.send_all("defg").await.0.unwrap();
        let (n, boxed) = other.recv(vec![0u8; 3].into_boxed_slice()).await;
        assert_eq!((n.unwrap(), &boxed[..]), (3, &b"def"[..]));
        let (n, array) = other.recv([0u8; 8]).await;
        assert_eq!((n.unwrap(), array[0]), (1, b'g'));
    });
}

#[test]
fn a_receive_takes_bytes_mut_aligned_buffers_and_parts_of_buffers() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        one.send_all(Bytes::from_static(b"12345")).await.0.unwrap();
        let (n, buf) = other.recv(BytesMut::with_capacity(2)).await;
        assert_eq!((n.unwrap(), &buf[..]), (2, &b"12"[..]));
        let (n, part) = other.recv(vec![b'-'; 6].slice_mut(1..3)).await;
        assert_eq!((n.unwrap(), part.into_inner()), (2, b"-34---".to_vec()));
        let (n, buf) = other.recv(AlignedBuf::new(512, 512)).await;
        assert_eq!((n.unwrap(), &buf[..]), (1, &b"5"[..]));
    });
}

#[test]
fn a_buffer_without_room_receives_nothing_and_loses_nothing() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        one.send_all("x").await.0.unwrap();
        let (n, buf) = other.recv(Vec::new()).await;
        assert_eq!((n.unwrap(), buf.len()), (0, 0));
        let (n, buf) = other.recv(Vec::with_capacity(8)).await;
        assert_eq!((n.unwrap(), &buf[..]), (1, &b"x"[..]));
    });
}

#[test]
fn a_receive_into_a_full_buffer_is_refused_and_loses_nothing() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        one.send_all("12345678").await.0.unwrap();
        let refused = |error: std::io::Error| {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("with_capacity"), "{error}");
        };
        let (n, buf) = other.recv(vec![0; 8]).await;
        refused(n.unwrap_err());
        assert_eq!(buf, [0; 8]);
        refused(other.recv_exact(vec![0; 8]).await.0.unwrap_err());
        refused(other.peek(vec![0; 8]).await.0.unwrap_err());
        other.recv_exact(Vec::new()).await.0.unwrap();
        let (received, buf) = other.recv_exact(vec![0; 8].slice_mut(..)).await;
        received.unwrap();
        assert_eq!(buf.into_inner(), b"12345678");
    });
}

#[test]
fn every_kind_of_buffer_can_be_sent() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        one.send_all(b"a".to_vec()).await.0.unwrap();
        one.send_all(String::from("b")).await.0.unwrap();
        one.send_all(&b"c"[..]).await.0.unwrap();
        one.send_all(*b"d").await.0.unwrap();
        one.send_all(b"e".to_vec().into_boxed_slice()).await.0.unwrap();
        one.send_all(Bytes::from_static(b"f")).await.0.unwrap();
        one.send_all(BytesMut::from(&b"g"[..])).await.0.unwrap();
        let (n, part) = one.send(b"xhx".to_vec().slice(1..2)).await;
        assert_eq!((n.unwrap(), part.into_inner()), (1, b"xhx".to_vec()));
        let (received, buf) = other.recv_exact([0u8; 8]).await;
        received.unwrap();
        assert_eq!(&buf, b"abcdefgh");
    });
}

#[test]
fn an_exact_receive_gathers_pieces_and_says_when_the_stream_ends_before() {
    on_cores(2, |handle| async move {
        let (one, other) = pair().await;
        let sender = handle.spawn(async move {
            for piece in 0..100 {
                one.send_all(pattern(piece * 7, 7)).await.0.unwrap();
            }
        });
        let (received, buf) = other.recv_exact(Vec::with_capacity(600)).await;
        received.unwrap();
        assert_pattern(0, &buf);
        let (received, buf) = other.recv_exact(Vec::with_capacity(200)).await;
        assert_eq!(received.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(buf.len(), 100);
        assert_pattern(600, &buf);
        sender.await.unwrap();
    });
}

#[test]
fn a_pooled_receive_brings_a_buffer_that_can_be_sent_as_it_is() {
    on_cores(1, |handle| async move {
        // On a core: a thread that is none has no pool.
        let echoed = handle.spawn_on(0, || async {
            let (one, other) = pair().await;
            one.send_all("ping").await.0.unwrap();
            let buf = other.recv_pooled().await.unwrap();
            assert!(buf.is_from_pool());
            let (sent, buf) = other.send_all(buf).await;
            sent.unwrap();
            drop(buf);
            let (n, buf) = one.recv(Vec::with_capacity(8)).await;
            assert_eq!(n.unwrap(), 4);
            drop(one);
            assert!(
                other.recv_pooled().await.unwrap().is_empty(),
                "the end of the stream is an empty buffer"
            );
            assert!(other.recv_pooled().await.unwrap().is_empty(), "and stays it");
            buf
        });
        assert_eq!(echoed.await.unwrap(), b"ping");
    });
}

#[test]
fn what_a_pooled_receive_read_ahead_comes_first_in_a_plain_one() {
    on_cores(1, |handle| async move {
        let all = handle.spawn_on(0, || async {
            let (one, other) = pair().await;
            one.send_all("abcdef").await.0.unwrap();
            let mut first = other.recv_pooled().await.unwrap();
            first.truncate(6);
            // Read ahead by the armed multishot while nobody asks.
            one.send_all("ghijkl").await.0.unwrap();
            let (n, small) = other.recv([0u8; 2]).await;
            assert_eq!((n.unwrap(), small), (2, *b"gh"));
            let (received, rest) = other.recv_exact([0u8; 4]).await;
            received.unwrap();
            assert_eq!(&rest, b"ijkl");
            first.to_vec()
        });
        assert_eq!(all.await.unwrap(), b"abcdef");
    });
}

#[test]
fn a_vectored_send_leaves_whole_and_in_order_against_a_slow_reader() {
    const BUFFERS: usize = 2_500;
    within(LIMIT, || {
        let runtime = crate::support::runtime(1);
        let (stream, mut peer) = half_std_pair();
        let sender = runtime.spawn(async move {
            // More buffers of uneven lengths, and empty ones, than the kernel takes in one call; their bytes
            // are several times what the socket takes at once.
            let mut at = 0;
            let bufs: Vec<Vec<u8>> = (0..BUFFERS)
                .map(|n| {
                    let len = if n % 3 == 0 { 0 } else { 1 + (n * 37) % 16_000 };
                    at += len;
                    pattern(at - len, len)
                })
                .collect();
            let (sent, bufs) = stream.send_vectored(bufs).await;
            assert_eq!((sent.unwrap(), bufs.len()), (at, BUFFERS));
            at
        });
        let mut received = Vec::new();
        let mut piece = [0; 50_000];
        loop {
            match peer.read(&mut piece).unwrap() {
                0 => break,
                n => received.extend_from_slice(&piece[..n]),
            }
        }
        assert_eq!(received.len(), runtime.block_on(sender).unwrap());
        assert_pattern(0, &received);
    });
}

#[test]
fn a_vectored_send_of_nothing_and_of_empty_buffers_is_no_error() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        assert_eq!(one.send_vectored(Vec::<Vec<u8>>::new()).await.0.unwrap(), 0);
        let bufs = vec![Vec::new(), b"x".to_vec(), Vec::new()];
        assert_eq!(one.send_vectored(bufs).await.0.unwrap(), 1);
        assert_eq!(one.send("").await.0.unwrap(), 0);
        let (n, _) = other.recv([0u8; 4]).await;
        assert_eq!(n.unwrap(), 1);
    });
}

#[test]
fn a_large_message_against_a_slow_reader_is_one_send() {
    within(LIMIT, || {
        let runtime = crate::support::runtime(1);
        let (stream, mut peer) = half_std_pair();
        const SIZE: usize = 32 << 20;
        let sender = runtime.spawn(async move {
            let (n, buf) = stream.send(pattern(0, SIZE)).await;
            assert_eq!((n.unwrap(), buf.len()), (SIZE, SIZE));
        });
        let mut at = 0;
        let mut piece = vec![0; 100_000];
        while at < SIZE {
            let n = peer.read(&mut piece).unwrap();
            assert!(n > 0, "the stream ended after {at} bytes");
            assert_pattern(at, &piece[..n]);
            at += n;
        }
        runtime.block_on(sender).unwrap();
    });
}

#[test]
fn a_refused_connect_says_so_and_the_next_address_is_tried() {
    on_cores(1, |_| async {
        let (listener, address) = crate::support::listen().await;
        let (taken, closed) = crate::support::listen().await;
        drop(taken);
        // The port closes when the core has seen the end of the accept; nothing was armed, so that is now.
        let refused = TcpStream::connect(closed).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let stream = TcpStream::connect(&[closed, address][..]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        let stream = TcpStream::connect(format!("localhost:{}", address.port())).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap().port(), address.port());
        drop(listener);
    });
}

#[test]
fn an_address_is_taken_in_all_the_ways_it_is_written() {
    use std::net::{IpAddr, Ipv4Addr};

    on_cores(1, |_| async {
        let (listener, address) = crate::support::listen().await;
        let port = address.port();
        let ways = [
            TcpStream::connect(address).await,
            TcpStream::connect((address.ip(), port)).await,
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await,
            TcpStream::connect(([127, 0, 0, 1], port)).await,
            TcpStream::connect(("127.0.0.1", port)).await,
            TcpStream::connect(("localhost", port)).await,
            TcpStream::connect(("localhost".to_owned(), port)).await,
            TcpStream::connect(&("localhost".to_owned(), port)).await,
            TcpStream::connect(&format!("localhost:{port}")).await,
        ];
        for (way, stream) in ways.into_iter().enumerate() {
            assert_eq!(stream.unwrap().peer_addr().unwrap(), address, "{way}");
        }
        drop(listener);
        let found: Vec<_> = ringwork::net::lookup_host(("localhost", 80)).await.unwrap().collect();
        assert!(found.contains(&(IpAddr::from(Ipv4Addr::LOCALHOST), 80).into()), "{found:?}");
        assert!(ringwork::net::lookup_host("no port").await.is_err());
    });
}

#[test]
fn a_reset_is_an_error_once_and_sends_fail_behind_it() {
    within(LIMIT, || {
        let runtime = crate::support::runtime(1);
        let (stream, mut peer) = half_std_pair();
        peer.write_all(b"last words").unwrap();
        runtime.block_on(async {
            assert_eq!(stream.recv(Vec::with_capacity(16)).await.1, b"last words");
            socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
            let error = stream.recv(Vec::with_capacity(16)).await.0.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert_eq!(stream.recv(Vec::with_capacity(16)).await.0.unwrap(), 0);
            assert_eq!(stream.send("x").await.0.unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
    });
}

#[test]
fn a_reset_ends_a_pooled_receive_that_waits() {
    on_cores(1, |handle| async move {
        let ended = handle.spawn_on(0, || async {
            let (one, other) = pair().await;
            let mut waiting = std::pin::pin!(other.recv_pooled());
            assert!(futures_util::poll!(waiting.as_mut()).is_pending());
            one.set_linger(Some(Duration::ZERO)).unwrap();
            drop(one);
            let error = waiting.await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert!(other.recv_pooled().await.unwrap().is_empty());
        });
        ended.await.unwrap();
    });
}

#[test]
fn addresses_and_options_are_the_sockets() {
    on_cores(1, |_| async {
        let (one, other) = pair().await;
        assert_eq!(one.local_addr().unwrap(), other.peer_addr().unwrap());
        assert_eq!(one.peer_addr().unwrap(), other.local_addr().unwrap());
        one.set_nodelay(true).unwrap();
        assert!(one.nodelay().unwrap() && !other.nodelay().unwrap());
        assert_eq!(one.linger().unwrap(), None);
        one.set_linger(Some(Duration::from_secs(3))).unwrap();
        assert_eq!(one.linger().unwrap(), Some(Duration::from_secs(3)));
        one.set_keepalive(true).unwrap();
        one.set_ttl(42).unwrap();
        assert_eq!(one.ttl().unwrap(), 42);
        let socket = socket2::SockRef::from(&one);
        assert_eq!(socket.linger().unwrap(), Some(Duration::from_secs(3)));
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.ttl_v4().unwrap(), 42);
        assert!(one.take_error().unwrap().is_none());
        assert!(format!("{one:?}").contains(&one.peer_addr().unwrap().to_string()));
    });
}

#[test]
fn packets_of_ipv6_go_no_further_than_they_were_told() {
    on_cores(1, |_| async {
        // Some machines have no IPv6.
        let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        stream.set_ttl(3).unwrap();
        assert_eq!(stream.ttl().unwrap(), 3);
        assert_eq!(socket2::SockRef::from(&stream).unicast_hops_v6().unwrap(), 3);
        for bad in [0, 256] {
            assert_eq!(stream.set_ttl(bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
        }
    });
}

#[test]
fn a_message_that_a_reset_cuts_tells_of_the_reset() {
    everywhere(|_| async {
        let file = File::open("/dev/zero").await.unwrap();
        for of_file in [false, true] {
            let (stream, mut peer) = half_std_pair();
            let sending = pin!(async {
                if of_file {
                    stream.send_file(&file, 0, 64 << 20).await.map(drop)
                } else {
                    stream.send_all(vec![7; 64 << 20]).await.0
                }
            });
            let reading = ringwork::spawn_blocking(move || {
                peer.read_exact(&mut [0; 300_000]).unwrap();
                socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
                drop(peer);
            });
            let (sent, read) = futures_util::join!(sending, reading);
            read.unwrap();
            // The kernel keeps the first error to itself if it comes behind a part of the same op.
            let kind = sent.unwrap_err().kind();
            let is_of_the_socket = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&kind);
            assert!(is_of_the_socket, "of a file: {of_file}: {kind}");
        }
    });
}
