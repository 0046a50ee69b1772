//! A program under measurement as a child process: this same executable, started again with `serve`, pinned
//! to the CPUs it is given, killed when its handle is dropped or the harness dies. Somebody else's program
//! (nginx, say) is started by one of ours, which announces where it will listen and becomes it. This file
//! owns the conversation over standard input and output.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::plan::Plan;
use crate::programs::Program;
use crate::sample::{Reading, Report};
use crate::tracer::Tracer;
use crate::usage::{Usage, children};

/// How long a program may take to start.
pub(crate) const START: Duration = Duration::from_secs(30);
/// How long it may take to answer a question.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A running program.
pub(crate) struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    cpus: Vec<usize>,
    address: Option<SocketAddr>,
    /// Only of somebody else's program: the folder of its configuration.
    scratch: Option<Scratch>,
    tracing: Tracing,
}

/// Whether the system calls between two readings are counted.
enum Tracing {
    No,
    Wanted,
    Going(Tracer),
}

/// A folder that is deleted with its handle.
struct Scratch(PathBuf);

impl Scratch {
    /// A new folder for the files of one process.
    fn new(what: &str) -> io::Result<Scratch> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringwork-bench-{what}-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder)?;
        Ok(Scratch(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be deleted is in a folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Running {
    /// Starts `program` on `cpus`.
    pub(crate) fn start(program: &Program, cpus: &[usize], plan: &Plan) -> io::Result<Running> {
        let list: Vec<String> = cpus.iter().map(usize::to_string).collect();
        let mut plan = plan.clone().with("cpu", list.join(","));
        let mut scratch = None;
        if program.is_foreign() {
            let folder = Scratch::new(program.role)?;
            plan = plan.with("scratch", folder.0.display());
            scratch = Some(folder);
        }
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", &program.name()])
            .args(plan.words())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().expect("asked for above");
        let stdout = BufReader::new(child.stdout.take().expect("asked for above"));
        let (cpus, address, tracing) = (cpus.to_vec(), None, Tracing::No);
        Ok(Running { child, stdin, stdout, cpus, address, scratch, tracing })
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has used so far, as one sees it from outside. Only somebody else's program has children.
    pub(crate) fn usage(&self) -> io::Result<Usage> {
        if self.scratch.is_some() {
            Usage::of_family(self.pid(), &self.cpus)
        } else {
            Usage::of(self.pid(), &self.cpus)
        }
    }

    /// Where a server listens.
    pub(crate) fn address(&mut self) -> io::Result<SocketAddr> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        let line = self.line(START)?;
        let address = line.parse().map_err(|_| io::Error::other(format!("not an address: {line}")))?;
        if self.scratch.is_some() {
            self.await_listener(address)?;
        }
        self.address = Some(address);
        Ok(address)
    }

    /// Somebody else's program listens some time after its address was announced. It is not asked by
    /// connecting: a proxy would pass that on.
    fn await_listener(&mut self, address: SocketAddr) -> io::Result<()> {
        let deadline = Instant::now() + START;
        loop {
            // First: if it has ended, perhaps because a stranger has taken its port, nobody else is measured.
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("ended early: {status}")));
            }
            if family_listens(self.pid(), address.port())? {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("does not listen after {} s", START.as_secs())));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What a server has used and counted so far. Asking costs it some microseconds, so it is asked first
    /// at the end and last at the beginning of what is measured.
    pub(crate) fn reading(&mut self) -> io::Result<Reading> {
        let syscalls = match std::mem::replace(&mut self.tracing, Tracing::No) {
            Tracing::Going(tracer) => Some(tracer.finish()?),
            wanted_or_not => {
                self.tracing = wanted_or_not;
                None
            }
        };
        let mut report = if self.scratch.is_some() { Report::default() } else { self.report()? };
        report.syscalls = syscalls;
        if let Tracing::Wanted = self.tracing {
            self.tracing = Tracing::Going(Tracer::attach(self.pid())?);
        }
        Ok(Reading { usage: self.usage()?, report })
    }

    /// Has strace count the system calls between the next two readings.
    pub(crate) fn trace(&mut self) {
        self.tracing = Tracing::Wanted;
    }

    /// What a server of ours has counted so far.
    fn report(&mut self) -> io::Result<Report> {
        let line = self.ask("", PATIENCE)?;
        serde_json::from_str(&line).map_err(|e| io::Error::other(format!("{e} in: {line}")))
    }

    /// Sends `question` as a line to the program and returns the line that it prints then, within `patience`.
    pub(crate) fn ask(&mut self, question: &str, patience: Duration) -> io::Result<String> {
        self.stdin.write_all(format!("{question}\n").as_bytes())?;
        self.line(patience)
    }

    /// The next line the program prints, which must begin within `patience`.
    pub(crate) fn line(&mut self, patience: Duration) -> io::Result<String> {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.stdout.get_ref().as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, timeout)? == 0 {
            return Err(io::Error::other(format!("said nothing for {} s", patience.as_secs())));
        }
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            return Err(io::Error::other(format!("ended early: {}", self.child.wait()?)));
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Killed, it would leave its children behind: it is asked to end them.
        if self.scratch.is_some() && children(self.pid()).is_ok_and(|children| !children.is_empty()) {
            let _ = kill(Pid::from_raw(self.pid() as i32), Signal::SIGTERM);
            let deadline = Instant::now() + PATIENCE;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
        }
        // Either may fail only because the child has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether process `pid` or a child of its listens on `port`.
fn family_listens(pid: u32, port: u16) -> io::Result<bool> {
    let listeners = listeners(&fs::read_to_string("/proc/net/tcp")?, port);
    if listeners.is_empty() {
        return Ok(false);
    }
    let family = [pid].into_iter().chain(children(pid)?);
    Ok(family.into_iter().any(|pid| has_any(pid, &listeners)))
}

/// Whether a descriptor of process `pid` is one of these sockets. One that may not be looked at is believed.
fn has_any(pid: u32, sockets: &[String]) -> bool {
    let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(entries) => entries,
        Err(error) => return error.kind() == io::ErrorKind::PermissionDenied,
    };
    let targets = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.into_iter().any(|target| sockets.iter().any(|socket| target == Path::new(socket)))
}

