//! A ringwork runtime inside a tokio program, and tokio inside a ringwork one: both do I/O and wait for
//! each other.

use ringwork::net::{TcpListener, TcpStream};
use ringwork::runtime::{Builder, Handle, Pin, Runtime};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn ringwork_runtime(cores: usize) -> Runtime {
    Builder::new().cores(cores).pin(Pin::Off).build().expect("a runtime starts")
}

fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio starts")
}

/// An echo server on tokio.
async fn tokio_echo() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    address
}

/// An echo server on ringwork.
async fn ringwork_echo(handle: &Handle) -> SocketAddr {
    let listener = handle.spawn(TcpListener::bind("127.0.0.1:0")).await.unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    drop(handle.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(ringwork::spawn(async move {
                while let Ok(buf) = stream.recv_pooled().await
                    && !buf.is_empty()
                {
                    if stream.send_all(buf).await.0.is_err() {
                        return;
                    }
                }
            }));
        }
    }));
    address
}

async fn ringwork_talk(address: SocketAddr) {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.send_all("across").await.0.unwrap();
    let (received, buf) = stream.recv_exact(Vec::with_capacity(6)).await;
    received.unwrap();
    assert_eq!(buf, b"across");
}

async fn tokio_talk(address: SocketAddr) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"back").await.unwrap();
    let mut buf = [0; 4];
    stream.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"back");
}

#[test]
fn ops_of_ringwork_are_polled_by_tokio() {
    let ringwork = ringwork_runtime(2);
    tokio_runtime().block_on(async {
        let echo = tokio_echo().await;
        let _guard = ringwork.handle().enter();
        ringwork_talk(echo).await;
        ringwork::time::sleep(Duration::from_millis(2)).await;
        assert!(!ringwork::fs::read("Cargo.toml").await.unwrap().is_empty());
        // Each of the two clocks in one select.
        tokio::select! {
            () = ringwork::time::sleep(Duration::from_secs(3600)) => unreachable!("an hour"),
            () = tokio::time::sleep(Duration::from_millis(2)) => {}
        }
        tokio::select! {
            () = ringwork::time::sleep(Duration::from_millis(2)) => {}
            () = tokio::time::sleep(Duration::from_secs(3600)) => unreachable!("an hour"),
        }
    });
}

#[test]
fn servers_of_one_talk_to_clients_of_the_other() {
    let ringwork = ringwork_runtime(2);
    tokio_runtime().block_on(async {
        let tokio_side = tokio_echo().await;
        let ringwork_side = ringwork_echo(ringwork.handle()).await;
        for _ in 0..20 {
            ringwork.spawn(ringwork_talk(tokio_side)).await.unwrap();
            tokio_talk(ringwork_side).await;
            ringwork.spawn(ringwork_talk(ringwork_side)).await.unwrap();
            tokio_talk(tokio_side).await;
        }
    });
}

#[test]
fn tasks_of_one_are_joined_by_the_other() {
    let ringwork = ringwork_runtime(2);
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let handle = ringwork.handle().clone();
    let answer = tokio.block_on(async {
        let on_tokio = tokio::spawn(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            40
        });
        let on_ringwork = handle.spawn(async move {
            ringwork::time::sleep(Duration::from_millis(1)).await;
            on_tokio.await.unwrap() + 1
        });
        let on_tokio = tokio::spawn(async move { on_ringwork.await.unwrap() + 1 });
        on_tokio.await.unwrap()
    });
    assert_eq!(answer, 42);
}

#[test]
fn a_ringwork_runtime_is_made_and_dropped_inside_tokio() {
    tokio_runtime().block_on(async {
        let echo = tokio_echo().await;
        for _ in 0..5 {
            let ringwork = ringwork_runtime(1);
            ringwork.spawn(ringwork_talk(echo)).await.unwrap();
            let asleep = ringwork.spawn(ringwork::time::sleep(Duration::from_secs(3600)));
            drop(ringwork);
            assert!(asleep.await.unwrap_err().is_cancelled());
            tokio_talk(echo).await;
        }
    });
}

#[test]
fn blocking_jobs_of_one_block_on_the_other() {
    let ringwork = ringwork_runtime(1);
    let handle = ringwork.handle().clone();
    let tokio = tokio_runtime();
    tokio.block_on(async {
        let echo = tokio_echo().await;
        // tokio's pool blocks on ringwork, while tokio's own thread serves the echo.
        let job = tokio::task::spawn_blocking(move || handle.block_on(ringwork_talk(echo)));
        job.await.unwrap();
    });
    // A tokio runtime of its own inside ringwork's pool.
    let job = ringwork.handle().spawn_blocking(|| {
        tokio_runtime().block_on(async {
            let echo = tokio_echo().await;
            tokio_talk(echo).await;
        });
    });
    ringwork.block_on(job).unwrap();
}

#[test]
fn block_on_inside_an_entered_tokio_runtime_works() {
    let ringwork = ringwork_runtime(1);
    let tokio = tokio_runtime();
    let _tokio = tokio.enter();
    let answer = ringwork.block_on(async {
        ringwork::time::sleep(Duration::from_millis(1)).await;
        ringwork::spawn(async { 9 }).await.unwrap()
    });
    assert_eq!(answer, 9);
}
