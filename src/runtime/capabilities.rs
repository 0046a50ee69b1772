//! What a runtime would find and use here, as data.
//!
//! Owns [`Capabilities`] and the look-round that fills it: it makes the rings that [`Builder::build`] would
//! make, tries what a kernel may lack, and lets go of everything. It starts no core, and it judges nothing
//! but by trying.
#![forbid(unsafe_code)]

use super::builder::affordable;
use super::error::{StartError, THREAD, io_uring_disabled, is_filtered, kernel};
use super::placement::place;
use super::{Builder, Pin};
use crate::ring::backend::Backend;
use crate::ring::probe::{self, Features};
use crate::ring::setup::Sizes;
use crate::ring::uring::Uring;
use crate::sys::sqe::opcode;
use crate::sys::{cpu, fork, limits};
use std::thread;

/// What this kernel, the limits of the process and its container allow, and what a runtime would use of it.
///
/// Made by [`Builder::capabilities`]; the `doctor` example prints it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Capabilities {
    /// The release of the running kernel.
    pub kernel: String,
    /// `kernel.io_uring_disabled` (Linux 6.6), if there is one: 0 allows io_uring to all, 1 to a group, 2 to
    /// nobody.
    pub io_uring_disabled: Option<u32>,
    /// Whether a seccomp filter looks at this thread's system calls.
    pub seccomp: bool,
    /// Bytes of memory that all programs of the user together may lock; `None` if this process has no such
    /// limit.
    pub locked_memory: Option<u64>,
    /// How many descriptors the process may have open.
    pub open_files: u64,
    /// The CPUs the process may use.
    pub cpus: Vec<usize>,
    /// How many CPUs' worth of time its control group allows, if it limits that.
    pub cpu_quota: Option<f64>,
    /// The CPU that each core would be pinned to.
    pub cores: Vec<Option<usize>>,
    /// Why they would be pinned or not.
    pub pinning: &'static str,
    /// The rings of the cores, or why there can be none.
    pub rings: Result<Rings, StartError>,
}

/// What the rings of a runtime would be like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rings {
    /// What was asked for.
    pub wanted: RingSize,
    /// What each core would get: less than wanted if locked memory is short.
    pub reached: Vec<RingSize>,
    /// How many io_uring operations ringwork uses; the kernel has them all.
    pub operations: usize,
    /// Features of the kernel, oldest first, and whether they are here. What could not be tried is left out.
    pub features: Vec<Feature>,
}

/// Entries of the two queues of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingSize {
    /// Entries of the submission queue.
    pub submissions: u32,
    /// Entries of the completion queue.
    pub completions: u32,
}

/// A feature of io_uring that ringwork uses where the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Feature {
    /// What it is called.
    pub name: &'static str,
    /// The Linux release that brought it.
    pub since: &'static str,
    /// Whether it works here.
    pub present: bool,
    /// What is different without it.
    pub without: &'static str,
}

impl Builder {
    /// Finds out what [`build`](Builder::build) would find and use. Makes rings and lets go of them; starts
    /// no core.
    ///
    /// ```
    /// use ringwork::runtime::Builder;
    ///
    /// let found = Builder::new().cores(1).capabilities();
    /// let rings = found.rings.expect("a runtime can start here");
    /// assert_eq!(rings.reached.len(), 1);
    /// ```
    pub fn capabilities(&self) -> Capabilities {
        let (cores, pin, sizes) = self.wishes();
        look_round(cores, pin, sizes)
    }
}

fn look_round(cores: Option<usize>, pin: Pin, sizes: Sizes) -> Capabilities {
    let cpus = cpu::start_mask().to_vec();
    let cpu_quota = cpu::quota();
    let placement = place(&cpus, cpu_quota, cores, pin);
    let rings = match () {
        () if cpus.is_empty() => Err(StartError::NoCpu),
        () if fork::is_child() => Err(StartError::Forked),
        () => rings(sizes, placement.cores.len()),
    };
    Capabilities {
        kernel: kernel(),
        io_uring_disabled: io_uring_disabled(),
        seccomp: is_filtered(),
        locked_memory: limits::lockable_memory(),
        open_files: limits::open_files(),
        cpus,
        cpu_quota,
        cores: placement.cores,
        pinning: placement.reason,
        rings,
    }
}