/// The sockets of the kernel's `table` that listen on `port`, as they are called among the descriptors of a
/// process.
fn listeners(table: &str, port: u16) -> Vec<String> {
    let socket = |line: &str| {
        // local, remote, state, queues, timer, retransmits, user, timeout, inode
        let fields: Vec<&str> = line.split_ascii_whitespace().skip(1).take(9).collect();
        let [local, _, LISTENING, .., inode] = fields[..] else { return None };
        let (_, hex) = local.rsplit_once(':')?;
        (u16::from_str_radix(hex, 16) == Ok(port)).then(|| format!("socket:[{inode}]"))
    };
    table.lines().filter_map(socket).collect()
}

/// The state of a listening socket in that table.
const LISTENING: &str = "0A";

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_found_by_its_port_and_state() {
        let table = "  sl  local_address rem_address   st\n   \
                     0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 77 1 x\n   \
                     1: 0100007F:1F91 0100007F:0050 01 00000000:00000000 00:00000000 00000000 0 0 78 1 x\n";
        assert_eq!(listeners(table, 8080), ["socket:[77]"]);
        assert!(listeners(table, 8081).is_empty());
        assert!(listeners(table, 80).is_empty());
    }

    #[test]
    fn a_listener_of_somebody_else_is_not_taken_for_that_of_a_child() {
        let mut child = Command::new("sleep").arg("600").spawn().expect("it is everywhere");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let found = [child.id(), std::process::id()].map(|pid| family_listens(pid, port).expect("it lives"));
        child.kill().expect("it is ours");
        child.wait().expect("it has ended");
        assert_eq!(found, [false, true]);
    }
}
