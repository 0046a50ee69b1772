//! The file system of this folder, and who does the work on it: the core, or a kernel helper thread.
//!
//! Found out by doing it: a read and a write of a small file, with an eye on the helper threads of this
//! process. Both hit the page cache, so neither waits for a disk.

use ringwork::fs::File;
use ringwork::time::sleep;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a helper thread is given to go back to sleep, which is when its activity can be seen.
const SETTLE: Duration = Duration::from_millis(20);
const PAGE: usize = 4096;

/// Who did an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worker {
    /// The core, while it submitted.
    Core,
    /// A kernel helper thread (io-wq).
    Helper,
}

/// What was learned about the current folder.
pub(crate) struct Disk {
    pub(crate) folder: PathBuf,
    pub(crate) file_system: String,
    /// Who reads what the page cache holds, or why that was not tried.
    pub(crate) read: Result<Worker, String>,
    /// Who writes to the page cache.
    pub(crate) write: Result<Worker, String>,
}

/// Looks at the current folder.
pub(crate) async fn examine() -> Disk {
    let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let file_system = file_system_of(&folder, &mounts).unwrap_or_else(|| "an unknown file system".to_owned());
    let (read, write) = match scratch(&folder) {
        Ok(file) => {
            let file = File::from_std(file);
            (watched(read(&file)).await, watched(write(&file)).await)
        }
        Err(error) => {
            let why = format!("no file can be made here ({error})");
            (Err(why.clone()), Err(why))
        }
    };
    Disk { folder, file_system, read, write }
}

/// A file of one page that has no name any more.
fn scratch(folder: &Path) -> io::Result<fs::File> {
    let path = folder.join(format!(".ringwork-doctor-{}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    io::Write::write_all(&mut &file, &[1; PAGE])?;
    Ok(file)
}

async fn read(file: &File) -> io::Result<()> {
    file.read_exact_at(Vec::with_capacity(PAGE), 0).await.0
}

async fn write(file: &File) -> io::Result<()> {
    file.write_all_at(vec![2; PAGE], 0).await.0
}

/// Does something, and sees whether a helper thread was at work meanwhile.
async fn watched(work: impl Future<Output = io::Result<()>>) -> Result<Worker, String> {
    let before = activity();
    work.await.map_err(|error| error.to_string())?;
    sleep(SETTLE).await;
    Ok(if activity() == before { Worker::Core } else { Worker::Helper })
}

/// Grows whenever a helper thread of this process starts, or has worked and goes back to sleep.
fn activity() -> u64 {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return 0 };
    let of_thread = |thread: fs::DirEntry| {
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let sleeps: u64 = field("voluntary_ctxt_switches:")?.parse().ok()?;
        field("Name:")?.starts_with("iou-wrk").then_some(1 + sleeps)
    };
    threads.flatten().filter_map(of_thread).sum()
}

/// The type of the file system that `folder` is on, from `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).
fn file_system_of(folder: &Path, mounts: &str) -> Option<String> {
    let mount = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?.replace("\\040", " ");
        let kind = right.split(' ').next()?.to_owned();
        folder.starts_with(&point).then_some((point.len(), kind))
    };
    // The deepest mount counts, and of several on one folder the last.
    mounts.lines().filter_map(mount).max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}
