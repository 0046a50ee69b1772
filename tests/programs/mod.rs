//! The example programs, started and ended by tests.
//!
//! Owns finding a built example, waiting for the line that says where it listens, and ending it however the
//! test ends. It does not build: `cargo test` has built the examples before it runs a test.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything here may take before the test gives up: far more than a busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The example `name` of this build.
pub(crate) fn path(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own path");
    let profile = own.ancestors().nth(2).expect("tests are in target/PROFILE/deps");
    let path = profile.join("examples").join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --examples`", path.display());
    path
}

/// The example `name` with everything piped.
pub(crate) fn command(name: &str) -> Command {
    piped(&path(name))
}

/// A program with everything piped.
pub(crate) fn piped(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The example `name`, which may have `most` descriptors.
pub(crate) fn with_descriptors(most: u32, name: &str) -> Command {
    let mut shell = piped("sh".as_ref());
    shell.args(["-c", "ulimit -n $0 && exec \"$@\"", &most.to_string()]).arg(path(name));
    shell
}

/// Runs a program that is to end by itself.
pub(crate) fn outcome(mut command: Command) -> Output {
    let mut child = Guarded(command.spawn().expect("the program starts"));
    let status = child.wait(PATIENCE);
    let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
    let (stdout, stderr) = (child.0.stdout.take(), child.0.stderr.take());
    stdout.expect("stdout is piped").read_to_end(&mut output.stdout).expect("stdout can be read");
    stderr.expect("stderr is piped").read_to_end(&mut output.stderr).expect("stderr can be read");
    output
}

/// What the example `name` says when a signal asks it to stop.
pub(crate) fn stopping(name: &str) -> String {
    format!("{name}: stopping once clients are done, after 4s at most; a second signal stops it at once\n")
}

/// Waits for what no event tells: what a server does on its own, it does soon, not at once.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A child that does not outlive its test.
struct Guarded(Child);

impl Guarded {
    /// Waits until it ends.
    fn wait(&mut self, patience: Duration) -> ExitStatus {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.0.try_wait().expect("the child is ours") {
                return status;
            }
            assert!(Instant::now() < until, "the program did not end within {patience:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that has said where it listens.
pub(crate) struct Server {
    child: Guarded,
    address: SocketAddr,
    stderr: BufReader<ChildStderr>,
}

impl Server {
    /// Starts it and waits for its first line.
    pub(crate) fn start(command: Command) -> Self {
        Self::try_start(command).unwrap_or_else(|why| panic!("instead of its address the server said {why}"))
    }

    /// The same. If it says something else, or ends, the error is that and what it has said on stderr.
    pub(crate) fn try_start(mut command: Command) -> Result<Self, String> {
        let mut child = Guarded(command.spawn().expect("the program starts"));
        let stdout = child.0.stdout.take().expect("stdout is piped");
        let mut stderr = BufReader::new(child.0.stderr.take().expect("stderr is piped"));
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("stdout can be read");
        let address = line.strip_prefix("listening on ").and_then(|address| address.trim().parse().ok());
        if let Some(address) = address {
            return Ok(Self { child, address, stderr });
        }
        if !line.is_empty() {
            let _ = child.0.kill();
        }
        let _ = stderr.read_to_string(&mut line);
        Err(line)
    }

    /// Starts it where nobody takes its lines, and waits until it accepts at `address`.
    pub(crate) fn start_unheard(mut command: Command, address: SocketAddr) -> Self {
        let full = File::options().write(true).open("/dev/full").expect("a device that takes nothing");
        let mut child = Guarded(command.stdout(full).spawn().expect("the program starts"));
        let stderr = BufReader::new(child.0.stderr.take().expect("stderr is piped"));
        wait_until("the server accepts", || TcpStream::connect(address).is_ok());
        Self { child, address, stderr }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        let all = std::fs::read_dir(format!("/proc/{}/fd", self.child.0.id()));
        all.expect("the server is running").count()
    }

    /// How many descriptors it has open: those of pipes, and others.
    pub(crate) fn pipes_and_others(&self) -> (usize, usize) {
        let all = std::fs::read_dir(format!("/proc/{}/fd", self.child.0.id()));
        let all = all.expect("the server is running").flatten();
        // One that is gone meanwhile was open when the folder was read.
        let is_pipe = |fd: &std::fs::DirEntry| {
            std::fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().starts_with("pipe:"))
        };
        let (pipes, others): (Vec<_>, Vec<_>) = all.partition(is_pipe);
        (pipes.len(), others.len())
    }

    /// From now on it may open descriptors below this number only. Gives what was the limit before.
    pub(crate) fn limit_descriptors(&self, limit: u64) -> u64 {
        let pid = self.child.0.id() as i32;
        let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: a system call on a local.
        let read = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut now) };
        let before = std::mem::replace(&mut now.rlim_cur, limit);
        // SAFETY: as above.
        let set = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const now, std::ptr::null_mut()) };
        assert_eq!((read, set), (0, 0), "the server is ours");
        before
    }

    /// The most memory it has had at any time, in bytes.
    pub(crate) fn peak_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.0.id()));
        let status = status.expect("the server is running");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        let peak: usize = peak.and_then(|peak| peak.trim().parse().ok()).expect("the kernel says it");
        peak * 1024
    }

    /// The next line it writes to stderr; empty if it has closed it.
    pub(crate) fn complaint(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).expect("stderr can be read");
        line
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: a plain system call; the child has not been waited for, so its number is still its own.
        let sent = unsafe { libc::kill(self.child.0.id() as i32, signal) };
        assert_eq!(sent, 0, "the server can be signalled");
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) {
        self.child.0.kill().expect("the server is running");
        self.child.wait(PATIENCE);
    }

    /// Waits until it ends by itself; gives its exit code and what it still had to say on stderr.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait(PATIENCE);
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).expect("stderr can be read");
        (status.code(), rest)
    }
}
