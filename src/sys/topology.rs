//! How far apart two CPUs are: what they share, as the kernel tells it under `/sys`.
//!
//! Owns the reading of `/sys/devices/system/cpu` (`Documentation/admin-guide/cputopology.rst`, and `cache/`
//! and `node*` beside it). What is not there counts as not shared. It decides nothing.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

/// What two CPUs share, nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Distance {
    /// One physical core (SMT).
    Sibling,
    /// The last-level cache.
    Cache,
    /// The memory node.
    Node,
    /// Nothing but the machine.
    Far,
}

/// The neighbours of one CPU.
#[derive(Clone, Debug, Default)]
pub(crate) struct Neighbours {
    siblings: Vec<usize>,
    cache: Vec<usize>,
    node: Vec<usize>,
}

impl Neighbours {
    /// Reads those of `cpu`.
    pub(crate) fn of(cpu: usize) -> Self {
        Self::under(Path::new("/sys/devices/system/cpu"), cpu)
    }

    fn under(root: &Path, cpu: usize) -> Self {
        let cpu = root.join(format!("cpu{cpu}"));
        Self {
            siblings: list(&cpu.join("topology/thread_siblings_list")),
            cache: last_cache(&cpu.join("cache")),
            node: node(&cpu),
        }
    }

    /// How far `cpu` is from the one whose neighbours these are.
    pub(crate) fn distance_to(&self, cpu: usize) -> Distance {
        if self.siblings.contains(&cpu) {
            Distance::Sibling
        } else if self.cache.contains(&cpu) {
            Distance::Cache
        } else if self.node.contains(&cpu) {
            Distance::Node
        } else {
            Distance::Far
        }
    }
}

/// The CPUs that share the cache of the highest level, if that is at least the third: a shared L2 says less
/// than one would think, and a private one nothing.
fn last_cache(caches: &Path) -> Vec<usize> {
    let indexes = fs::read_dir(caches).into_iter().flatten().flatten().map(|entry| entry.path());
    let leveled = indexes.filter_map(|index| {
        let level: u32 = fs::read_to_string(index.join("level")).ok()?.trim().parse().ok()?;
        Some((level, index))
    });
    let last = leveled.filter(|(level, _)| *level >= 3).max_by_key(|(level, _)| *level);
    last.map_or_else(Vec::new, |(_, index)| list(&index.join("shared_cpu_list")))
}

/// The CPUs of the memory node that `cpu` has a link to.
fn node(cpu: &Path) -> Vec<usize> {
    let is_node = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.strip_prefix("node")).is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let mut entries = fs::read_dir(cpu).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.find(is_node).map_or_else(Vec::new, |node| list(&node.join("cpulist")))
}

fn list(file: &Path) -> Vec<usize> {
    fs::read_to_string(file).map_or_else(|_| Vec::new(), |text| parse_list(text.trim()))
}

/// Reads a list like `0-2,7`.
fn parse_list(text: &str) -> Vec<usize> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            cpus.extend(first..=last);
        }
    }
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse_list("0-2,7"), [0, 1, 2, 7]);
        assert_eq!(parse_list("3"), [3]);
        assert!(parse_list("").is_empty());
    }

    #[test]
    fn what_is_shared_first_decides_the_distance() {
        let neighbours = Neighbours { siblings: vec![0, 4], cache: vec![0, 1, 4, 5], node: (0..8).collect() };
        let distances = [4, 5, 7, 8].map(|cpu| neighbours.distance_to(cpu));
        assert_eq!(distances, [Distance::Sibling, Distance::Cache, Distance::Node, Distance::Far]);
    }

    #[test]
    fn this_machine_tells_that_a_cpu_is_its_own_sibling() {
        let cpu = crate::sys::cpu::start_mask()[0];
        assert_eq!(Neighbours::of(cpu).distance_to(cpu), Distance::Sibling);
    }

    #[test]
    fn a_machine_that_tells_nothing_has_all_far_apart() {
        let nothing = Neighbours::under(Path::new("/nonexistent"), 0);
        assert_eq!(nothing.distance_to(1), Distance::Far);
    }
}
