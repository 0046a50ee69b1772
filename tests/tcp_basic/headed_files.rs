//! A head and a file behind it, as one message.

use crate::support::{assert_pattern, half_std_pair, on_cores, pattern};
use ringwork::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::path::Path;

/// A file with these bytes, which is gone when it is closed.
pub(crate) async fn file(name: &str, bytes: Vec<u8>) -> File {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("headed-{name}-{}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let file = File::open(&path).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    file
}

/// Empties the page cache of the file, as far as it is on the disk.
pub(crate) fn forget(file: &File) {
    // SAFETY: no pointers; the descriptor is open.
    unsafe {
        libc::fsync(file.as_raw_fd());
        libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED);
    }
}

#[test]
fn head_and_file_arrive_in_this_order_and_whole_whether_the_file_is_cached_or_not() {
    for (head, len) in [(100, 100_000), (0, 5_000), (100, 1), (3_000_000, 2_000_000), (100, 700_000)] {
        for cached in [true, false] {
            on_cores(1, move |_| async move {
                let file = file(&format!("{head}-{len}-{cached}"), pattern(head, len)).await;
                if !cached {
                    forget(&file);
                }
                let (stream, mut peer) = half_std_pair();
                // The socket has no room for a large head at once.
                socket2::SockRef::from(&peer).set_recv_buffer_size(64 * 1024).unwrap();
                let reader = ringwork::spawn_blocking(move || {
                    let mut all = vec![0; head + len];
                    peer.read_exact(&mut all).unwrap();
                    assert_pattern(0, &all);
                    peer
                });
                let (sent, back) = stream.send_file_with_head(pattern(0, head), &file, 0, len as u64).await;
                assert_eq!((sent.unwrap(), back.len()), (len as u64, head));
                drop(reader.await.unwrap());
            });
        }
    }
}

#[test]
fn a_file_that_is_shorter_than_said_gives_what_there_is_behind_the_head() {
    on_cores(1, |_| async {
        let file = file("short", pattern(4, 10)).await;
        let (stream, mut peer) = half_std_pair();
        let (sent, head) = stream.send_file_with_head(pattern(0, 4), &file, 0, 100).await;
        assert_eq!((sent.unwrap(), head.len()), (10, 4));
        let (sent, _) = stream.send_file_with_head(pattern(14, 4), &file, 10, 100).await;
        assert_eq!(sent.unwrap(), 0);
        let (sent, _) = stream.send_file_with_head(pattern(18, 2), &file, 0, 0).await;
        assert_eq!(sent.unwrap(), 0);
        let mut all = [0; 20];
        ringwork::spawn_blocking(move || {
            peer.read_exact(&mut all).unwrap();
            assert_pattern(0, &all);
        })
        .await
        .unwrap();
    });
}

#[test]
fn the_next_send_waits_behind_the_file() {
    on_cores(1, |_| async {
        let file = file("next", pattern(3, 500_000)).await;
        let (stream, mut peer) = half_std_pair();
        let reader = ringwork::spawn_blocking(move || {
            let mut all = vec![0; 500_013];
            peer.read_exact(&mut all).unwrap();
            assert_pattern(0, &all);
        });
        let headed = stream.send_file_with_head(pattern(0, 3), &file, 0, 500_000);
        let (headed, next) = futures_util::join!(headed, stream.send_all(pattern(500_003, 10)));
        assert_eq!(headed.0.unwrap(), 500_000);
        next.0.unwrap();
        reader.await.unwrap();
    });
}

#[test]
fn a_peer_that_is_gone_is_an_error_that_gives_the_head_back() {
    on_cores(1, |_| async {
        let file = file("gone", pattern(0, 1_000_000)).await;
        let (stream, peer) = half_std_pair();
        socket2::SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(peer);
        let (mut sent, mut head) = (Ok(0), vec![7; 100]);
        while sent.is_ok() {
            (sent, head) = stream.send_file_with_head(head, &file, 0, 1_000_000).await;
        }
        assert_eq!(head, [7; 100]);
    });
}

#[test]
fn a_reset_is_told_as_what_it_is_by_the_first_to_send_whether_there_is_a_head_or_not() {
    for head in [0, 100] {
        on_cores(1, move |_| async move {
            let file = file(&format!("reset-{head}"), pattern(0, 1000)).await;
            let (stream, peer) = half_std_pair();
            socket2::SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            drop(peer);
            let (sent, back) = stream.send_file_with_head(vec![7; head], &file, 0, 1000).await;
            assert_eq!((sent.unwrap_err().kind(), back.len()), (ErrorKind::ConnectionReset, head));
            let (sent, _) = stream.send_file_with_head(back, &file, 0, 1000).await;
            assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
    }
}

#[test]
fn a_file_that_is_read_past_the_page_cache_is_sent_from_any_offset_to_its_end() {
    on_cores(1, |_| async {
        const LEN: usize = 300_001;
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("direct-{}", std::process::id()));
        std::fs::write(&path, pattern(0, LEN)).unwrap();
        let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&path).await;
        std::fs::remove_file(&path).unwrap();
        let Ok(file) = direct else { return println!("skipped: no direct files here") };
        for (offset, len) in [(0, LEN), (1, LEN), (4_095, 10), (131_072, 65_536), (LEN - 1, 100), (LEN, 1)] {
            let (stream, mut peer) = half_std_pair();
            let there = (LEN - offset).min(len);
            let reader = ringwork::spawn_blocking(move || {
                let mut all = Vec::new();
                peer.read_to_end(&mut all).unwrap();
                assert_eq!(all.len(), 7 + there);
                assert_pattern(offset, &all[7..]);
            });
            let (sent, _) = stream.send_file_with_head(vec![0; 7], &file, offset as u64, len as u64).await;
            assert_eq!(sent.unwrap(), there as u64, "{len} bytes at {offset}");
            drop(stream);
            reader.await.unwrap();
        }
    });
}
