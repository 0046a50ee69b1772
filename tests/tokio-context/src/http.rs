//! A small HTTP/1.1 server on ringwork, plain or over TLS: what it answers is the path it was asked for.
//!
//! It keeps connections open, and is no HTTP server beyond what the tests ask.

use ringwork::Server;
use ringwork::net::TcpStream;
use ringwork::tls::{Acceptor, TlsStream};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::io;
use std::sync::Arc;

/// Serves on every core of the runtime this is awaited in.
///
/// # Errors
/// The system's, if no address can be had.
pub async fn serve() -> io::Result<Server> {
    let address = "127.0.0.1:0".parse().expect("an address");
    ringwork::serve_per_core(address, |stream: TcpStream, _peer| async move {
        let mut asked = Vec::new();
        while let Ok(bytes) = stream.recv_pooled().await {
            if bytes.is_empty() {
                return;
            }
            asked.extend_from_slice(&bytes);
            if stream.send_all(answers(&mut asked)).await.0.is_err() {
                return;
            }
        }
    })
    .await
}

/// As [`serve`], over TLS, with a certificate for `localhost` made on the spot. Gives that, too, in DER.
///
/// # Errors
/// As [`serve`].
///
/// # Panics
/// If the certificate cannot be made.
pub async fn serve_tls() -> io::Result<(Server, Vec<u8>)> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a key that fits");
    let acceptor = Acceptor::new(Arc::new(config));
    let address = "127.0.0.1:0".parse().expect("an address");
    let server = ringwork::serve_per_core(address, move |stream: TcpStream, _peer| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                talk(stream).await;
            }
        }
    });
    Ok((server.await?, made.cert.der().to_vec()))
}

async fn talk(stream: TlsStream) {
    let mut asked = Vec::new();
    while let (Ok(1..), bytes) = stream.recv(Vec::with_capacity(4096)).await {
        asked.extend_from_slice(&bytes);
        if stream.send_all(answers(&mut asked)).await.0.is_err() {
            return;
        }
    }
}

/// The answers to all requests that are whole, which are taken out. None has a body.
fn answers(asked: &mut Vec<u8>) -> Vec<u8> {
    let mut answers = Vec::new();
    while let Some(end) = asked.windows(4).position(|four| four == b"\r\n\r\n") {
        let head: Vec<u8> = asked.drain(..end + 4).collect();
        let path = String::from_utf8_lossy(head.split(|&byte| byte == b' ').nth(1).unwrap_or_default());
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len());
        answers.extend_from_slice(answer.as_bytes());
    }
    answers
}
