//! What a handshake agrees on, and what becomes of one that fails, is cut or comes in crumbs.
#![forbid(unsafe_code)]

use ringwork::net::TcpStream;
use ringwork::time::timeout;
use ringwork::tls::{Acceptor, Connector, Reloadable};
use ringwork_tls_tests::certs::Authority;
use ringwork_tls_tests::peer::{self, Dribble};
use ringwork_tls_tests::{NAME, half_std_pair, name, on_cores, pair, std_pair};
use rustls::server::ResolvesServerCertUsingSni;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, HandshakeKind, ProtocolVersion, ServerConfig, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The rustls error inside an I/O error.
fn inner(error: &std::io::Error) -> &rustls::Error {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    cause.unwrap_or_else(|| panic!("no TLS error: {error:?}"))
}

#[test]
fn both_sides_agree_on_protocol_name_and_version() {
    on_cores(2, |_| async {
        let authority = Authority::new();
        for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
            let mut server = authority.server_config_of(&[version]);
            server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            let mut client = authority.client_config();
            client.alpn_protocols = vec![b"http/1.1".to_vec()];
            let (client, server) = pair(Arc::new(client), Arc::new(server)).await;
            for session in [client.session(), server.session()] {
                assert_eq!(session.alpn.as_deref(), Some(&b"http/1.1"[..]));
                assert_eq!(session.server_name.as_deref(), Some(NAME));
                assert_eq!(session.version, Some(expected));
                assert_eq!(session.handshake_kind, Some(HandshakeKind::Full));
                assert!(session.suite.is_some());
            }
            assert_eq!(client.session().peer_certificates.as_ref().map(Vec::len), Some(1));
            assert_eq!(server.session().peer_certificates, None);
        }
    });
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    on_cores(1, |_| async {
        let authority = Authority::new();
        let mut resolver = ResolvesServerCertUsingSni::new();
        let (this, that) = (authority.server(&[NAME]), authority.server(&["other.test"]));
        resolver.add(NAME, this.certified().as_ref().clone()).unwrap();
        resolver.add("other.test", that.certified().as_ref().clone()).unwrap();
        let server = ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::new(resolver));
        let server = Acceptor::new(Arc::new(server));
        let client = Connector::new(Arc::new(authority.client_config()));
        for (asked, shown) in [(NAME, &this), ("other.test", &that)] {
            let (stream, socket) = ends();
            let accepted = ringwork::spawn({
                let server = server.clone();
                async move { server.accept(socket).await }
            });
            let stream = client.connect(asked.try_into().unwrap(), stream).await.unwrap();
            assert_eq!(stream.session().peer_certificates.as_deref(), Some(&[shown.certificate.clone()][..]));
            assert_eq!(accepted.await.unwrap().unwrap().session().server_name.as_deref(), Some(asked));
        }
    });
}

fn ends() -> (TcpStream, TcpStream) {
    let (one, other) = std_pair();
    (TcpStream::from_std(one).unwrap(), TcpStream::from_std(other).unwrap())
}

#[test]
fn a_client_that_must_show_a_certificate_is_known_by_it_and_refused_without() {
    on_cores(2, |_| async {
        let authority = Authority::new();
        let server = Arc::new(authority.server_config_for_clients());
        let identity = authority.client();
        let with = Arc::new(authority.client_config_with(&identity));
        let (_client, accepted) = pair(with, Arc::clone(&server)).await;
        let shown = accepted.session().peer_certificates.clone();
        assert_eq!(shown.as_deref(), Some(&[identity.certificate][..]));

        let (stream, socket) = ends();
        let accepted = ringwork::spawn(async move { Acceptor::new(server).accept(socket).await });
        // In TLS 1.3 the client is through before the server has judged it: it learns with its first
        // receive.
        let client =
            Connector::new(Arc::new(authority.client_config())).connect(name(), stream).await.unwrap();
        let refused = accepted.await.unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidData);
        assert!(matches!(inner(&refused), rustls::Error::NoCertificatesPresented), "{refused}");
        for _ in 0..2 {
            let told = client.recv_pooled().await.unwrap_err();
            assert_eq!(told.kind(), ErrorKind::InvalidData);
            assert!(told.to_string().contains("CertificateRequired"), "{told}");
        }
        assert!(client.send_all("after all").await.0.is_err());
    });
}

#[test]
fn a_server_of_another_name_is_refused_and_told_why() {
    on_cores(2, |_| async {
        let authority = Authority::new();
        let (stream, socket) = ends();
        let server = Acceptor::new(Arc::new(authority.server_config()));
        let accepted = ringwork::spawn(async move { server.accept(socket).await });
        let client = Connector::new(Arc::new(authority.client_config()));
        let refused = client.connect("somebody.else".try_into().unwrap(), stream).await.unwrap_err();
        assert!(matches!(inner(&refused), rustls::Error::InvalidCertificate(_)), "{refused}");
        let told = accepted.await.unwrap().unwrap_err();
        assert!(told.to_string().contains("BadCertificate"), "{told}");
    });
}

#[test]
fn a_second_connection_resumes_the_session_of_the_first() {
    on_cores(2, |_| async {
        let authority = Authority::new();
        for version in [&TLS12, &TLS13] {
            let mut server = authority.server_config_of(&[version]);
            for stateless in [false, true] {
                if stateless {
                    server.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
                }
                let server = Arc::new(server.clone());
                let client = Arc::new(authority.client_config_of(&[version]));
                let mut kinds = Vec::new();
                for _ in 0..2 {
                    let (client, server) = pair(Arc::clone(&client), Arc::clone(&server)).await;
                    // In TLS 1.3 the tickets come behind the handshake, before the first bytes.
                    server.send_all("hello").await.0.unwrap();
                    assert_eq!(&client.recv_pooled().await.unwrap()[..], b"hello");
                    assert_eq!(client.session().handshake_kind, server.session().handshake_kind);
                    kinds.push(client.session().handshake_kind.unwrap());
                }
                assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed], "stateless: {stateless}");
            }
        }
    });
}

