//! What a child process does between fork and exec.

use super::cpu;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Gives the child the start-up mask.
pub(crate) fn unpin(command: &mut Command) {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpu::start_mask().iter().filter(|&&cpu| cpu < libc::CPU_SETSIZE as usize) {
        // SAFETY: `cpu` is within the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    let unpin = move || {
        // A mask that is not valid any more leaves the child where it is.
        // SAFETY: one system call on a copy of the set: async-signal-safe, allocates nothing.
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
        Ok(())
    };
    // SAFETY: the closure above is async-signal-safe, as code between fork and exec must be.
    unsafe { command.pre_exec(unpin) };
}
