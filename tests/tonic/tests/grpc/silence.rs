//! What a channel says to a server that says nothing.
#![forbid(unsafe_code)]

use crate::kit::support::{LIMIT, within};
use crate::kit::{client, number, ours};
use ringwork::net::{TcpListener, TcpStream};
use ringwork::runtime::Builder;
use ringwork::time::timeout;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::oneshot;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;

/// Takes a frame out of what has come, and gives its kind.
fn kind(bytes: &mut VecDeque<u8>) -> Option<u8> {
    let len = 9 + bytes.iter().take(3).fold(0, |len, byte| len << 8 | usize::from(*byte));
    if bytes.len() < len.max(9) {
        return None;
    }
    let kind = bytes[3];
    bytes.drain(..len);
    Some(kind)
}

/// Reads the frames of a client up to the end of its connection, and answers none; says when the first call
/// has come. Gives their kinds.
async fn kinds(stream: TcpStream, called: oneshot::Sender<()>) -> Vec<u8> {
    // Its own settings, and that it has the client's.
    let settings = [[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0], [0, 0, 0, SETTINGS, 1, 0, 0, 0, 0]].concat();
    stream.send_all(settings).await.0.unwrap();
    let (mut bytes, mut kinds, mut called) = (VecDeque::new(), Vec::new(), Some(called));
    let mut is_begun = false;
    loop {
        let piece = stream.recv_pooled().await.unwrap();
        if piece.is_empty() {
            return kinds;
        }
        bytes.extend(piece.iter());
        if !is_begun && bytes.len() >= PREFACE.len() {
            is_begun = bytes.drain(..PREFACE.len()).eq(PREFACE.iter().copied());
            assert!(is_begun, "it speaks HTTP/2");
        }
        while let Some(kind) = is_begun.then(|| kind(&mut bytes)).flatten() {
            kinds.push(kind);
            if kind == HEADERS
                && let Some(called) = called.take()
            {
                called.send(()).unwrap();
            }
        }
    }
}

/// Servers of gRPC end a connection that pings them more often than they have said, which is once in five
/// minutes with most.
#[test]
fn a_call_that_is_silent_for_an_hour_goes_on_and_pings_nobody() {
    within(LIMIT, || {
        let runtime = Builder::new().start_paused(true).build().unwrap();
        let silent = runtime.handle().spawn_on(0, || async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = client(ours::channel(listener.local_addr().unwrap(), None));
            let (called, is_called) = oneshot::channel();
            let server = ringwork::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                kinds(stream, called).await
            });
            let mut call = ringwork::spawn_local(async move { client.square(number(1)).await });
            is_called.await.unwrap();
            let silent = timeout(Duration::from_secs(3600), &mut call).await;
            assert!(silent.is_err(), "it ended: {silent:?}");
            call.abort();
            let kinds = server.await.unwrap();
            assert!(kinds.contains(&HEADERS) && !kinds.contains(&PING), "{kinds:?}");
        });
        runtime.block_on(silent).unwrap();
    });
}
