//! A program under measurement as a child process: this same executable, started again with `serve`,
//! pinned to the CPUs it is given, killed when its handle is dropped or the harness dies.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A running program.
pub(crate) struct Program {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Program {
    /// Starts `serve PROGRAM ARGS..` on `cpus`.
    pub(crate) fn start(program: &str, cpus: &[usize], args: &[String]) -> io::Result<Program> {
        let cpus: Vec<String> = cpus.iter().map(usize::to_string).collect();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", program, "--cpu", &cpus.join(",")])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().expect("asked for above");
        let stdout = BufReader::new(child.stdout.take().expect("asked for above"));
        Ok(Program { child, stdin, stdout })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
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

impl Drop for Program {
    fn drop(&mut self) {
        // Either may fail only because the child has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
