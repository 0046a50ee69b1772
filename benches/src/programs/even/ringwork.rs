//! The echo server of two cores of ringwork: `serve_per_core`, connections as tasks that idle cores may steal
//! or not.

use std::future::pending;
use std::io;
use std::net::SocketAddr;

use ringwork::net::TcpStream;
use ringwork::runtime::{Builder, Steal};

use super::{NO_CORE, answer_questions};
use crate::programs::send::WORKERS;
use crate::programs::send::ringwork::counters;
use crate::programs::{announce, ringwork_echo};

/// Echoes until killed, with stealing as is the default.
pub(crate) fn stealing(address: SocketAddr) -> io::Result<()> {
    run(Builder::new(), address)
}

/// The same without stealing.
pub(crate) fn never(address: SocketAddr) -> io::Result<()> {
    run(Builder::new().steal(Steal::Never), address)
}

fn run(builder: Builder, address: SocketAddr) -> io::Result<()> {
    let runtime = builder.cores(WORKERS).build().map_err(io::Error::other)?;
    let handle = runtime.handle().clone();
    answer_questions(move || Some(counters(&handle)))?;
    runtime.block_on(async {
        let server = ringwork::serve_per_core(address, |stream, _| async {
            // An error is the client's: it has gone.
            let _ = greet_and_echo(stream).await;
        })
        .await?;
        announce(server.local_addr())?;
        pending().await
    })
}

async fn greet_and_echo(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let core = ringwork::core::current().map_or(NO_CORE, |core| core as u8);
    stream.send_all(vec![core]).await.0?;
    ringwork_echo::echo(stream).await
}
