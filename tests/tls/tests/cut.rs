//! What becomes of a stream whose message was cut after its caller had gone.
#![forbid(unsafe_code)]

use ringwork::net::TcpStream;
use ringwork::tls::Acceptor;
use ringwork_tls_tests::certs::Authority;
use ringwork_tls_tests::{on_cores, peer};
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;

#[test]
fn nothing_follows_a_dropped_message_that_the_end_of_its_runtime_cut() {
    // One piece, and more than one.
    for len in [64 * 1024, 64 * 1024 + 1] {
        let (keep, kept) = channel();
        on_cores(1, move |_| async move {
            let (go, wait): (Sender<()>, Receiver<()>) = channel();
            let (ours, theirs) = narrow_pair();
            let authority = Authority::new();
            let client = peer::client(Arc::new(authority.client_config()), theirs, move |mut client| {
                client.flush().unwrap();
                let _gone = wait.recv();
            });
            let acceptor = Acceptor::new(Arc::new(authority.server_config()));
            let stream = acceptor.accept(ours).await.unwrap();
            let mut send = stream.send_all(vec![7; len]);
            assert!(
                poll_fn(|cx| Poll::Ready(Pin::new(&mut send).poll(cx))).await.is_pending(),
                "nobody reads and the socket is small"
            );
            drop(send);
            keep.send((stream, go, client)).unwrap();
        });
        on_cores(1, move |_| async move {
            let (stream, go, client) = kept.recv().unwrap();
            let (sent, _) = stream.send_all(vec![8; 10]).await;
            assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe, "after {len} bytes");
            drop(go);
            client.join().unwrap();
        });
    }
}

/// A connection that takes only a few KiB from the first end until the second is read from.
fn narrow_pair() -> (TcpStream, std::net::TcpStream) {
    const ROOM: usize = 4 * 1024;
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    // Before the connection is made: a window that was offered is not taken back.
    listener.set_recv_buffer_size(ROOM).unwrap();
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(1).unwrap();
    let listener = std::net::TcpListener::from(listener);
    let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    socket2::SockRef::from(&ours).set_send_buffer_size(ROOM).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    (TcpStream::from_std(ours).unwrap(), theirs)
}
