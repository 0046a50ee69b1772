//! What peers do besides sending data: new keys, renegotiation, alerts, messages cut into many records,
//! nonsense.
#![forbid(unsafe_code)]

use ringwork::net::TcpStream;
use ringwork::tls::{Acceptor, TlsStream};
use ringwork_tls_tests::by_hand::{self, ByHand, KEY_UPDATE};
use ringwork_tls_tests::certs::Authority;
use ringwork_tls_tests::peer::{self, Client};
use ringwork_tls_tests::{assert_pattern, half_std_pair, on_cores, pattern};
use rustls::version::{TLS12, TLS13};
use rustls::{ContentType, SupportedProtocolVersion};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::thread;

/// The shortest first message of a client: version, random, no session, one suite, no compression, no
/// extensions.
fn client_hello() -> Vec<u8> {
    let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0xc0, 0x2c], &[1, 0], &[0, 0]].concat();
    [&[1, 0, 0, body.len() as u8][..], &body].concat()
}

/// Our server and a client by hand, after a handshake.
async fn by_hand<T: Send + 'static>(
    version: &'static SupportedProtocolVersion,
    talk: impl FnOnce(ByHand) -> T + Send + 'static,
) -> (TlsStream, thread::JoinHandle<T>) {
    by_hand::by_hand(version, half_std_pair(), talk).await
}

async fn accept(authority: &Authority, stream: TcpStream) -> TlsStream {
    Acceptor::new(Arc::new(authority.server_config())).accept(stream).await.unwrap()
}

#[test]
fn keys_change_under_way_on_either_side() {
    on_cores(2, |_| async {
        const ROUNDS: usize = 20;
        let authority = Authority::new();
        let (stream, socket) = half_std_pair();
        let client = peer::client(Arc::new(authority.client_config()), socket, |mut client: Client| {
            for round in 0..ROUNDS {
                if round % 2 == 1 {
                    client.conn.refresh_traffic_keys().unwrap();
                }
                client.write_all(&pattern(round * 1000, 1000)).unwrap();
                let mut answer = [0; 1000];
                client.read_exact(&mut answer).unwrap();
                assert_pattern(round * 1000, &answer);
            }
        });
        let stream = accept(&authority, stream).await;
        for round in 0..ROUNDS {
            let (received, bytes) = stream.recv_exact(vec![0; 1000].into_boxed_slice()).await;
            received.unwrap();
            if round % 3 == 0 {
                stream.update_keys().unwrap();
            }
            stream.send_all(bytes).await.0.unwrap();
        }
        client.join().unwrap();
    });
}

#[test]
fn keys_cannot_be_changed_in_an_old_version() {
    on_cores(1, |_| async {
        let (stream, client) = by_hand(&TLS12, |mut client| client.receive()).await;
        assert_eq!(stream.update_keys().unwrap_err().kind(), ErrorKind::InvalidData);
        stream.send_all("still fine").await.0.unwrap();
        assert_eq!(client.join().unwrap(), (ContentType::ApplicationData, b"still fine".to_vec()));
    });
}

#[test]
fn a_message_cut_into_many_records_is_waited_for_while_others_are_sent() {
    on_cores(1, |_| async {
        let (stream, client) = by_hand(&TLS13, |mut client| {
            client.send(ContentType::ApplicationData, b"before");
            // A request for new keys, a byte per record, with an answer awaited in the middle of it.
            for byte in [KEY_UPDATE, 0, 0] {
                client.send(ContentType::Handshake, &[byte]);
            }
            let amid = client.receive();
            client.send(ContentType::Handshake, &[1]);
            client.send(ContentType::Handshake, &[0]);
            // The socket ends before anything is sent with the new keys.
            client.socket.shutdown(Shutdown::Write).unwrap();
            amid
        })
        .await;
        assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"before");
        let mut receive = stream.recv_pooled();
        for _ in 0..50 {
            let polled =
                std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut receive).poll(cx)));
            assert!(polled.await.is_pending());
            ringwork::task::yield_now().await;
        }
        stream.send_all("amid").await.0.unwrap();
        assert_eq!(client.join().unwrap(), (ContentType::ApplicationData, b"amid".to_vec()));
        // The message was whole and right: nothing else is wrong than the end.
        assert_eq!(receive.await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn renegotiation_is_refused_with_a_warning_and_then_with_the_end() {
    on_cores(1, |_| async {
        let (stream, client) = by_hand(&TLS12, |mut client| {
            client.send(ContentType::Handshake, &client_hello());
            let refused = client.receive();
            client.send(ContentType::ApplicationData, b"well then");
            client.send(ContentType::Handshake, &client_hello());
            (refused, client.socket)
        })
        .await;
        assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"well then");
        assert_eq!(stream.recv_pooled().await.unwrap_err().kind(), ErrorKind::InvalidData);
        let ((kind, alert), _socket) = client.join().unwrap();
        // A warning: no renegotiation.
        assert_eq!((kind, &alert[..]), (ContentType::Alert, &[1, 100][..]));
    });
}

