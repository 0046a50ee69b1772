//! What is left of runtimes that have ended. Alone in its file: it counts what the process has.

use ringwork::runtime::{Builder, Pin, Runtime};
use ringwork_tokio_context_tests::{runtime, soon, threads_called};
use std::fs;
use std::time::Duration;

/// What a tokio runtime beside may hold: its `epoll` twice, an `eventfd`, and one if its signals are on.
const DESCRIPTORS: usize = 4;

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Uses all of tokio that takes threads or descriptors, and ends.
fn lives(runtime: Runtime) {
    let task = runtime.spawn(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let accepts = tokio::spawn(async move { listener.accept().await.unwrap() });
        let address = tokio::task::spawn_blocking(|| 7).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(address, 7);
        drop(accepts);
    });
    runtime.block_on(task).unwrap();
}

#[test]
fn nothing_is_left_of_runtimes_that_have_ended() {
    soon(|| {
        lives(runtime(2));
        let before = descriptors();
        for _ in 0..10 {
            lives(runtime(2));
        }
        assert_eq!(descriptors(), before);
        let plain = Builder::new().cores(1).pin(Pin::Off).build().unwrap();
        let without = descriptors();
        drop(plain);
        let beside = runtime(1);
        assert!(descriptors() - without <= DESCRIPTORS, "{} more", descriptors() - without);
        assert!(threads_called("ringwork-tokio") >= 1);
        drop(beside);
    });
}
