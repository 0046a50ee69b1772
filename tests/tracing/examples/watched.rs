//! A program to look at with `tokio-console`: tasks that wait, move, yield, block and panic.
//!
//! Run it in `tests/tracing`, whose `.cargo/config.toml` has the flag that console-subscriber asks for:
//! `cargo run --example watched [SECONDS]`, and `tokio-console` beside it.
#![forbid(unsafe_code)]

use ringwork::net::{TcpListener, TcpStream};
use ringwork::task::{Builder, yield_now};
use ringwork::time::{Duration, interval, sleep};
use ringwork::{core, spawn_blocking};

fn named(name: impl Into<String>) -> Builder {
    Builder::new().name(name.into())
}

async fn echo(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        named("connection").spawn(async move {
            while let Ok(received) = stream.recv_pooled().await {
                if received.is_empty() || stream.send_all(received).await.0.is_err() {
                    break;
                }
            }
        });
    }
}

async fn client(to: std::net::SocketAddr) -> std::io::Result<()> {
    let stream = TcpStream::connect(to).await?;
    let mut ticks = interval(Duration::from_millis(20));
    loop {
        ticks.tick().await;
        stream.send_all("ping").await.0?;
        stream.recv_pooled().await?;
    }
}

async fn wander(cores: usize) {
    for turn in 0.. {
        core::move_to(turn % cores).await;
        sleep(Duration::from_millis(100)).await;
    }
}

#[ringwork::main(cores = 2)]
async fn main() -> std::io::Result<()> {
    console_subscriber::init();
    let seconds = std::env::args().nth(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    named("front door").spawn(echo(listener));
    for number in 0..3 {
        named(format!("client {number}")).spawn(client(address));
    }
    named("wanderer").spawn(wander(2));
    named("yields all the time").spawn_local(async {
        loop {
            yield_now().await;
            sleep(Duration::from_millis(1)).await;
        }
    });
    named("starts jobs").spawn(async {
        loop {
            let _ = spawn_blocking(|| std::thread::sleep(std::time::Duration::from_millis(300))).await;
        }
    });
    named("waits for ever").spawn(std::future::pending::<()>());
    sleep(Duration::from_secs(seconds)).await;
    Ok(())
}
