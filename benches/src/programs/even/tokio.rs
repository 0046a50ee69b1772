//! The echo server of two workers of tokio's multi-thread runtime: one listener, whose accepting is a task,
//! and a task with a 4 KiB buffer per connection.

use std::io;
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};

use super::stuck::{DELAY, OnePoll};
use super::{NO_CORE, Server, announce};
use crate::plan::Plan;
use crate::programs::net::listen;
use crate::programs::net::tokio::echo;
use crate::programs::send::WORKERS;
use crate::programs::send::tokio::MultiThread;
use crate::sample::Counters;

/// Bytes of a connection's buffer.
const BUFFER: usize = 4096;

impl Server for Handle {
    fn counters(&self) -> Option<Counters> {
        None
    }

    fn start(&self, poll: OnePoll) {
        drop(self.spawn(async { poll.run::<MultiThread>(tokio::time::sleep(DELAY)).await }));
    }

    fn told_since(&self, _begun: Instant) -> Option<Instant> {
        None
    }
}

/// Echoes until killed.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let listener = listen(plan.listen()?)?;
    announce(listener.local_addr()?, runtime.handle().clone())?;
    listener.set_nonblocking(true)?;
    let serving = runtime.spawn(async move {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(greet_and_echo(stream));
        }
    });
    runtime.block_on(serving).map_err(io::Error::other)?
}

async fn greet_and_echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(&[NO_CORE]).await?;
    echo(stream, BUFFER).await
}
