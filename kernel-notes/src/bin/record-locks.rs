//! Record locks, and which closes give them up. It promises which.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;

use kernel_notes::{Outcome, Report, Scratch};

/// Locks the whole file for this process, or says who refused.
fn lock(file: &File) -> io::Result<()> {
    // SAFETY: an all-zero lock is one of the whole file.
    let lock = unsafe { libc::flock { l_type: libc::F_WRLCK as libc::c_short, ..std::mem::zeroed() } };
    // SAFETY: the call only reads the lock.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether this process has a lock (`proc_locks(5)`).
fn is_locked() -> io::Result<bool> {
    let own = std::process::id().to_string();
    let locks = fs::read_to_string("/proc/locks")?;
    Ok(locks.lines().any(|lock| lock.contains("POSIX") && lock.split_whitespace().any(|word| word == own)))
}

fn main() -> Outcome {
    let mut report = Report::new();
    let scratch = Scratch::new("record-locks")?;
    let file = File::create(scratch.path("locked"))?;
    lock(&file)?;
    report.holds("the file is locked", is_locked()?);
    file.set_len(10)?;
    report.holds("a change of its length leaves it locked", is_locked()?);
    drop(file.try_clone()?);
    report.holds("the close of a duplicate gives the lock up", !is_locked()?);
    lock(&file)?;
    drop(File::open(scratch.path("locked"))?);
    report.holds("so does that of a file that was opened by its name", !is_locked()?);
    Ok(report.finish())
}
