//! Terminals: what is at their other end may take its time, and the core does not wait for it.

use crate::kit::process::{alone, threads_named};
use crate::kit::{bounded, runtime, wait_for};
use ringwork::fs::File;
use ringwork::runtime::Runtime;
use ringwork::task::JoinHandle;
use ringwork::time::{Duration, sleep};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// A terminal that changes nothing on the way, and its other end, which does not wait. A read waits for
/// `at_least` bytes. With a `time`, in tenths of a second, it waits for so long for each byte behind the
/// first, and a poll for the first one only.
fn terminal(at_least: u8, time: u8) -> (File, std::fs::File) {
    let (mut other, mut this) = (-1, -1);
    // SAFETY: all-zero settings are valid, and completed by `cfmakeraw`; the call writes two descriptors,
    // which are ours.
    unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        libc::cfmakeraw(&raw mut settings);
        settings.c_cc[libc::VMIN] = at_least;
        settings.c_cc[libc::VTIME] = time;
        let made = libc::openpty(
            &raw mut other,
            &raw mut this,
            std::ptr::null_mut(),
            &raw const settings,
            std::ptr::null(),
        );
        assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
        assert_eq!(libc::fcntl(other, libc::F_SETFL, libc::O_NONBLOCK), 0);
        (File::from_std(OwnedFd::from_raw_fd(this).into()), std::fs::File::from_raw_fd(other))
    }
}

/// Reads what there is.
fn take(other: &mut std::fs::File, bytes: &mut Vec<u8>) {
    let mut piece = [0; 4096];
    loop {
        match other.read(&mut piece) {
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// More than a terminal has room for.
const MANY: usize = 1 << 20;

#[test]
fn a_write_that_a_terminal_has_no_room_for_holds_up_no_other_task() {
    bounded(|| {
        let runtime = runtime(1);
        let (file, mut other) = terminal(1, 0);
        let writing = runtime.spawn(async move { file.write_all_at(vec![b'x'; MANY], 0).await.0 });
        // On the same core, and the only one that makes room.
        let reading = runtime.spawn(async move {
            let mut bytes = Vec::new();
            while bytes.len() < MANY {
                take(&mut other, &mut bytes);
                sleep(Duration::from_millis(1)).await;
            }
            bytes.len()
        });
        assert_eq!(runtime.block_on(reading).unwrap(), MANY);
        runtime.block_on(writing).unwrap().unwrap();
    });
}

#[test]
fn a_write_that_a_terminal_has_no_room_for_ends_with_its_time() {
    bounded(|| {
        let runtime = runtime(1);
        // Nobody reads.
        let (file, _other) = terminal(1, 0);
        let writing = runtime.spawn(async move {
            let (written, bytes) =
                file.write_at(vec![b'x'; MANY], 0).timeout(Duration::from_millis(20)).await;
            assert_eq!(bytes.len(), MANY);
            written
        });
        match runtime.block_on(writing).unwrap() {
            Ok(part) => assert!(part < MANY),
            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
        }
    });
}

/// A terminal that gives four bytes at a time, of which one has come.
fn terminal_with_one_of_four() -> (File, std::fs::File) {
    let (file, mut other) = terminal(4, u8::MAX);
    other.write_all(b"1").unwrap();
    (file, other)
}

async fn read(file: File) -> Vec<u8> {
    let (read, bytes) = file.read_at(Vec::with_capacity(16), 0).await;
    read.unwrap();
    bytes
}

/// The others come, on the core that reads and some time after it has begun to.
fn send_the_rest(runtime: &Runtime, mut other: std::fs::File) -> JoinHandle<std::fs::File> {
    runtime.spawn(async move {
        sleep(Duration::from_millis(20)).await;
        other.write_all(b"234").unwrap();
        other
    })
}

#[test]
fn a_read_of_more_than_a_terminal_has_holds_up_no_other_task() {
    bounded(|| {
        let runtime = runtime(1);
        let (file, other) = terminal_with_one_of_four();
        let reading = runtime.spawn(read(file));
        let _other = runtime.block_on(send_the_rest(&runtime, other)).unwrap();
        assert_eq!(runtime.block_on(reading).unwrap(), b"1234");
    });
}

#[test]
fn a_terminal_that_is_sent_to_a_socket_holds_up_no_other_task() {
    alone(|| {
        bounded(|| {
            let runtime = runtime(1);
            let (file, other) = terminal_with_one_of_four();
            let (ours, mut peer) = UnixStream::pair().unwrap();
            let sending = runtime.spawn(async move {
                let stream = ringwork::net::UnixStream::from_std(ours).unwrap();
                stream.send_file(&file, 0, 4).await
            });
            // Nobody else needs one in this process.
            wait_for("a helper thread", || !threads_named("iou-wrk").is_empty());
            let _other = runtime.block_on(send_the_rest(&runtime, other)).unwrap();
            assert_eq!(runtime.block_on(sending).unwrap().unwrap(), 4);
            let mut bytes = [0; 4];
            peer.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"1234");
        });
    });
}
