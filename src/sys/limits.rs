//! What the process may have: descriptors, locked memory.
#![forbid(unsafe_code)]

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use std::fs;

/// The soft limit of open descriptors.
pub(crate) fn open_files() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

/// The soft limit of locked memory in bytes.
pub(crate) fn locked_memory() -> u64 {
    getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft)
}

/// As [`locked_memory`]; `None` if the kernel sets this process no limit.
pub(crate) fn lockable_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limit = locked_memory();
    let unlimited = limit == RLIM_INFINITY || may_lock_all(&status) && is_in_first_user_namespace();
    (!unlimited).then_some(limit)
}

/// Whether the capabilities of this process are those that `capable()` of the kernel looks for: what a
/// process has in another user namespace counts there only (`user_namespaces(7)`). The first one's number has
/// been the same since 3.8 (`PROC_USER_INIT_INO`, `include/linux/proc_ns.h`).
fn is_in_first_user_namespace() -> bool {
    fs::read_link("/proc/self/ns/user").is_ok_and(|name| name.as_os_str() == "user:[4026531837]")
}

/// Whether `/proc/PID/status` shows CAP_IPC_LOCK among the effective capabilities (`capabilities(7)`).
fn may_lock_all(status: &str) -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    effective.is_some_and(|set| set >> CAP_IPC_LOCK & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capability_to_lock_memory_is_read_from_its_bit() {
        assert!(may_lock_all("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(may_lock_all("CapEff:\t0000000000004000"));
        assert!(!may_lock_all("CapPrm:\t0000000000004000\nCapEff:\t0000000000002000\n"));
        assert!(!may_lock_all("CapEff: none") && !may_lock_all(""));
    }
}