#[test]
fn a_new_certificate_is_shown_to_new_connections_and_open_ones_go_on() {
    on_cores(2, |_| async {
        let authority = Authority::new();
        let config = Reloadable::new(Arc::new(authority.server_config()));
        let acceptor = Acceptor::new(config.clone());
        let client = Connector::new(Arc::new(authority.client_config()));
        let connect = async || {
            let (stream, socket) = ends();
            let acceptor = acceptor.clone();
            let accepted = ringwork::spawn(async move { acceptor.accept(socket).await });
            let client = client.connect(name(), stream).await.unwrap();
            (client, accepted.await.unwrap().unwrap())
        };
        let (before, other) = connect().await;
        let used = config.replace(Arc::new(authority.server_config()));
        let (after, _other) = connect().await;
        assert_ne!(before.session().peer_certificates, after.session().peer_certificates);
        drop(used);
        before.send_all("still here").await.0.unwrap();
        assert_eq!(&other.recv_pooled().await.unwrap()[..], b"still here");
    });
}

#[test]
fn a_handshake_in_single_bytes_succeeds() {
    on_cores(1, |_| async {
        let authority = Authority::new();
        for version in [&TLS12, &TLS13] {
            let (stream, socket) = half_std_pair();
            let connection = ClientConnection::new(Arc::new(authority.client_config_of(&[version])), name());
            let client = thread::spawn(move || {
                let mut client = StreamOwned::new(connection.unwrap(), Dribble::new(socket, &[1]));
                client.write_all(b"a word").unwrap();
                let mut answer = [0; 6];
                client.read_exact(&mut answer).unwrap();
                answer
            });
            let stream = Acceptor::new(Arc::new(authority.server_config())).accept(stream).await.unwrap();
            assert_eq!(stream.session().server_name.as_deref(), Some(NAME));
            let (received, word) = stream.recv_exact(Vec::with_capacity(6)).await;
            received.unwrap();
            stream.send_all(word).await.0.unwrap();
            assert_eq!(&client.join().unwrap(), b"a word");
        }
    });
}

#[test]
fn what_is_no_tls_is_refused_at_once() {
    on_cores(1, |_| async {
        let authority = Authority::new();
        let (stream, mut socket) = half_std_pair();
        socket.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        let refused = Acceptor::new(Arc::new(authority.server_config())).accept(stream).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidData);
        assert!(matches!(inner(&refused), rustls::Error::InvalidMessage(_)), "{refused}");
        // The peer is told: an alert record.
        let mut told = [0; 3];
        socket.read_exact(&mut told).unwrap();
        assert_eq!(told[0], 21);
    });
}

#[test]
fn a_peer_that_leaves_during_the_handshake_is_an_unexpected_end() {
    on_cores(1, |_| async {
        let authority = Authority::new();
        let acceptor = Acceptor::new(Arc::new(authority.server_config()));
        let (stream, socket) = half_std_pair();
        drop(socket);
        assert_eq!(acceptor.accept(stream).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        let (stream, mut socket) = half_std_pair();
        socket.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(acceptor.accept(stream).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn early_data_is_not_accepted() {
    on_cores(1, |_| async {
        let mut config = Authority::new().server_config();
        config.max_early_data_size = 1024;
        let (stream, _socket) = half_std_pair();
        let refused = Acceptor::new(Arc::new(config)).accept(stream).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
    });
}

#[test]
fn a_handshake_that_is_given_up_leaves_nothing_behind() {
    on_cores(1, |handle| async move {
        let authority = Authority::new();
        let acceptor = Acceptor::new(Arc::new(authority.server_config()));
        let connector = Connector::new(Arc::new(authority.client_config()));
        let mut peers = Vec::new();
        for round in 0..16 {
            let (stream, mut socket) = half_std_pair();
            let limit = Duration::from_millis(1);
            if round % 2 == 0 {
                // The beginning of a message whose rest never comes.
                socket.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
                assert!(timeout(limit, acceptor.accept(stream)).await.is_err());
            } else {
                assert!(timeout(limit, connector.connect(name(), stream)).await.is_err());
            }
            peers.push(socket);
        }
        // Their sockets close: each peer reads to the end or is reset.
        for mut socket in peers {
            let _ = socket.read_to_end(&mut Vec::new());
        }
        // A core publishes its levels when it turns.
        loop {
            let cores = handle.metrics().cores;
            let is_idle = |core: &ringwork::CoreMetrics| {
                let available = core.pool_available + core.pool_large_available;
                core.in_flight == 0 && core.pool_buffers + core.pool_large_buffers == available
            };
            if cores.iter().all(is_idle) {
                break;
            }
            handle.spawn(async {}).await.unwrap();
        }
    });
}

#[test]
fn plain_peers_on_either_side_agree() {
    on_cores(1, |_| async {
        let authority = Authority::new();
        let (stream, socket) = half_std_pair();
        let server = peer::server(Arc::new(authority.server_config()), socket, |mut server| {
            let mut question = [0; 8];
            server.read_exact(&mut question).unwrap();
            server.write_all(b"answer").unwrap();
            question
        });
        let client =
            Connector::new(Arc::new(authority.client_config())).connect(name(), stream).await.unwrap();
        client.send_all("question").await.0.unwrap();
        assert_eq!(&client.recv_pooled().await.unwrap()[..], b"answer");
        assert_eq!(&server.join().unwrap(), b"question");
    });
}
