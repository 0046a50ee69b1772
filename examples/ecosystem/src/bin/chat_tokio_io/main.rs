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

use ringwork_ecosystem::{cannot_listen, complain};
use std::process::ExitCode;

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

const USAGE: &str = "usage: chat_tokio_io [ADDR]    (127.0.0.1:6142 if none is given; port 0 picks one)";

/// The address, or `None` for help.
fn parse() -> Result<Option<String>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut address = None;
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Value(given) if address.is_none() => address = Some(given.string()?),
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(Some(address.unwrap_or_else(|| "127.0.0.1:6142".to_owned())))
}

#[ringwork::main]
async fn main() -> ExitCode {
    let address = match parse() {
        Ok(Some(address)) => address,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complain("chat_tokio_io", format_args!("{error} (see --help)"));
            return ExitCode::from(2);
        }
    };
    match chat::serve(&address).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain("chat_tokio_io", cannot_listen(&address, "ADDR", &error));
            ExitCode::FAILURE
        }
    }
}
