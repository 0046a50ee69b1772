//! Opens and reads that nobody waits for any more: nothing stays open, nothing is written to later.

use crate::kit::Folder;
use crate::kit::process::{alone, descriptors, make_fifo};
use crate::kit::{bounded, poll_once, runtime, wait_for};
use ringwork::buf::IoBuf;
use ringwork::fs::{Dir, File, OpenOptions};
use ringwork::runtime::Runtime;
use ringwork::task::coop;
use ringwork::time::{Duration, sleep};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::pin::pin;

/// Runs `body` in a process of its own and looks that no descriptor is left.
pub(crate) fn leaves_no_descriptor(body: impl FnOnce(&Runtime, &Folder) + Send + 'static) {
    bounded(|| {
        let folder = Folder::new();
        let runtime = runtime(2);
        // What is opened once and kept is open now.
        runtime.block_on(async { ringwork::fs::read("Cargo.toml").await.unwrap() });
        let before = descriptors();
        body(&runtime, &folder);
        wait_for("all descriptors to close", || descriptors() == before);
        assert!(runtime.shutdown_timeout(Duration::from_secs(20)).is_clean());
    });
}

/// Opens by an op, also what could be opened on the spot.
fn by_op() -> OpenOptions {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK)
}

/// Leaves nothing of the task's budget, and does not pause.
async fn spend_budget() {
    while coop::has_budget_remaining() {
        coop::consume_budget().await;
    }
}

#[test]
fn an_open_that_is_dropped_while_it_waits_opens_nothing() {
    alone(|| {
        leaves_no_descriptor(|runtime, folder| {
            let fifo = folder.join("fifo");
            make_fifo(&fifo);
            let path = fifo.clone();
            let task = runtime.spawn(async move {
                for _ in 0..20 {
                    let mut opening = Box::pin(File::open(&path));
                    assert!(poll_once(&mut opening).await.is_pending());
                    sleep(Duration::from_millis(1)).await;
                    drop(opening);
                }
            });
            runtime.block_on(task).unwrap();
            // Nobody reads there: an open for writing that does not wait finds no reader.
            wait_for("all opens to end", || {
                let writing = runtime
                    .block_on(OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&fifo));
                writing.is_err_and(|error| error.raw_os_error() == Some(libc::ENXIO))
            });
        });
    });
}

#[test]
fn an_open_that_is_done_and_dropped_before_it_is_polled_again_closes() {
    alone(|| {
        leaves_no_descriptor(|runtime, folder| {
            let path = folder.file("file", "x");
            let options = by_op();
            let task = runtime.spawn(async move {
                for _ in 0..100 {
                    let mut opening = Box::pin(options.open(&path));
                    assert!(poll_once(&mut opening).await.is_pending());
                    // A later op of the same ring: the open is done by then.
                    options.open(&path).await.unwrap();
                    drop(opening);
                }
            });
            runtime.block_on(task).unwrap();
        });
    });
}

#[test]
fn thousands_of_opens_dropped_at_any_moment_leave_nothing() {
    alone(|| {
        leaves_no_descriptor(|runtime, folder| {
            let path = folder.file("file", "x");
            let root = folder.path().to_owned();
            let tasks: Vec<_> = (0..2)
                .map(|core| {
                    let (path, root) = (path.clone(), root.clone());
                    runtime.handle().spawn_on(core, move || async move {
                        let (dir, options) = (Dir::open(root).await.unwrap(), by_op());
                        for round in 0..1_000 {
                            let mut opening = Box::pin(options.open(&path));
                            let mut cached = Box::pin(File::open(&path));
                            let mut beneath = Box::pin(dir.open_file("file"));
                            let _ = poll_once(&mut opening).await;
                            if round % 2 == 0 {
                                // Then what is opened on the spot waits for more.
                                spend_budget().await;
                                assert!(poll_once(&mut cached).await.is_pending());
                            }
                            let _ = poll_once(&mut beneath).await;
                            for _ in 0..round % 4 {
                                ringwork::task::yield_now().await;
                            }
                        }
                    })
                })
                .collect();
            for task in tasks {
                runtime.block_on(task).unwrap();
            }
        });
    });
}

