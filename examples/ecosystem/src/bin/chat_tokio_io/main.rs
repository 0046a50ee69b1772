//! Teaches that a program written for tokio runs on ringwork once its imports are changed.
//!
//! `chat.rs` is a chat server as one writes it with tokio: the codecs of `tokio-util`, `tokio::select!`,
//! `tokio::sync`, halves of a stream, a task per client. What it takes from a runtime it imports from `rt`,
//! which is here; `tests/chat.rs` compiles the same file with an `rt` of tokio, and its clients find no
//! difference. A program of your own has these imports at the top of its files, and they change there.
//!
//! ```text
//! cargo run --release -p ringwork-ecosystem --bin chat_tokio_io -- 127.0.0.1:6142
//! nc 127.0.0.1 6142
//! ```
#![forbid(unsafe_code)]

mod chat;

/// All that ties the program to its runtime, with what it was for tokio where that was another name.
mod rt {
    // tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf}
    pub(crate) use ringwork::net::{OwnedRecvHalf as OwnedReadHalf, OwnedSendHalf as OwnedWriteHalf};
    pub(crate) use ringwork::net::{TcpListener, TcpStream};
    pub(crate) use ringwork::signal::unix::{SignalKind, signal};
    pub(crate) use ringwork::spawn;
    pub(crate) use ringwork::task::JoinSet;
    pub(crate) use ringwork::time::{sleep, timeout};
}

#[ringwork::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:6142".to_owned());
    if address.starts_with('-') {
        println!("usage: chat_tokio_io [ADDR]    (127.0.0.1:6142 if none is given)");
        return Ok(());
    }
    let served = chat::serve(&address).await;
    served.map_err(|error| std::io::Error::new(error.kind(), format!("chat at {address}: {error}")))
}
