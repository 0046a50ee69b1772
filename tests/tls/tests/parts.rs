//! Taking a stream apart: the secrets, the numbers of the next records and the place in the byte stream
//! are such that somebody else can go on. The one who goes on here is the test, with the records of
//! `records.rs`.
#![forbid(unsafe_code)]

use ringwork::net::TcpStream;
use ringwork::tls::{Acceptor, Connector};
use ringwork_tls_tests::by_hand::by_hand;
use ringwork_tls_tests::certs::Authority;
use ringwork_tls_tests::peer;
use ringwork_tls_tests::records::Records;
use ringwork_tls_tests::{assert_pattern, half_std_pair, name, on_cores, pair, pattern};
use rustls::version::{TLS12, TLS13};
use rustls::{ContentType, SupportedCipherSuite};
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::Poll;

/// The suite of this name in the provider that the tests use.
fn suite(suite: rustls::CipherSuite) -> SupportedCipherSuite {
    let all = rustls::crypto::ring::ALL_CIPHER_SUITES;
    *all.iter().find(|known| known.suite() == suite).expect("the provider has it")
}

async fn receive(stream: &TcpStream, records: &mut Records) -> (ContentType, Vec<u8>) {
    let (received, head) = stream.recv_exact([0u8; 5]).await;
    received.unwrap();
    let len = usize::from(u16::from_be_bytes([head[3], head[4]]));
    let (received, body) = stream.recv_exact(vec![0u8; len].into_boxed_slice()).await;
    received.unwrap();
    records.open(&[&head[..], &body].concat())
}

#[test]
fn somebody_else_can_go_on_between_two_records() {
    on_cores(2, |_| async {
        for (version, ahead) in [(&TLS12, 0), (&TLS12, 40_000), (&TLS13, 0), (&TLS13, 40_000)] {
            let authority = Authority::new();
            let mut config = authority.server_config_of(&[version]);
            config.enable_secret_extraction = true;
            let (stream, socket) = half_std_pair();
            let (go, wait) = channel();
            let client = peer::client(Arc::new(authority.client_config()), socket, move |mut client| {
                client.write_all(&pattern(0, 100 + ahead)).unwrap();
                let mut answer = [0; 6];
                client.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, b"answer");
                wait.recv().unwrap();
                client.write_all(b"to the next owner").unwrap();
                let mut answer = [0; 13];
                client.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, b"from the next");
            });
            let stream = Acceptor::new(Arc::new(config)).accept(stream).await.unwrap();
            let (received, head) = stream.recv_exact([0u8; 100]).await;
            received.unwrap();
            assert_pattern(0, &head);
            stream.send_all("answer").await.0.unwrap();
            let suite = suite(stream.session().suite.unwrap());
            let parts = stream.into_parts().await.unwrap();
            // What was not read is there as far as it had come; the rest is still in the socket, in
            // records.
            assert_pattern(100, &parts.plaintext);
            let mut from = Records::new(suite, parts.secrets.rx);
            let mut at = 100 + parts.plaintext.len();
            while at < 100 + ahead {
                let (kind, plain) = receive(&parts.stream, &mut from).await;
                assert_eq!(kind, ContentType::ApplicationData);
                assert_pattern(at, &plain);
                at += plain.len();
            }
            go.send(()).unwrap();
            let (kind, plain) = receive(&parts.stream, &mut from).await;
            assert_eq!((kind, &plain[..]), (ContentType::ApplicationData, &b"to the next owner"[..]));
            let mut to = Records::new(suite, parts.secrets.tx);
            let record = to.seal(ContentType::ApplicationData, b"from the next");
            parts.stream.send_all(record).await.0.unwrap();
            client.join().unwrap();
        }
    });
}

