//! The three ring calls as they are, one way to fork, and a look at the threads of io-wq. Thin on purpose:
//! what the kernel answers is what the caller gets. It is not a ring: nothing here maps queues.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The argument of `io_uring_setup`: the kernel's own layout, the two tables of offsets left opaque.
#[repr(C)]
#[derive(Clone, Default)]
pub struct Params {
    /// Entries of the submission queue that the kernel made.
    pub sq_entries: u32,
    /// Entries of the completion queue, asked for with CQSIZE, else twice the submission queue.
    pub cq_entries: u32,
    /// Set-up flags.
    pub flags: u32,
    /// CPU of the SQPOLL thread.
    pub sq_thread_cpu: u32,
    /// Idle time of the SQPOLL thread.
    pub sq_thread_idle: u32,
    /// Feature bits, filled in by the kernel.
    pub features: u32,
    /// Ring to share a worker pool with.
    pub wq_fd: u32,
    reserved: [u32; 3],
    offsets: [u32; 20],
}

const _: () = assert!(size_of::<Params>() == 120);

impl Params {
    /// Parameters with these flags and, where CQSIZE is among them, this size of the completion queue.
    pub fn new(flags: u32, cq_entries: u32) -> Params {
        Params { flags, cq_entries, ..Params::default() }
    }
}

fn answer(value: libc::c_long) -> io::Result<u32> {
    u32::try_from(value).map_err(|_| io::Error::last_os_error())
}

/// `io_uring_setup`: the descriptor of a ring whose queues are not mapped.
pub fn setup(entries: u32, params: &mut Params) -> io::Result<OwnedFd> {
    let params: *mut Params = params;
    // SAFETY: the argument is a live exclusive reference to a structure of the size the kernel expects.
    let fd = answer(unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, params) })?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// `io_uring_enter` without an argument block.
pub fn enter(ring: &impl AsRawFd, submit: u32, want: u32, flags: u32) -> io::Result<u32> {
    let none = std::ptr::null::<u8>();
    let fd = ring.as_raw_fd();
    // SAFETY: no pointer is passed. Entries on the queue were vouched for by whoever pushed them.
    answer(unsafe { libc::syscall(libc::SYS_io_uring_enter, fd, submit, want, flags, none, 0) })
}

/// `io_uring_register`.
///
/// # Safety
/// `argument` must be what `opcode` asks for, and live as long as that opcode asks for.
pub unsafe fn register<T>(fd: i32, opcode: u32, argument: *mut T, count: u32) -> io::Result<u32> {
    // SAFETY: the caller vouches for the argument.
    answer(unsafe { libc::syscall(libc::SYS_io_uring_register, fd, opcode, argument, count) })
}

/// Runs `work` in a forked child and returns its exit code. The child has an alarm of its own, so the wait
/// is bounded.
pub fn fork_run(work: impl FnOnce() -> i32) -> io::Result<i32> {
    let ours = std::fs::read_dir("/proc/self/task")?.flatten();
    let ours = ours.filter(|task| !comm(&task.path()).starts_with("iou-")).count();
    assert_eq!(ours, 1, "fork only while there is one thread: another's locks would stay held");
    // SAFETY: this is the only thread, so the child's copy of the heap and of all locks is in order.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    if child == 0 {
        // SAFETY: sets a timer of this process only; the default action of SIGALRM ends it.
        unsafe { libc::alarm(30) };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(101);
        // SAFETY: ends the child at once, without running the parent's exit handlers a second time.
        unsafe { libc::_exit(result) };
    }
    let mut status = 0;
    // SAFETY: `child` is our own child, not yet waited for; `status` is a live integer.
    while unsafe { libc::waitpid(child, &mut status, 0) } < 0 {
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) })
}

fn comm(task: &std::path::Path) -> String {
    std::fs::read_to_string(task.join("comm")).unwrap_or_default().trim_end().to_owned()
}

/// The io-wq workers that belong to the calling thread: their thread ids.
pub fn threads_of_io_wq() -> Vec<i32> {
    // SAFETY: asks for a number, no arguments.
    let name = format!("iou-wrk-{}", unsafe { libc::gettid() });
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter(|task| comm(&task.path()) == name)
        .filter_map(|t| t.file_name().to_str()?.parse().ok())
        .collect()
}
