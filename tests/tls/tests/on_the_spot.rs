//! Short encrypted messages of a core that has little to do: they leave by a call of their own, in order.
#![forbid(unsafe_code)]

use ringwork::tls::Acceptor;
use ringwork_tls_tests::certs::Authority;
use ringwork_tls_tests::{assert_pattern, half_std_pair, narrow_pair, on_cores, pattern, peer};
use std::io::{Read, Write};
use std::sync::Arc;

const ROUNDS: u64 = 200;

#[test]
fn a_lone_encrypted_answer_takes_no_op() {
    on_cores(1, |handle| async move {
        let (ours, theirs) = half_std_pair();
        let authority = Authority::new();
        let acceptor = Acceptor::new(Arc::new(authority.server_config()));
        let server = handle.spawn_on(0, move || async move {
            let stream = acceptor.accept(ours).await.unwrap();
            loop {
                let bytes = stream.recv_pooled().await.unwrap();
                if bytes.is_empty() {
                    break;
                }
                stream.send_all(bytes).await.0.unwrap();
            }
            stream.shutdown_write().await.unwrap();
        });
        theirs.set_nodelay(true).unwrap();
        let counted = handle.clone();
        let client = peer::client(Arc::new(authority.client_config()), theirs, move |mut client| {
            let mut ask = |round: u64| {
                client.write_all(&round.to_be_bytes()).unwrap();
                let mut answer = [0; 8];
                client.read_exact(&mut answer).unwrap();
                assert_eq!(answer, round.to_be_bytes());
            };
            // The handshake is over.
            ask(0);
            let before = counted.metrics().cores[0].sends_on_the_spot;
            (0..ROUNDS).for_each(&mut ask);
            let sent = counted.metrics().cores[0].sends_on_the_spot - before;
            peer::finish(&mut client).unwrap();
            sent
        });
        let sent = ringwork::spawn_blocking(move || client.join().unwrap()).await.unwrap();
        server.await.unwrap();
        // What else happens on the core may come in between.
        assert!(sent > ROUNDS * 9 / 10, "{sent} of {ROUNDS}");
    });
}

/// Short enough for a call, and more than the socket takes at a time.
const PIECE: usize = 15_000;
const PIECES: usize = 20;

#[test]
fn what_the_socket_does_not_take_of_a_record_on_the_spot_follows_in_order() {
    on_cores(1, |handle| async move {
        let (ours, theirs) = narrow_pair();
        let authority = Authority::new();
        let acceptor = Acceptor::new(Arc::new(authority.server_config()));
        let client = peer::client(Arc::new(authority.client_config()), theirs, |mut client| {
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
            all
        });
        let server = handle.spawn_on(0, move || async move {
            let stream = acceptor.accept(ours).await.unwrap();
            for piece in 0..PIECES {
                stream.send_all(pattern(piece * PIECE, PIECE)).await.0.unwrap();
            }
            stream.shutdown_write().await.unwrap();
        });
        server.await.unwrap();
        let all = ringwork::spawn_blocking(move || client.join().unwrap()).await.unwrap();
        assert_eq!(all.len(), PIECE * PIECES);
        assert_pattern(0, &all);
    });
}
