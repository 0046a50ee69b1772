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
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let (v1, v2) = groups_of(&groups);
    let of_v2 = least_above(v2, |group| parse_max(&read(&format!("/sys/fs/cgroup{group}/cpu.max"))?));
    let of_v1 = least_above(v1, |group| {
        let read = |name| read(&format!("/sys/fs/cgroup/cpu{group}/{name}"));
        parse_pair(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?)
    });
    of_v1.into_iter().chain(of_v2).min_by(f64::total_cmp)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The group of v1's controller `cpu` and that of v2, by the lines of `/proc/self/cgroup`
/// (`ID:CONTROLLERS:PATH`, cgroups(7)); the topmost one, which a container sees as its own, where there is no
/// such line.
fn groups_of(lines: &str) -> (&str, &str) {
    let (mut v1, mut v2) = ("/", "/");
    for line in lines.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        match (parts.next(), parts.next()) {
            (Some(""), Some(path)) => v2 = path,
            (Some(controllers), Some(path)) if controllers.split(',').any(|name| name == "cpu") => v1 = path,
            _ => {}
        }
    }
    (v1, v2)
}

/// The least that `limit` says of `group` and of all above it, for they hold too.
fn least_above(group: &str, limit: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    let mut group = group.trim_end_matches('/');
    let mut least = None;
    loop {
        least = limit(group).into_iter().chain(least).min_by(f64::total_cmp);
        match group.rfind('/') {
            Some(at) => group = &group[..at],
            None => return least,
        }
    }
}

fn parse_max(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    parse_pair(words.next()?, words.next()?)
}

/// What is no number, or not above zero (v1: -1), is no limit.
fn parse_pair(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (f64, f64) = (quota.trim().parse().ok()?, period.trim().parse().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_read_as_cpus() {
        assert_eq!(parse_max("150000 100000\n"), Some(1.5));
        assert_eq!(parse_max("max 100000\n"), None);
        assert_eq!(parse_pair("200000\n", "100000\n"), Some(2.0));
        assert_eq!(parse_pair("-1\n", "100000\n"), None);
        assert!(!start_mask().is_empty());
    }

    #[test]
    fn the_least_quota_of_a_group_and_those_above_it_holds() {
        let lines = "5:cpuset:/set\n4:cpu,cpuacct:/system.slice/a:b.service\n0::/unified\n";
        assert_eq!(groups_of(lines), ("/system.slice/a:b.service", "/unified"));
        assert_eq!(groups_of("0::/\n"), ("/", "/"));
        let limits = [("/a/b", 3.0), ("/a", 2.0), ("", 4.0)];
        let limit = |group: &str| limits.iter().find(|(name, _)| *name == group).map(|(_, limit)| *limit);
        assert_eq!(least_above("/a/b", limit), Some(2.0));
        assert_eq!(least_above("/", limit), Some(4.0));
        assert_eq!(least_above("/a/b", |_| None), None);
    }
}
