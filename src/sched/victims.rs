//! In which order a core looks at the others: near ones first, from a random start among equals.
//!
//! Owns the order and its randomness; pure but for the random number it keeps. Where the cores run and how
//! far apart CPUs are comes from outside (`sys::topology`, through the runtime).
#![forbid(unsafe_code)]

/// The other cores of a runtime, seen from one of them.
#[derive(Clone, Debug)]
pub(crate) struct Victims {
    /// Cores by distance, the nearest class first; none is empty.
    classes: Box<[Box<[usize]>]>,
    random: u64,
}

impl Victims {
    /// The cores other than `own`; `distances[core]` is how far core `core` is. Equal distances are a class.
    pub(crate) fn new<D: Ord + Copy>(own: usize, distances: &[D]) -> Self {
        let mut sorted: Vec<(D, usize)> = distances.iter().copied().zip(0..).collect();
        sorted.retain(|&(_, core)| core != own);
        sorted.sort_unstable();
        let classes = sorted.chunk_by(|one, other| one.0 == other.0);
        let classes = classes.map(|class| class.iter().map(|&(_, core)| core).collect()).collect();
        Self { classes, random: own as u64 + 1 }
    }

    /// All of them, once each.
    pub(crate) fn in_order(&mut self) -> impl Iterator<Item = usize> + Clone + use<'_> {
        let random = self.next_random();
        self.classes.iter().flat_map(move |class| {
            let start = random as usize % class.len();
            (0..class.len()).map(move |step| class[(start + step) % class.len()])
        })
    }

    /// Xorshift: which victim comes first needs to be spread, not unpredictable.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn near_cores_come_before_far_ones_and_each_comes_once() {
        // Core 2's sibling is 3; 0 and 1 share its cache; 4 to 6 are far.
        let mut victims = Victims::new(2, &[1, 1, 0, 0, 3, 3, 3]);
        for _ in 0..50 {
            let order: Vec<usize> = victims.in_order().collect();
            assert_eq!(order[0], 3);
            assert_eq!(order[1..3].iter().collect::<BTreeSet<_>>(), [&0, &1].into());
            assert_eq!(order[3..].iter().collect::<BTreeSet<_>>(), [&4, &5, &6].into());
        }
    }

    #[test]
    fn every_core_of_a_class_is_first_at_times() {
        let mut victims = Victims::new(0, &[0; 5]);
        let first: BTreeSet<usize> = (0..100).filter_map(|_| victims.in_order().next()).collect();
        assert_eq!(first, [1, 2, 3, 4].into());
    }

    #[test]
    fn a_lone_core_has_no_victims() {
        assert_eq!(Victims::new(0, &[0]).in_order().count(), 0);
    }
}