/// Makes all rings at once, as a runtime would have them, on a thread of their own: what a thread registers
/// with its rings goes when it ends.
fn rings(wanted: Sizes, cores: usize) -> Result<Rings, StartError> {
    let name = "ringwork-probe".to_owned();
    let probing = thread::Builder::new().name(name).spawn(move || try_rings(wanted, cores));
    let probing = probing.map_err(|error| StartError::explain(THREAD, error))?;
    probing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn try_rings(wanted: Sizes, cores: usize) -> Result<Rings, StartError> {
    let sizes = affordable(wanted, cores);
    let make = |_| Uring::new(sizes).map_err(|error| StartError::no_ring(error, cores));
    let mut rings = (0..cores).map(make).collect::<Result<Vec<_>, _>>()?;
    let first = rings.first_mut().expect("a runtime has at least one core");
    probe::check(first).map_err(StartError::unfit)?;
    let tried = probe::features(first);
    let features = describe(first, tried);
    let reached = rings.iter().map(|ring| size(ring.sizes())).collect();
    let wanted = size((wanted.sq, wanted.cq));
    Ok(Rings { wanted, reached, operations: opcode::USED.len(), features })
}

fn size((submissions, completions): (u32, u32)) -> RingSize {
    RingSize { submissions, completions }
}

/// Oldest first, without what could not be tried. A ring that could be made has what set-up insists on.
fn describe(ring: &Uring, tried: Features) -> Vec<Feature> {
    const NO_START: &str = "no runtime starts";
    let (taskrun_flag, no_sqarray) = (ring.flags().taskrun_flag, ring.flags().no_sqarray);
    let all = [
        ("SUBMIT_ALL", "5.18", Some(true), NO_START),
        ("registered ring", "5.18", Some(ring.is_registered()), "each enter looks the ring's descriptor up"),
        ("provided buffers", "5.19", Some(tried.provided_buffers), "a waiting receive holds a buffer"),
        ("multishot accept", "5.19", tried.multishot_accept, "listeners fail"),
        ("TASKRUN_FLAG", "5.19", Some(taskrun_flag), "a busy core makes a system call in every turn"),
        ("multishot receive", "6.0", tried.multishot_recv, "pooled receives fail"),
        ("SINGLE_ISSUER", "6.0", Some(true), NO_START),
        ("DEFER_TASKRUN", "6.1", Some(true), NO_START),
        ("NO_SQARRAY", "6.6", Some(no_sqarray), "one more look-up for each submission"),
        ("NO_IOWAIT", "6.15", Some(ring.waits_idle()), "idle cores count as waiting for a disk"),
        ("ends behind bytes", "7.0", tried.ends_told, "a system call for each message"),
    ];
    let feature = |(name, since, present, without)| Some(Feature { name, since, present: present?, without });
    all.into_iter().filter_map(feature).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_stands_has_one_core_here_as_in_a_runtime() {
        assert_eq!(Builder::new().start_paused(true).capabilities().cores.len(), 1);
    }

    #[test]
    fn what_is_found_is_what_build_uses() {
        let builder = Builder::new().cores(3).ring_entries(64);
        let found = builder.capabilities();
        assert_eq!(found.cores.len(), 3);
        let rings = found.rings.unwrap();
        assert_eq!(rings.wanted, RingSize { submissions: 64, completions: 256 });
        assert_eq!(rings.reached.len(), 3);
        assert!(rings.reached.iter().all(|reached| reached.submissions <= 64));
        assert!(
            rings.features.iter().all(|feature| feature.present || feature.without != "no runtime starts")
        );
    }
}
