//! CPU masks of threads: which CPUs we may use, pinning, and what the status file of a thread says.
//! It places nothing by itself.

use std::io;

/// A set of these CPUs.
pub fn cpu_set(cpus: &[usize]) -> libc::cpu_set_t {
    // SAFETY: all bytes zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in cpus {
        assert!(*cpu < libc::CPU_SETSIZE as usize, "a CPU number out of the set's range");
        // SAFETY: the number is inside the set, as just checked.
        unsafe { libc::CPU_SET(*cpu, &mut set) };
    }
    set
}

/// The CPUs that the calling thread may use.
pub fn cpus_allowed() -> Vec<usize> {
    let mut set = cpu_set(&[]);
    // SAFETY: `set` is a live set of the size given.
    unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    // SAFETY: every number is below the size of the set.
    (0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect()
}

/// Lets a thread (0: the calling one) run on one CPU only.
pub fn pin(thread: i32, cpu: usize) -> io::Result<()> {
    let set = cpu_set(&[cpu]);
    // SAFETY: the set is live and of the size given.
    match unsafe { libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The CPU list of a thread of this process, as its status file has it.
pub fn mask_of(thread: i32) -> String {
    let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status"));
    let status = status.unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.map(|list| list.trim().to_owned()).unwrap_or_default()
}
