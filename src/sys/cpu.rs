//! Which CPUs this process may use, and where a thread runs.
//!
//! Owns the process's start-up mask, taken once. Placement decides with it (`runtime::placement`); this file
//! only asks and tells the kernel.
#![forbid(unsafe_code)]

use std::fs;
use std::sync::OnceLock;

static START: OnceLock<Vec<usize>> = OnceLock::new();

/// The CPUs this process could use when it first asked; taken before any core is pinned.
pub(crate) fn start_mask() -> &'static [usize] {
    START.get_or_init(|| {
        let mask = affinity::get_thread_affinity().unwrap_or_default();
        if !mask.is_empty() {
            return mask;
        }
        let ids = core_affinity::get_core_ids().unwrap_or_default();
        ids.into_iter().map(|core| core.id).collect()
    })
}

/// Lets the calling thread run on one CPU only. False if the kernel refuses.
pub(crate) fn pin_to(cpu: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: cpu })
}

/// The CPU that the calling thread runs on; it may have moved when this returns. Some ns: no system call
/// (getcpu(2), in the vDSO).
#[inline]
pub(crate) fn current() -> Option<usize> {
    nix::sched::sched_getcpu().ok()
}

/// Gives the calling thread the start-up mask back.
pub(crate) fn unpin() {
    // A mask that was valid at the start and is no longer (CPUs taken away) leaves the thread where it is.
    let _ = affinity::set_thread_affinity(start_mask());
}

/// CPUs' worth of time the control group allows, if it limits it (cgroup v2 `cpu.max`, v1
/// `cpu.cfs_quota_us`).
pub(crate) fn quota() -> Option<f64> {
    let path = fs::read_to_string("/proc/self/cgroup").ok()?;
    let v2 = path.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    // The limit of any group above holds too.
    let mut group = v2.trim_end_matches('/').to_owned();
    let mut least = v1_quota();
    loop {
        if let Ok(text) = fs::read_to_string(format!("/sys/fs/cgroup{group}/cpu.max"))
            && let Some(limit) = parse_max(&text)
        {
            least = Some(least.map_or(limit, |least: f64| least.min(limit)));
        }
        match group.rfind('/') {
            Some(at) => group.truncate(at),
            None => return least,
        }
    }
}

fn parse_max(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let (quota, period) = (words.next()?, words.next()?);
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then_some(quota / period)
}

fn v1_quota() -> Option<f64> {
    let read = |name: &str| {
        fs::read_to_string(format!("/sys/fs/cgroup/cpu/{name}")).ok()?.trim().parse::<f64>().ok()
    };
    let (quota, period) = (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_read_as_cpus() {
        assert_eq!(parse_max("150000 100000\n"), Some(1.5));
        assert_eq!(parse_max("max 100000\n"), None);
        assert!(!start_mask().is_empty());
    }
}
