//! This process as the kernel sees it, and tests that have a process to themselves.

use super::PATIENCE;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

const ALONE: &str = "RINGWORK_TEST_ALONE";

/// Runs the calling test's `body` in a process in which no other test runs.
///
/// The test's name is read off the closure's type, so `body` must be written in the test itself.
#[track_caller]
pub(crate) fn alone<F: FnOnce()>(body: F) {
    let path = std::any::type_name::<F>();
    let path = path.trim_end_matches("::{{closure}}");
    let (_, test) = path.split_once("::").expect("a test lies in a crate");
    if std::env::var(ALONE).is_ok_and(|name| name == test) {
        return body();
    }
    let program = std::env::current_exe().expect("this program has a path");
    let child = Command::new(program)
        .args([test, "--exact", "--nocapture", "--test-threads=1", "--include-ignored"])
        .env(ALONE, test)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program starts again");
    let pid = child.id();
    let (done, answer) = channel();
    thread::spawn(move || done.send(child.wait_with_output()));
    let output = answer.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        kill(pid, libc::SIGKILL);
        panic!("{test} hangs in its own process")
    });
    let output = output.expect("a child can be waited for");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let ran = out.contains("1 passed");
    assert!(output.status.success() && ran, "alone: {}\n{out}\n{err}", output.status);
    for (_, figures) in out.lines().filter_map(|line| line.split_once("measured: ")) {
        println!("measured: {figures}");
    }
}

/// How long a forked child may take.
pub(crate) const CHILD_SECONDS: u32 = 10;

/// Runs `body` in a forked child; the child's exit code. A child that hangs is killed by its own alarm.
pub(crate) fn in_child(body: impl FnOnce()) -> i32 {
    // SAFETY: the child runs `body` on this one thread and leaves by `_exit`. The test runs alone in its
    // process, and their other threads wait in the kernel: none holds a lock of the allocator's.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        // SAFETY: system calls without memory.
        unsafe { libc::alarm(CHILD_SECONDS) };
        let code = i32::from(catch_unwind(AssertUnwindSafe(body)).is_err());
        // SAFETY: leaves without running anything of the parent's.
        unsafe { libc::_exit(code) };
    }
    exit_code_of(child)
}

/// Waits for a forked child; its exit code.
pub(crate) fn exit_code_of(child: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: waits for our own child into a local.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(!libc::WIFSIGNALED(status), "the child was killed by signal {}", libc::WTERMSIG(status));
    libc::WEXITSTATUS(status)
}

/// Sends a signal to a process.
pub(crate) fn kill(pid: u32, signal: i32) {
    // SAFETY: a system call without memory.
    let sent = unsafe { libc::kill(pid as libc::pid_t, signal) };
    assert_eq!(sent, 0, "kill: {}", std::io::Error::last_os_error());
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    // SAFETY: a system call without memory.
    unsafe { libc::geteuid() == 0 }
}

/// Open descriptors, not counting the one that reads the list.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc is mounted").count() - 1
}

/// Threads of this process: their ids and names.
pub(crate) fn threads() -> Vec<(u32, String)> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is mounted").flatten();
    let thread = |entry: fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        Some((id, name.trim_end().to_owned()))
    };
    tasks.filter_map(thread).collect()
}

/// Has a child stop this process, and send it on.
pub(crate) fn stop_and_go() {
    let us = std::process::id();
    let script = format!("kill -STOP {us}; sleep 0.1; kill -CONT {us}");
    let status = Command::new("sh").args(["-c", &script]).status().expect("there is a shell");
    assert!(status.success());
}

/// The ids of threads whose names begin like this. One that was joined a moment ago may still be among them.
pub(crate) fn threads_named(start: &str) -> Vec<u32> {
    let named = threads().into_iter().filter(|(_, name)| name.starts_with(start));
    named.map(|(id, _)| id).collect()
}

/// Memory mappings of this process.
pub(crate) fn maps() -> usize {
    fs::read_to_string("/proc/self/maps").expect("/proc is mounted").lines().count()
}

/// A line of `/proc/…/status`.
pub(crate) fn status(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Resident memory in bytes.
pub(crate) fn resident() -> u64 {
    let line = status("/proc/self/status", "VmRSS").expect("the kernel tells");
    line.trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024
}

/// CPU time this process has used.
pub(crate) fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to a local.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(answer, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Lets this process open as many descriptors as it may.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes to a local.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(answer, 0);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: reads a local.
    let answer = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(answer, 0);
    limit.rlim_cur
}

/// The CPUs a thread may run on, as the kernel writes them (`0-3,8`).
pub(crate) fn allowed_cpus(thread: u32) -> Option<String> {
    status(&format!("/proc/self/task/{thread}/status"), "Cpus_allowed_list")
}

/// How many CPUs a list like `0-3,8` names.
pub(crate) fn count_cpus(list: &str) -> usize {
    let span = |part: &str| match part.split_once('-') {
        Some((from, to)) => to.parse::<usize>().unwrap() - from.parse::<usize>().unwrap() + 1,
        None => 1,
    };
    list.split(',').map(span).sum()
}

/// The id of the calling thread.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: a system call without memory.
    unsafe { libc::gettid() as u32 }
}

/// Makes a FIFO.
pub(crate) fn make_fifo(path: &std::path::Path) {
    let path = std::ffi::CString::new(path.to_str().expect("plain text")).expect("no NUL");
    // SAFETY: the string ends with NUL and lives throughout.
    let made = unsafe { libc::mkfifo(path.as_ptr(), 0o600) };
    assert_eq!(made, 0, "mkfifo: {}", std::io::Error::last_os_error());
}
