//! Bulk under the poll-shaped traits, where the pool has no large buffers left.

#[path = "../../support/mod.rs"]
mod support;

use std::io::Write;
use support::{SMALL, assert_pattern, in_bulk, on_cores, pattern};
use tokio::io::AsyncReadExt;

#[test]
fn bulk_comes_whole_while_others_hold_all_large_buffers() {
    const LEN: usize = 8 << 20;
    on_cores(1, |handle| async move {
        let metrics = handle.clone();
        let ran = handle.spawn_on(0, move || async move {
            let mut held = Vec::new();
            for _ in 0..40 {
                let (stream, mut peer) = in_bulk().await;
                peer.write_all(&pattern(0, 2 * SMALL)).unwrap();
                held.push((stream.recv_pooled().await.unwrap(), stream, peer));
            }
            let (mut stream, mut peer) = in_bulk().await;
            let misses = metrics.metrics().cores[0].pool_misses;
            let writing = std::thread::spawn(move || peer.write_all(&pattern(0, LEN)).unwrap());
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            assert_eq!(all.len(), LEN);
            assert_pattern(0, &all);
            assert!(metrics.metrics().cores[0].pool_misses > misses, "there were large buffers left");
            writing.join().unwrap();
        });
        ran.await.unwrap();
    });
}