#[test]
fn opens_of_a_plain_thread_dropped_at_any_moment_leave_nothing() {
    alone(|| {
        leaves_no_descriptor(|runtime, folder| {
            let path = folder.file("file", "x");
            runtime.block_on(async {
                for round in 0..500 {
                    let mut opening = Box::pin(File::open(&path));
                    let _ = poll_once(&mut opening).await;
                    if round % 3 == 0 {
                        std::thread::yield_now();
                    }
                    if round % 50 == 0 {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
            });
        });
    });
}

#[test]
fn a_read_dropped_with_its_file_keeps_the_descriptor_until_it_is_over() {
    alone(|| {
        leaves_no_descriptor(|runtime, folder| {
            let path = folder.join("fifo");
            make_fifo(&path);
            let keeper = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
            let task = runtime.spawn(async move {
                for _ in 0..20 {
                    let file = OpenOptions::new().read(true).write(true).open(&path).await.unwrap();
                    let mut reading = file.read_at([0; 64], 0);
                    assert!(poll_once(&mut reading).await.is_pending());
                    drop(reading);
                    drop(file);
                }
            });
            runtime.block_on(task).unwrap();
            drop(keeper);
        });
    });
}

#[test]
fn a_dropped_read_writes_into_nobodys_memory() {
    bounded(|| {
        let runtime = runtime(1);
        let folder = Folder::new();
        let path = folder.join("fifo");
        make_fifo(&path);
        let mut writer = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let task = runtime.spawn(async move {
            let file = OpenOptions::new().read(true).write(true).open(&path).await.unwrap();
            for round in 0..200_u8 {
                let mut reading = file.read_at(Vec::with_capacity(4_096), 0);
                assert!(poll_once(&mut reading).await.is_pending());
                drop(reading);
                // The allocator may give the same memory out again at once.
                let fresh = vec![round; 4_096];
                writer.write_all(&[0xee; 64]).unwrap();
                ringwork::task::yield_now().await;
                sleep(Duration::from_micros(100)).await;
                assert!(fresh.iter().all(|&byte| byte == round), "somebody wrote here");
                // What the dropped read did not take is taken now.
                let (read, _) =
                    file.read_at(Vec::with_capacity(4_096), 0).timeout(Duration::from_millis(1)).await;
                let _ = read;
            }
        });
        runtime.block_on(task).unwrap();
    });
}

/// A buffer that does not say how long it is.
struct NoLength;

// SAFETY: nobody is told that there are bytes.
unsafe impl IoBuf for NoLength {
    fn as_ptr(&self) -> *const u8 {
        std::ptr::NonNull::dangling().as_ptr()
    }

    fn len(&self) -> usize {
        panic!("the buffer's own")
    }
}

#[test]
fn a_file_closes_although_a_buffer_of_a_write_has_panicked() {
    alone(|| {
        leaves_no_descriptor(|runtime, folder| {
            let path = folder.join("file");
            let task = runtime.spawn(async move {
                let file = File::create(path).await.unwrap();
                file.write_at(NoLength, 0).await.0.unwrap();
            });
            assert!(runtime.block_on(task).unwrap_err().is_panic());
        });
    });
}

/// Nobody may start a program that somebody has open for writing. A lease of a reader is the same question.
#[test]
fn a_file_that_was_written_as_a_whole_is_open_nowhere_when_that_is_done() {
    // A child of another test would have it open until it runs its program.
    alone(|| {
        bounded(|| {
            let (runtime, folder) = (runtime(2), Folder::new());
            let path = folder.join("program");
            // So that whoever lets go last has to wait for a CPU, now and then.
            for _ in 0..2 {
                std::thread::spawn(|| {
                    loop {
                        std::hint::spin_loop()
                    }
                });
            }
            // On a core, whose next turn would close what it has left open.
            let writing = runtime.spawn(async move {
                for round in 0..2_000 {
                    ringwork::fs::write(&path, vec![7; 10_000]).await.unwrap();
                    let file = std::fs::File::open(&path).unwrap();
                    // SAFETY: a system call without memory.
                    let leased = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) };
                    assert_eq!(leased, 0, "round {round}: {}", std::io::Error::last_os_error());
                }
            });
            runtime.block_on(writing).unwrap();
        });
    });
}

#[test]
fn a_write_of_a_whole_file_that_is_dropped_ends_and_closes_it() {
    alone(|| {
        leaves_no_descriptor(|runtime, folder| {
            let path = folder.join("large");
            runtime.block_on(async {
                let mut writing = pin!(ringwork::fs::write(&path, vec![7; 64 << 20]));
                // As soon as something was written.
                while std::fs::metadata(&path).map_or(0, |metadata| metadata.len()) == 0 {
                    if poll_once(&mut writing).await.is_ready() {
                        break;
                    }
                    ringwork::task::yield_now().await;
                }
            });
        });
    });
}
