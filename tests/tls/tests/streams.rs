//! Bytes over a TLS stream: whole, in order, in both directions at once, whatever is dropped and however
//! the peer cuts its records.
#![forbid(unsafe_code)]

use ringwork::buf::IoBufMut;
use ringwork::task::JoinSet;
use ringwork::tls::{Acceptor, Connector, TlsStream};
use ringwork_tls_tests::certs::Authority;
use ringwork_tls_tests::peer::{self, Client, Dribble};
use ringwork_tls_tests::{assert_pattern, half_std_pair, name, on_cores, pattern, plain_pair};
use rustls::{ClientConnection, StreamOwned};
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

const MIB: usize = 1024 * 1024;

/// Our server, and a plain client in a thread.
async fn serve<T: Send + 'static>(
    talk: impl FnOnce(Client) -> T + Send + 'static,
) -> (TlsStream, JoinHandle<T>) {
    let (stream, socket) = half_std_pair();
    let authority = Authority::new();
    let client = peer::client(Arc::new(authority.client_config()), socket, talk);
    let acceptor = Acceptor::new(Arc::new(authority.server_config()));
    (acceptor.accept(stream).await.expect("they agree"), client)
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Receives to the announced end and checks that it is the pattern from `from`; returns how much it was.
async fn receive_pattern(stream: &TlsStream, from: usize) -> usize {
    let mut at = from;
    loop {
        let chunk = stream.recv_pooled().await.expect("the peer ends as it should");
        if chunk.is_empty() {
            return at - from;
        }
        assert_pattern(at, &chunk);
        at += chunk.len();
    }
}

#[test]
fn sixty_four_mebibytes_go_both_ways_at_once() {
    const ALL: usize = 64 * MIB;
    on_cores(2, |handle| async move {
        let (client, server) = plain_pair().await;
        let mut tasks = JoinSet::new();
        for (core, stream) in [client, server].into_iter().enumerate() {
            let stream = Arc::new(stream);
            let sender = Arc::clone(&stream);
            let done = handle.spawn_on(core, move || async move {
                // One message that is larger than any buffer on the way, and many small ones.
                sender.send_all(pattern(0, ALL / 2)).await.0.unwrap();
                for at in (ALL / 2..ALL).step_by(40_000) {
                    sender.send_all(pattern(at, 40_000.min(ALL - at))).await.0.unwrap();
                }
                sender.shutdown_write().await.unwrap();
            });
            tasks.spawn(async move {
                assert_eq!(receive_pattern(&stream, 0).await, ALL);
                done.await.unwrap();
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    });
}

#[test]
fn records_in_pieces_are_put_together() {
    on_cores(1, |_| async {
        for pieces in [&[1, 700, 9000, 5, 16_384, 3][..], &[5], &[16_406, 1], &[8191, 2]] {
            let authority = Authority::new();
            let (stream, socket) = half_std_pair();
            let connection = ClientConnection::new(Arc::new(authority.client_config()), name()).unwrap();
            let all = if pieces.len() == 1 { 20_000 } else { MIB };
            let client = thread::spawn(move || {
                let mut client = StreamOwned::new(connection, Dribble::new(socket, pieces));
                client.write_all(&pattern(0, all)).unwrap();
                client.conn.send_close_notify();
                client.flush().unwrap();
                client
            });
            let stream = Acceptor::new(Arc::new(authority.server_config())).accept(stream).await.unwrap();
            assert_eq!(receive_pattern(&stream, 0).await, all);
            drop(client.join().unwrap());
        }
    });
}

#[test]
fn every_kind_of_buffer_is_filled_behind_what_it_holds() {
    on_cores(1, |_| async {
        let (stream, client) = serve(|mut client| {
            // Small records, of which many come at once.
            for at in (0..100_000).step_by(500) {
                client.write_all(&pattern(at, 500)).unwrap();
            }
            peer::finish(&mut client).unwrap()
        })
        .await;
        let mut at = 0;
        let (n, array) = stream.recv([0u8; 3]).await;
        assert_eq!(n.unwrap(), 3);
        assert_pattern(at, &array);
        at += 3;
        let mut kept = Vec::with_capacity(50);
        kept.extend_from_slice(b"kept");
        let room = kept.capacity() - 4;
        let (n, kept) = stream.recv(kept).await;
        assert_eq!((n.unwrap(), &kept[..4]), (room, &b"kept"[..]));
        assert_pattern(at, &kept[4..]);
        at += room;
        // As many records as come at once go into one buffer, of fixed length or not.
        while at < 60_000 {
            let (n, boxed) = stream.recv(vec![0u8; 40_000].into_boxed_slice()).await;
            let n = n.unwrap();
            assert!(n > 0);
            assert_pattern(at, &boxed[..n]);
            at += n;
        }
        let (n, part) = stream.recv(Vec::with_capacity(100).slice_mut(..7)).await;
        assert_eq!(n.unwrap(), 7);
        assert_pattern(at, &part);
        at += 7;
        let (received, rest) =
            stream.recv_exact(Vec::with_capacity(100_000 - at).slice_mut(..100_000 - at)).await;
        received.unwrap();
        assert_eq!(rest.len(), 100_000 - at);
        assert_pattern(at, &rest);
        let (n, full) = stream.recv([0u8; 0]).await;
        assert_eq!((n.unwrap(), full.len()), (0, 0));
        assert!(stream.recv_pooled().await.unwrap().is_empty());
        stream.shutdown_write().await.unwrap();
        assert_eq!(client.join().unwrap(), b"");
    });
}

#[test]
fn each_side_ends_on_its_own_and_the_other_goes_on() {
    on_cores(1, |_| async {
        let (stream, client) = serve(|mut client| {
            client.write_all(b"all I say").unwrap();
            let heard = peer::finish(&mut client).unwrap();
            // With its socket: once both ends are closed there is no direction left to close.
            (heard, client)
        })
        .await;
        assert_eq!(receive_text(&stream).await, "all I say");
        // The end is announced once and stays.
        assert_eq!(stream.recv([0u8; 8]).await.0.unwrap(), 0);
        stream.send_all("said behind your end").await.0.unwrap();
        stream.shutdown_write().await.unwrap();
        stream.shutdown_write().await.unwrap();
        let (heard, _client) = client.join().unwrap();
        assert_eq!(heard, b"said behind your end");
        let refused = stream.send_all("more").await.0.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::BrokenPipe);

        // And the other way round.
        let (stream, client) = serve(|mut client| {
            let mut heard = String::new();
            client.read_to_string(&mut heard).unwrap();
            client.write_all(b"heard").unwrap();
            client.conn.send_close_notify();
            client.flush().unwrap();
            heard
        })
        .await;
        stream.send_all("only this").await.0.unwrap();
        stream.shutdown_write().await.unwrap();
        assert_eq!(receive_text(&stream).await, "heard");
        assert_eq!(client.join().unwrap(), "only this");
    });
}

async fn receive_text(stream: &TlsStream) -> String {
    let mut text = Vec::new();
    loop {
        let chunk = stream.recv_pooled().await.unwrap();
        if chunk.is_empty() {
            return String::from_utf8(text).unwrap();
        }
        text.extend_from_slice(&chunk);
    }
}

#[test]
fn an_end_that_nobody_announced_is_an_error_behind_the_last_byte() {
    on_cores(1, |_| async {
        let (stream, client) = serve(|mut client| {
            client.write_all(b"half of it").unwrap();
            client.sock.shutdown(std::net::Shutdown::Write).unwrap();
            client
        })
        .await;
        assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"half of it");
        for _ in 0..2 {
            assert_eq!(stream.recv_pooled().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
            let (result, _) = stream.recv(Vec::with_capacity(8)).await;
            assert_eq!(result.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        }
        drop(client.join().unwrap());
    });
}

#[test]
fn dropped_receives_lose_nothing() {
    const ALL: usize = 300_000;
    on_cores(2, |_| async {
        let (stream, client) = serve(|mut client| {
            for at in (0..ALL).step_by(1000) {
                client.write_all(&pattern(at, 1000)).unwrap();
            }
            peer::finish(&mut client).unwrap()
        })
        .await;
        let mut at = 0;
        for round in 0.. {
            let mut receive = stream.recv(Vec::with_capacity(777));
            let polled = poll_once(&mut receive).await;
            if polled.is_pending() && round % 3 > 0 {
                drop(receive);
                if round % 3 == 1 {
                    drop(stream.recv_pooled().timeout(Duration::from_micros(50)).await.map(|chunk| {
                        assert_pattern(at, &chunk);
                        at += chunk.len();
                    }));
                }
                continue;
            }
            let (n, bytes) = match polled {
                Poll::Ready(done) => done,
                Poll::Pending => receive.await,
            };
            if n.unwrap() == 0 {
                break;
            }
            assert_pattern(at, &bytes);
            at += bytes.len();
        }
        assert_eq!(at, ALL);
        stream.shutdown_write().await.unwrap();
        client.join().unwrap();
    });
}

#[test]
fn a_receive_with_a_limit_gives_its_buffer_back() {
    on_cores(1, |_| async {
        let (go, wait): (Sender<()>, Receiver<()>) = channel();
        let (stream, client) = serve(move |mut client| {
            client.flush().unwrap();
            wait.recv().unwrap();
            client.write_all(b"late").unwrap();
            client
        })
        .await;
        let (result, buf) = stream.recv(b"mine".to_vec()).timeout(Duration::from_millis(1)).await;
        // A vector without room is full, which is refused at once.
        assert_eq!((result.unwrap_err().kind(), &buf[..]), (ErrorKind::InvalidInput, &b"mine"[..]));
        let (result, buf) = stream.recv(Vec::with_capacity(77)).timeout(Duration::from_millis(1)).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(buf.capacity() >= 77);
        let (result, buf) = stream.recv(buf).cancel().await;
        assert!(result.is_err());
        go.send(()).unwrap();
        let (n, buf) = stream.recv(buf).await;
        assert_eq!((n.unwrap(), &buf[..]), (4, &b"late"[..]));
        drop(client.join().unwrap());
    });
}

/// A peer that reads nothing until it is told to, then all there is.
fn reluctant(go: Receiver<()>) -> impl FnOnce(Client) -> Vec<u8> + Send + 'static {
    move |mut client| {
        client.flush().unwrap();
        go.recv().unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        all
    }
}

#[test]
fn a_dropped_send_leaves_whole_and_later_ones_follow() {
    on_cores(2, |_| async {
        for len in [1, 1000, 64 * 1024, 64 * 1024 + 1, 8 * MIB] {
            let (go, wait) = channel();
            let (stream, client) = serve(reluctant(wait)).await;
            let mut send = stream.send_all(pattern(0, len));
            // At once if the socket has room for it, and else dropped half-way.
            let _ = poll_once(&mut send).await;
            drop(send);
            let mut waiting = stream.send_all(pattern(len, 100));
            go.send(()).unwrap();
            // The other core may have had it done by the end of the first poll.
            let (sent, _) = match poll_once(&mut waiting).await {
                Poll::Ready(done) => done,
                Poll::Pending => waiting.await,
            };
            sent.unwrap();
            stream.shutdown_write().await.unwrap();
            let all = client.join().unwrap();
            assert_eq!(all.len(), len + 100);
            assert_pattern(0, &all);
        }
    });
}

#[test]
fn a_send_that_is_dropped_before_its_turn_is_not_sent() {
    on_cores(1, |_| async {
        for len in [100, MIB] {
            let (go, wait) = channel();
            let (stream, client) = serve(reluctant(wait)).await;
            let mut first = stream.send_all(pattern(0, 16 * MIB));
            assert!(poll_once(&mut first).await.is_pending());
            let mut second = stream.send_all(vec![0xee; len]);
            assert!(poll_once(&mut second).await.is_pending());
            drop(second);
            go.send(()).unwrap();
            first.await.0.unwrap();
            stream.shutdown_write().await.unwrap();
            let all = client.join().unwrap();
            assert_eq!(all.len(), 16 * MIB);
            assert_pattern(0, &all);
        }
    });
}

#[test]
fn the_last_handle_ends_a_long_message_that_nobody_reads() {
    on_cores(1, |handle| async move {
        let (go, wait): (Sender<()>, Receiver<()>) = channel();
        let (stream, client) = serve(move |mut client| {
            client.flush().unwrap();
            wait.recv().unwrap();
            client.read_to_end(&mut Vec::new()).map(drop)
        })
        .await;
        let mut send = stream.send_all(pattern(0, 32 * MIB));
        assert!(poll_once(&mut send).await.is_pending());
        drop(send);
        drop(stream);
        // The task of the message ends, though nobody has read any of it.
        while handle.metrics().cores.iter().any(|core| core.tasks > 0 || core.in_flight > 0) {
            ringwork::task::yield_now().await;
        }
        go.send(()).unwrap();
        // Cut, and the peer knows.
        assert!(client.join().unwrap().is_err());
    });
}

#[test]
fn messages_of_many_senders_are_never_mixed() {
    const SENDERS: u8 = 8;
    const EACH: usize = 40;
    on_cores(2, |_| async {
        let (client, server) = plain_pair().await;
        let client = Arc::new(client);
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            let stream = Arc::clone(&client);
            senders.spawn(async move {
                for message in 0..EACH {
                    // Some of them are longer than a piece.
                    let len = 1 + (message * 7919 * (usize::from(sender) + 3)) % 200_000;
                    let mut bytes = vec![sender; len + 5];
                    bytes[1..5].copy_from_slice(&(len as u32).to_le_bytes());
                    stream.send_all(bytes).await.0.unwrap();
                }
            });
        }
        let mut counts = [0; SENDERS as usize];
        for _ in 0..EACH * usize::from(SENDERS) {
            let (received, head) = server.recv_exact([0u8; 5]).await;
            received.unwrap();
            let len = u32::from_le_bytes(head[1..].try_into().unwrap()) as usize;
            let (received, body) = server.recv_exact(vec![!head[0]; len].into_boxed_slice()).await;
            received.unwrap();
            assert!(body.iter().all(|&byte| byte == head[0]), "a message of {} is mixed", head[0]);
            counts[usize::from(head[0])] += 1;
        }
        assert_eq!(counts, [EACH; SENDERS as usize]);
        while let Some(done) = senders.join_next().await {
            done.unwrap();
        }
    });
}

#[test]
fn receivers_wait_behind_one_another() {
    on_cores(2, |_| async {
        let (client, server) = plain_pair().await;
        let server = Arc::new(server);
        let mut receivers = JoinSet::new();
        for _ in 0..4 {
            let stream = Arc::clone(&server);
            receivers.spawn(async move {
                let mut got = Vec::new();
                loop {
                    let (n, bytes) = stream.recv(Vec::with_capacity(8)).await;
                    if n.unwrap() == 0 {
                        return got;
                    }
                    got.extend_from_slice(&bytes);
                }
            });
        }
        client.send_all(vec![1; 10_000]).await.0.unwrap();
        client.shutdown_write().await.unwrap();
        let mut all = 0;
        while let Some(got) = receivers.join_next().await {
            all += got.unwrap().len();
        }
        assert_eq!(all, 10_000);
    });
}

#[test]
fn an_empty_message_is_nothing() {
    on_cores(1, |_| async {
        let (client, server) = plain_pair().await;
        assert_eq!(client.send("").await.0.unwrap(), 0);
        assert_eq!(client.send("full").await.0.unwrap(), 4);
        assert_eq!(&server.recv_pooled().await.unwrap()[..], b"full");
    });
}

#[test]
fn several_buffers_are_one_message() {
    on_cores(1, |_| async {
        let (client, server) = plain_pair().await;
        let small = [(0, 3), (3, 0), (3, 500), (503, 1)];
        let large = [(504, 70_000), (70_504, 9), (70_513, 200_000)];
        for parts in [&small[..], &large] {
            let bufs: Vec<Vec<u8>> = parts.iter().map(|&(from, len)| pattern(from, len)).collect();
            let all: usize = bufs.iter().map(Vec::len).sum();
            let (n, bufs) = client.send_vectored(bufs).await;
            assert_eq!((n.unwrap(), bufs.len()), (all, parts.len()));
        }
        client.shutdown_write().await.unwrap();
        assert_eq!(receive_pattern(&server, 0).await, 270_513);
    });
}

#[test]
fn a_plain_server_echoes_what_a_client_of_ours_sends() {
    on_cores(1, |_| async {
        let authority = Authority::new();
        let (stream, socket) = half_std_pair();
        let server = peer::server(Arc::new(authority.server_config()), socket, |mut server| {
            let mut buf = vec![0; 10_000];
            while let Ok(n @ 1..) = server.read(&mut buf) {
                server.write_all(&buf[..n]).unwrap();
            }
            server.conn.send_close_notify();
            server.flush().unwrap();
        });
        let client =
            Connector::new(Arc::new(authority.client_config())).connect(name(), stream).await.unwrap();
        for at in (0..200_000).step_by(5000) {
            client.send_all(pattern(at, 5000)).await.0.unwrap();
            let (received, bytes) = client.recv_exact(vec![0u8; 5000].into_boxed_slice()).await;
            received.unwrap();
            assert_pattern(at, &bytes);
        }
        client.shutdown_write().await.unwrap();
        assert!(client.recv_pooled().await.unwrap().is_empty());
        server.join().unwrap();
    });
}
