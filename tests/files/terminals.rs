//! Terminals: what is at their other end may take its time, and the core does not wait for it.

use crate::kit::process::{alone, threads_named};
use crate::kit::{bounded, runtime, wait_for};
use ringwork::fs::File;
use ringwork::runtime::Runtime;
use ringwork::time::{Duration, sleep};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};

/// A terminal that changes nothing on the way, and its other end, which does not wait. A read waits for
/// `at_least` bytes.
fn terminal(at_least: u8) -> (File, std::fs::File) {
    let (mut other, mut this) = (-1, -1);
    // SAFETY: all-zero settings are valid, and completed by `cfmakeraw`; the call writes two descriptors,
    // which are ours.
    unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        libc::cfmakeraw(&raw mut settings);
        settings.c_cc[libc::VMIN] = at_least;
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
        let (file, mut other) = terminal(1);
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
        let (file, _other) = terminal(1);
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

/// Reads four bytes of a terminal that gives no fewer, of which only one has come; `meanwhile` is done then.
fn read_of_four(runtime: &Runtime, meanwhile: impl FnOnce()) {
    let (file, mut other) = terminal(4);
    other.write_all(b"1").unwrap();
    let reading = runtime.spawn(async move {
        let (read, bytes) = file.read_at(Vec::with_capacity(16), 0).await;
        read.map(|_| bytes)
    });
    let mut seen = 0;
    wait_for("a helper thread to wait", || {
        seen = if threads_named("iou-wrk").is_empty() { 0 } else { seen + 1 };
        seen > 20
    });
    meanwhile();
    // By the same core.
    let rest = runtime.spawn(async move { other.write_all(b"234").map(|()| other) });
    let _other = runtime.block_on(rest).unwrap().unwrap();
    assert_eq!(runtime.block_on(reading).unwrap().unwrap(), b"1234");
}

#[test]
fn a_read_of_more_than_a_terminal_has_holds_up_no_other_task() {
    alone(|| bounded(|| read_of_four(&runtime(1), || ())));
}

#[test]
fn a_read_that_waits_goes_on_waiting_when_the_process_was_stopped_and_goes_on() {
    alone(|| {
        bounded(|| {
            read_of_four(&runtime(1), || {
                let us = std::process::id();
                let script = format!("kill -STOP {us}; sleep 0.1; kill -CONT {us}");
                assert!(std::process::Command::new("sh").args(["-c", &script]).status().unwrap().success());
            });
        });
    });
}
