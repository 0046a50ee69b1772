//! For how long the kernel has the file of an op that a helper thread has done.
//! It promises that an enter ends it; how often it has lasted is only shown.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use io_uring::{opcode, squeue, types::Fd};
use kernel_notes::{LONG, Lab, Outcome, Report, Scratch};

const OP: u64 = 1;
const ROUNDS: usize = 3000;
static BYTES: [u8; 10_000] = [7; 10_000];

/// Takes the lock of the whole file (`flock(2)`), which lasts until its last descriptor is closed; whether it
/// was free.
fn lock(file: &File) -> bool {
    // SAFETY: a system call without memory.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
}

/// Whether the lock comes free within this time.
fn comes_free(file: &File, within: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < within {
        if lock(file) {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

fn main() -> Outcome {
    let mut report = Report::new();
    let scratch = Scratch::new("file-of-an-op")?;
    let path = scratch.path("locked");
    fs::write(&path, "")?;
    let mut lab = Lab::new(8, 64)?;
    let (mut kept, mut without_enter, mut after_enter) = (0, 0, 0);
    for _ in 0..ROUNDS {
        let (file, other) = (open(&path)?, open(&path)?);
        assert!(comes_free(&file, LONG), "nobody has it");
        let op = opcode::Write::new(Fd(file.as_raw_fd()), BYTES.as_ptr(), BYTES.len() as u32).build();
        // SAFETY: the bytes are there for ever.
        unsafe { lab.push(op.user_data(OP).flags(squeue::Flags::ASYNC))? };
        lab.submit()?;
        lab.next(LONG)?;
        drop(file);
        if lock(&other) {
            continue;
        }
        kept += 1;
        // The helper thread may be just about to let go.
        without_enter += usize::from(comes_free(&other, Duration::from_millis(50)));
        lab.nop(OP)?;
        lab.submit()?;
        lab.next(LONG)?;
        after_enter += usize::from(comes_free(&other, LONG));
    }
    report.saw(format_args!(
        "of {ROUNDS} files that were closed behind their op's completion {kept} were still open, \
         {without_enter} for less than 50 ms"
    ));
    report.holds("all of them were closed after the next enter", after_enter == kept);
    Ok(report.finish())
}

fn open(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}
