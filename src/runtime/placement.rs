//! Which core goes to which CPU: pure, from the mask, the quota and the wish.
#![forbid(unsafe_code)]

use super::Pin;

/// Where the cores of a runtime run: a CPU each, or wherever the kernel puts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// One entry per core.
    pub(crate) cores: Vec<Option<usize>>,
    /// Why cores are pinned or not.
    pub(crate) reason: &'static str,
}

/// How many CPUs' worth of work the process may do at once: its mask, or its quota if that is less; at least
/// one.
pub(crate) fn cpus(mask: &[usize], quota: Option<f64>) -> usize {
    let cpus = mask.len().max(1);
    quota.map_or(cpus, |quota| (quota.floor() as usize).clamp(1, cpus))
}

/// Places `wanted` cores (default: the smaller of mask and quota, at least one) on the CPUs of `mask`.
pub(crate) fn place(mask: &[usize], quota: Option<f64>, wanted: Option<usize>, pin: Pin) -> Placement {
    let cpus = mask.len().max(1);
    let count = wanted.unwrap_or_else(|| self::cpus(mask, quota)).max(1);
    let throttled = quota.is_some_and(|quota| quota < cpus as f64);
    let (pinned, reason) = match pin {
        Pin::Off => (false, "pinning is off"),
        Pin::Each if count > cpus => (false, "there are more cores than CPUs"),
        Pin::Each => (true, "each core was asked to be pinned"),
        Pin::Auto if throttled => (false, "a CPU quota below the mask lets the kernel choose better"),
        Pin::Auto if count > cpus => (false, "there are more cores than CPUs"),
        // Two such runtimes, of one process or of two, have room beside each other. Pinned, both would have
        // the first CPUs for ever, and the others would idle.
        Pin::Auto if count * 2 <= cpus => (false, "the cores take half of the CPUs or less"),
        Pin::Auto => (true, "the process may use its whole mask"),
    };
    let cores = (0..count).map(|core| if pinned { mask.get(core).copied() } else { None }).collect();
    Placement { cores, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_a_pinned_core_for_each_cpu_of_the_mask() {
        assert_eq!(place(&[2, 5], None, None, Pin::Auto).cores, [Some(2), Some(5)]);
    }

    #[test]
    fn a_runtime_that_leaves_room_for_another_is_pinned_only_if_asked_to() {
        assert_eq!(place(&[2, 5], None, Some(1), Pin::Auto).cores, [None]);
        assert_eq!(place(&[2, 5, 6], None, Some(2), Pin::Auto).cores, [Some(2), Some(5)]);
        assert_eq!(place(&[2, 5], None, Some(1), Pin::Each).cores, [Some(2)]);
        assert_eq!(place(&[2], None, Some(1), Pin::Auto).cores, [Some(2)]);
    }

    #[test]
    fn a_quota_limits_the_default_and_stops_pinning() {
        let placement = place(&[0, 1, 2, 3], Some(2.5), None, Pin::Auto);
        assert_eq!(placement.cores, [None, None]);
        assert_eq!(place(&[0, 1, 2, 3], Some(0.3), None, Pin::Auto).cores, [None]);
        assert_eq!(place(&[0, 1], Some(0.5), Some(2), Pin::Each).cores, [Some(0), Some(1)]);
    }

    #[test]
    fn more_cores_than_cpus_are_not_pinned() {
        assert_eq!(place(&[0], None, Some(3), Pin::Each).cores, [None, None, None]);
        assert_eq!(place(&[], None, None, Pin::Auto).cores.len(), 1);
    }
}