#[test]
fn nothing_is_sent_behind_the_close_and_the_close_stays_done() {
    on_cores(1, |_| async {
        let (stream, client) = by_hand(&TLS12, |mut client| {
            let (_, close) = client.receive_behind_data();
            // To be refused with a warning, were there not the close.
            client.send(ContentType::Handshake, &client_hello());
            client.send(ContentType::ApplicationData, b"still here");
            (close, client.try_receive().map_err(|error| error.kind()), client.socket)
        })
        .await;
        stream.shutdown_write().await.unwrap();
        assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"still here");
        stream.shutdown_write().await.unwrap();
        let (close, behind, _socket) = client.join().unwrap();
        assert_eq!(close, Some((ContentType::Alert, vec![1, 0])));
        assert_eq!(behind, Err(ErrorKind::UnexpectedEof));
    });
}

#[test]
fn an_alert_is_an_error_that_names_it() {
    on_cores(1, |_| async {
        for version in [&TLS12, &TLS13] {
            let (stream, client) = by_hand(version, |mut client| {
                client.send(ContentType::ApplicationData, b"so far");
                client.send(ContentType::Alert, &[2, 80]);
                client.socket
            })
            .await;
            assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"so far");
            let told = stream.recv_pooled().await.unwrap_err();
            assert_eq!(told.kind(), ErrorKind::InvalidData);
            assert!(told.to_string().contains("InternalError"), "{told}");
            drop(client.join().unwrap());
        }
    });
}

#[test]
fn a_record_that_was_tampered_with_ends_the_connection_and_the_peer_is_told() {
    on_cores(1, |_| async {
        let (stream, client) = by_hand(&TLS13, |mut client| {
            let mut record = client.to.seal(ContentType::ApplicationData, b"to be trusted");
            record[9] ^= 1;
            client.socket.write_all(&record).unwrap();
            client.receive()
        })
        .await;
        assert_eq!(stream.recv_pooled().await.unwrap_err().kind(), ErrorKind::InvalidData);
        let (kind, alert) = client.join().unwrap();
        // Fatal: bad record MAC.
        assert_eq!((kind, &alert[..]), (ContentType::Alert, &[2, 20][..]));
        assert_eq!(stream.send_all("more").await.0.unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(stream.recv_pooled().await.unwrap_err().kind(), ErrorKind::InvalidData);
    });
}

#[test]
fn a_record_longer_than_allowed_is_not_waited_for() {
    on_cores(1, |_| async {
        let (stream, client) = by_hand(&TLS13, |mut client| {
            client.socket.write_all(&[23, 3, 3, 0xff, 0xff]).unwrap();
            client.receive()
        })
        .await;
        assert_eq!(stream.recv_pooled().await.unwrap_err().kind(), ErrorKind::InvalidData);
        let (kind, alert) = client.join().unwrap();
        assert_eq!((kind, alert[0]), (ContentType::Alert, 2));
    });
}

#[test]
fn a_message_in_crumbs_is_not_kept_without_bound() {
    on_cores(1, |_| async {
        let (stream, client) = by_hand(&TLS13, |mut client| {
            // The header of the longest message there is, then a byte of it per record.
            client.send(ContentType::Handshake, &[KEY_UPDATE, 0, 0xff, 0xff]);
            let crumbs: Vec<u8> =
                (0..20_000).flat_map(|_| client.to.seal(ContentType::Handshake, &[0])).collect();
            // It is hung up on half-way.
            let _ = client.socket.write_all(&crumbs);
            client.socket
        })
        .await;
        assert_eq!(stream.recv_pooled().await.unwrap_err().kind(), ErrorKind::InvalidData);
        drop(stream);
        drop(client.join().unwrap());
    });
}
