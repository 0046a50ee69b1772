//! Reads that are begun on one core and polled, dropped or forgotten elsewhere, with files and runtime going
//! meanwhile: each ends, its bytes are right, and nothing stays open.

use crate::kit::process::{alone, descriptors, make_fifo};
use crate::kit::{Folder, bounded, poll_once, runtime, wait_for};
use crate::pattern;
use futures_executor::block_on;
use ringwork::fs::{File, OpenOptions};
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::task::{Context, Waker};
use std::thread;

/// Bytes of each read.
const BLOCK: usize = 512;
/// Blocks of the file.
const BLOCKS: u64 = 64;

/// What the file holds.
static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| pattern(BLOCK * BLOCKS as usize));

type Read = Pin<Box<dyn Future<Output = Option<usize>> + Send>>;

/// One read with its file and its buffer; its future says how many bytes came, and checks them.
fn read(file: Arc<File>, block: u64, is_pattern: bool) -> Read {
    Box::pin(async move {
        let at = (block % BLOCKS) * BLOCK as u64;
        file.cached_reads(false);
        let (read, bytes) = file.read_at(Vec::with_capacity(BLOCK), if is_pattern { at } else { 0 }).await;
        // Its handle goes with the future, whichever thread that ends on.
        drop(file);
        let read = read.ok()?;
        if is_pattern {
            assert!(bytes == CONTENT[at as usize..][..BLOCK], "block {block}");
        }
        Some(read)
    })
}

/// Begins reads on the core that this runs on and sends them away, each begun by a first poll.
async fn begin(path: std::path::PathBuf, is_pattern: bool, mut to: Vec<SyncSender<Read>>) {
    let mut file = Arc::new(OpenOptions::new().read(true).write(true).open(&path).await.unwrap());
    for n in 0.. {
        if to.is_empty() {
            return;
        }
        if n % 16 == 15 {
            file = Arc::new(OpenOptions::new().read(true).write(true).open(&path).await.unwrap());
        }
        let mut begun = read(Arc::clone(&file), n, is_pattern);
        let _ = poll_once(&mut begun).await;
        let next = n as usize % to.len();
        match to[next].try_send(begun) {
            // What nobody has room for ends here.
            Ok(()) | Err(TrySendError::Full(_)) if n % 8 != 7 => {}
            Ok(()) | Err(TrySendError::Full(_)) => ringwork::task::yield_now().await,
            Err(TrySendError::Disconnected(_)) => drop(to.swap_remove(next)),
        }
    }
}

/// A thread that is no core: awaits every other read and drops the rest, up to `count`; how many it awaited.
fn take(reads: Receiver<Read>, count: usize) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let ended = reads.iter().take(count).enumerate().filter_map(|(n, mut read)| {
            let mut cx = Context::from_waker(Waker::noop());
            match n % 4 {
                0 | 1 => Some(block_on(read)),
                // Polled once more with another waker, and dropped.
                2 if read.as_mut().poll(&mut cx).is_ready() => None,
                _ => None,
            }
        });
        ended.flatten().count()
    })
}

fn write_pattern(path: &Path) {
    std::fs::write(path, &*CONTENT).unwrap();
}

#[test]
fn reads_begun_on_a_core_end_on_any_thread() {
    alone(|| {
        bounded(|| {
            let folder = Folder::new();
            let path = folder.join("file");
            write_pattern(&path);
            let runtime = runtime(2);
            runtime.block_on(async { ringwork::fs::read("Cargo.toml").await.unwrap() });
            let before = descriptors();
            let (to, threads): (Vec<_>, Vec<_>) = (0..3)
                .map(|_| {
                    let (sender, receiver) = sync_channel(64);
                    (sender, take(receiver, 2_000))
                })
                .unzip();
            for core in 0..2 {
                let (path, to) = (path.clone(), to.clone());
                drop(runtime.handle().spawn_on(core, move || begin(path, true, to)));
            }
            drop(to);
            for thread in threads {
                assert_eq!(thread.join().unwrap(), 1_000);
            }
            wait_for("all descriptors to close", || descriptors() == before);
        });
    });
}

#[test]
fn reads_that_wait_end_on_any_thread_when_their_runtime_goes() {
    alone(|| {
        bounded(|| {
            let folder = Folder::new();
            let path = folder.join("fifo");
            make_fifo(&path);
            let mut writer = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
            let before = descriptors();
            for round in 0..40 {
                let runtime = runtime(2);
                let (sender, receiver) = sync_channel(64);
                let taker = take(receiver, usize::MAX);
                for core in 0..2 {
                    let (path, to) = (path.clone(), vec![sender.clone()]);
                    drop(runtime.handle().spawn_on(core, move || begin(path, false, to)));
                }
                drop(sender);
                writer.write_all(&[round; BLOCK * 4]).unwrap();
                let begun = || runtime.handle().metrics().cores.iter().map(|core| core.sqes).sum::<u64>();
                wait_for("reads to be begun", || begun() >= u64::from(round) * 8);
                if round % 2 == 0 {
                    // Some reads are in flight, some on their way between threads, some being dropped.
                    assert!(runtime.shutdown_timeout(std::time::Duration::from_secs(20)).is_clean());
                } else {
                    drop(runtime);
                }
                taker.join().unwrap();
            }
            wait_for("all descriptors to close", || descriptors() == before);
        });
    });
}

#[test]
fn a_read_that_is_forgotten_keeps_its_descriptor_only_until_it_is_over() {
    alone(|| {
        bounded(|| {
            let folder = Folder::new();
            let path = folder.join("fifo");
            make_fifo(&path);
            let mut writer = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
            let runtime = runtime(1);
            let before = descriptors();
            let fifo = path.clone();
            let begun = runtime.handle().spawn_on(0, move || async move {
                let file = File::open(&fifo).await.unwrap();
                let mut reading = Box::pin(file.read_at(Vec::with_capacity(BLOCK), 0));
                assert!(poll_once(&mut reading).await.is_pending());
                std::mem::forget(reading);
                drop(file);
            });
            runtime.block_on(begun).unwrap();
            assert_eq!(descriptors(), before + 1, "the kernel reads there");
            writer.write_all(b"x").unwrap();
            wait_for("the descriptor to close", || descriptors() == before);
        });
    });
}