#[test]
fn a_record_that_has_begun_is_received_to_its_end_and_no_further() {
    on_cores(1, |_| async {
        let authority = Authority::new();
        let mut config = authority.client_config();
        config.enable_secret_extraction = true;
        let (stream, socket) = half_std_pair();
        let (go, wait) = channel();
        let server = peer::server(Arc::new(authority.server_config()), socket, move |mut server| {
            // The tickets leave first, then the records are cut by hand.
            server.write_all(b"first").unwrap();
            server.conn.writer().write_all(&pattern(0, 1000)).unwrap();
            let mut records = Vec::new();
            server.conn.write_tls(&mut records).unwrap();
            server.conn.writer().write_all(b"the next record").unwrap();
            server.conn.write_tls(&mut records).unwrap();
            server.sock.write_all(&records[..3]).unwrap();
            wait.recv().unwrap();
            server.sock.write_all(&records[3..500]).unwrap();
            server.sock.write_all(&records[500..]).unwrap();
            server
        });
        let client = Connector::new(Arc::new(config)).connect(name(), stream).await.unwrap();
        assert_eq!(&client.recv_pooled().await.unwrap()[..], b"first");
        let suite = suite(client.session().suite.unwrap());
        let mut apart = std::pin::pin!(client.into_parts());
        let early = std::future::poll_fn(|cx| std::task::Poll::Ready(apart.as_mut().poll(cx))).await;
        go.send(()).unwrap();
        let parts = match early {
            std::task::Poll::Ready(parts) => parts,
            std::task::Poll::Pending => apart.await,
        };
        let parts = parts.unwrap();
        let mut from = Records::new(suite, parts.secrets.rx);
        assert_pattern(0, &parts.plaintext);
        if parts.plaintext.is_empty() {
            assert_eq!(receive(&parts.stream, &mut from).await.1, pattern(0, 1000));
        }
        assert_eq!(receive(&parts.stream, &mut from).await.1, b"the next record");
        drop(server.join().unwrap());
    });
}

#[test]
fn without_permission_there_are_no_secrets() {
    on_cores(1, |_| async {
        let authority = Authority::new();
        let (client, _server) = {
            let (client, server) = (authority.client_config(), authority.server_config());
            pair(Arc::new(client), Arc::new(server)).await
        };
        assert_eq!(client.into_parts().await.unwrap_err().kind(), ErrorKind::InvalidData);
    });
}

#[test]
fn a_bad_record_that_is_met_while_taking_apart_is_told_to_the_peer() {
    on_cores(1, |_| async {
        let (go, wait) = channel();
        let (stream, client) = by_hand(&TLS13, half_std_pair(), move |mut client| {
            let mut records = client.to.seal(ContentType::ApplicationData, b"good");
            let mut bad = client.to.seal(ContentType::ApplicationData, b"to be trusted");
            bad[9] ^= 1;
            records.extend_from_slice(&bad[..3]);
            client.socket.write_all(&records).unwrap();
            wait.recv().unwrap();
            client.socket.write_all(&bad[3..]).unwrap();
            client.receive_behind_data()
        })
        .await;
        assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"good");
        go.send(()).unwrap();
        assert_eq!(stream.into_parts().await.unwrap_err().kind(), ErrorKind::InvalidData);
        let heard = ringwork::spawn_blocking(move || client.join().unwrap()).await.unwrap();
        // Fatal: bad record MAC.
        assert_eq!(heard, (0, Some((ContentType::Alert, vec![2, 20]))));
    });
}

#[test]
fn giving_up_to_take_apart_ends_a_long_message_that_nobody_reads() {
    on_cores(1, |handle| async move {
        let (go, wait) = channel();
        let (stream, client) = by_hand(&TLS13, half_std_pair(), move |mut client| {
            wait.recv().unwrap();
            while client.try_receive().is_ok() {}
        })
        .await;
        let mut message = stream.send_all(pattern(0, 32 * 1024 * 1024));
        assert!(poll_fn(|cx| Poll::Ready(Pin::new(&mut message).poll(cx))).await.is_pending());
        drop(message);
        let mut apart = Box::pin(stream.into_parts());
        assert!(poll_fn(|cx| Poll::Ready(apart.as_mut().poll(cx))).await.is_pending());
        drop(apart);
        // The task of the message ends, though nobody has read any of it.
        while handle.metrics().cores.iter().any(|core| core.tasks > 0 || core.in_flight > 0) {
            ringwork::task::yield_now().await;
        }
        go.send(()).unwrap();
        client.join().unwrap();
    });
}
