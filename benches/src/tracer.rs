//! Counts the system calls of a running program with strace, where it is installed. That makes the program
//! several times slower, so it happens in a turn apart; it is never part of a measurement.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long strace may take to attach.
const PATIENCE: Duration = Duration::from_secs(10);

/// A strace that counts.
pub(crate) struct Tracer {
    strace: Child,
    table: PathBuf,
}

impl Tracer {
    /// Counts the calls of all threads of `pid` from now on.
    pub(crate) fn attach(pid: u32) -> io::Result<Tracer> {
        let table = std::env::temp_dir().join(format!("ringwork-bench-strace-{pid}"));
        let strace = Command::new("strace")
            .args(["-f", "-c", "-o"])
            .arg(&table)
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut tracer = Tracer { strace, table };
        let deadline = Instant::now() + PATIENCE;
        while !is_traced(pid)? {
            if tracer.strace.try_wait()?.is_some() || Instant::now() > deadline {
                return Err(io::Error::other("strace could not attach"));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(tracer)
    }

    /// Lets the program go. How many calls there were.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        kill(Pid::from_raw(self.strace.id() as i32), Signal::SIGINT)?;
        self.strace.wait()?;
        let text = fs::read_to_string(&self.table)?;
        calls(&text).ok_or_else(|| io::Error::other("strace has printed no total"))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It has ended by itself if all went well, and then there is nothing to end.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
        let _ = fs::remove_file(&self.table);
    }
}

/// Whether every thread of `pid` has a tracer.
fn is_traced(pid: u32) -> io::Result<bool> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status")).unwrap_or_default();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        if tracer.is_none_or(|tracer| tracer.trim() == "0") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The calls in the last line of a table of `strace -c`: `100.00 0.012 3 4321 17 total`.
fn calls(table: &str) -> Option<u64> {
    let total = table.lines().rev().find(|line| line.trim_end().ends_with("total"))?;
    total.split_ascii_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::calls;

    #[test]
    fn the_total_is_read_from_the_last_line() {
        let table = "% time seconds usecs/call calls errors syscall\n\
                     60.00 0.1 2 300 read\n100.00 0.2 3 4321 17 total\n";
        assert_eq!(calls(table), Some(4321));
        assert_eq!(calls("nothing"), None);
    }
}
