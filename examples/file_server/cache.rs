//! Open files of one core, by path.
//!
//! Teaches: what thread-per-core buys a cache: no lock, no atomic, `Rc` instead of `Arc`. It keeps
//! descriptors and facts, never contents: those are in the kernel's page cache already.
//! Promises: an entry is given out for at most `fresh_for` after it was looked up, then it must be looked up
//! anew; at most `capacity` entries, the least recently used goes first; a file that is being sent stays open
//! as long as someone holds its `Rc`, in the cache or not.
//! It is not the place where files are opened, and it has no clock: `now` is an argument.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::answer::Facts;

/// One open file.
#[derive(Debug)]
pub(crate) struct Entry<F> {
    pub(crate) file: F,
    pub(crate) facts: Rc<Facts>,
    /// When the path was looked up.
    pub(crate) checked_at: Instant,
}

/// The open files. The order of use is a list through `slots`, linked by index.
pub(crate) struct Cache<F> {
    fresh_for: Duration,
    capacity: usize,
    index: HashMap<Rc<[u8]>, usize>,
    slots: Vec<Slot<F>>,
    /// The most recently used slot.
    newest: usize,
    /// The least recently used slot.
    oldest: usize,
}

struct Slot<F> {
    path: Rc<[u8]>,
    entry: Rc<Entry<F>>,
    newer: usize,
    older: usize,
}

impl<F> Cache<F> {
    /// A cache that is off if `fresh_for` or `capacity` is zero.
    pub(crate) fn new(fresh_for: Duration, capacity: usize) -> Cache<F> {
        let capacity = if fresh_for.is_zero() { 0 } else { capacity };
        Cache { fresh_for, capacity, index: HashMap::new(), slots: Vec::new(), newest: NONE, oldest: NONE }
    }

    /// The open file for `path`, if it was looked up recently enough. A stale one is closed.
    pub(crate) fn find(&mut self, path: &[u8], now: Instant) -> Option<Rc<Entry<F>>> {
        let at = *self.index.get(path)?;
        if now.saturating_duration_since(self.slots[at].entry.checked_at) >= self.fresh_for {
            self.remove(at);
            return None;
        }
        self.unlink(at);
        self.link_newest(at);
        Some(Rc::clone(&self.slots[at].entry))
    }

    /// Keeps an open file, in place of an earlier one for the same path.
    pub(crate) fn insert(&mut self, path: &[u8], entry: Rc<Entry<F>>) {
        if self.capacity == 0 {
            return;
        }
        if let Some(&at) = self.index.get(path) {
            self.remove(at);
        } else if self.slots.len() == self.capacity {
            self.remove(self.oldest);
        }
        let path: Rc<[u8]> = Rc::from(path);
        let at = self.slots.len();
        self.slots.push(Slot { path: Rc::clone(&path), entry, newer: NONE, older: NONE });
        self.index.insert(path, at);
        self.link_newest(at);
        debug_assert!(self.slots.len() <= self.capacity && self.slots.len() == self.index.len());
    }

    /// Closes the file for `path`, which is not what it was when it was looked up.
    pub(crate) fn forget(&mut self, path: &[u8]) {
        if let Some(&at) = self.index.get(path) {
            self.remove(at);
        }
    }

    /// Closes what can no longer be given out, so that a deleted file's space is not held for ever.
    pub(crate) fn sweep(&mut self, now: Instant) {
        // Backwards: removing fills the gap with the last slot, which has been looked at.
        for at in (0..self.slots.len()).rev() {
            if now.saturating_duration_since(self.slots[at].entry.checked_at) >= self.fresh_for {
                self.remove(at);
            }
        }
    }

    /// Closes everything: descriptors are short.
    pub(crate) fn clear(&mut self) {
        self.index.clear();
        self.slots.clear();
        (self.newest, self.oldest) = (NONE, NONE);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn remove(&mut self, at: usize) {
        self.unlink(at);
        let slot = self.slots.swap_remove(at);
        self.index.remove(&slot.path);
        // The slot that was last is now at `at`; its neighbours and the index have to know.
        if at < self.slots.len() {
            let Slot { newer, older, .. } = self.slots[at];
            *self.link_from_newer(newer) = at;
            *self.link_from_older(older) = at;
            let path = Rc::clone(&self.slots[at].path);
            self.index.insert(path, at);
        }
    }

    fn unlink(&mut self, at: usize) {
        let Slot { newer, older, .. } = self.slots[at];
        *self.link_from_newer(newer) = older;
        *self.link_from_older(older) = newer;
    }

    fn link_newest(&mut self, at: usize) {
        let second = std::mem::replace(&mut self.newest, at);
        self.slots[at].newer = NONE;
        self.slots[at].older = second;
        *self.link_from_older(second) = at;
    }

    /// The link that leads from `newer`, or from the front of the list, to the next older slot.
    fn link_from_newer(&mut self, newer: usize) -> &mut usize {
        if newer == NONE { &mut self.newest } else { &mut self.slots[newer].older }
    }

    /// The link that leads from `older`, or from the end of the list, to the next newer slot.
    fn link_from_older(&mut self, older: usize) -> &mut usize {
        if older == NONE { &mut self.oldest } else { &mut self.slots[older].newer }
    }
}

/// No slot: the end of the list.
const NONE: usize = usize::MAX;

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::UNIX_EPOCH;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn entry(number: u32, checked_at: Instant) -> Rc<Entry<u32>> {
        Rc::new(Entry {
            file: number,
            facts: Rc::new(Facts::new(Path::new("x"), 1, UNIX_EPOCH, 1, UNIX_EPOCH)),
            checked_at,
        })
    }

    /// The files from most to least recently used, found by walking both ways.
    fn order(cache: &Cache<u32>) -> Vec<u32> {
        let mut forward = Vec::new();
        let mut at = cache.newest;
        while at != NONE {
            forward.push(cache.slots[at].entry.file);
            at = cache.slots[at].older;
        }
        let mut backward = Vec::new();
        at = cache.oldest;
        while at != NONE {
            backward.push(cache.slots[at].entry.file);
            at = cache.slots[at].newer;
        }
        backward.reverse();
        assert_eq!(forward, backward);
        assert!(cache.index.iter().all(|(path, &at)| *cache.slots[at].path == **path));
        assert_eq!((forward.len(), forward.len()), (cache.slots.len(), cache.index.len()));
        forward
    }

    #[test]
    fn an_open_file_is_found_until_it_is_stale_and_then_closed() {
        let start = Instant::now();
        let mut cache = Cache::new(SECOND, 8);
        let file = entry(1, start);
        cache.insert(b"a", Rc::clone(&file));
        assert_eq!(cache.find(b"b", start).map(|entry| entry.file), None);
        assert_eq!(cache.find(b"a", start + SECOND / 2).map(|entry| entry.file), Some(1));
        assert_eq!(cache.find(b"a", start + SECOND).map(|entry| entry.file), None);
        assert_eq!(Rc::strong_count(&file), 1);
        assert!(cache.is_empty());
    }

    #[test]
    fn zero_seconds_turn_it_off() {
        let start = Instant::now();
        let mut cache = Cache::new(Duration::ZERO, 8);
        cache.insert(b"a", entry(1, start));
        assert!(cache.find(b"a", start).is_none() && cache.is_empty());
    }

    #[test]
    fn a_file_that_is_forgotten_is_closed_and_no_other() {
        let start = Instant::now();
        let mut cache = Cache::new(SECOND, 8);
        for (path, number) in [(b"a", 1), (b"b", 2), (b"c", 3)] {
            cache.insert(path, entry(number, start));
        }
        cache.forget(b"b");
        cache.forget(b"b");
        assert_eq!(order(&cache), [3, 1]);
        assert!(cache.find(b"b", start).is_none() && cache.find(b"a", start).is_some());
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let start = Instant::now();
        let mut cache = Cache::new(SECOND, 3);
        for (path, number) in [(b"a", 1), (b"b", 2), (b"c", 3)] {
            cache.insert(path, entry(number, start));
        }
        assert_eq!(order(&cache), [3, 2, 1]);
        assert!(cache.find(b"a", start).is_some());
        assert_eq!(order(&cache), [1, 3, 2]);
        cache.insert(b"d", entry(4, start));
        assert_eq!(order(&cache), [4, 1, 3]);
        assert!(cache.find(b"b", start).is_none());
    }

    #[test]
    fn a_new_look_replaces_the_old_one() {
        let start = Instant::now();
        let mut cache = Cache::new(SECOND, 2);
        cache.insert(b"a", entry(1, start));
        cache.insert(b"b", entry(2, start));
        cache.insert(b"a", entry(3, start + SECOND));
        assert_eq!(order(&cache), [3, 2]);
        assert_eq!(cache.find(b"a", start + SECOND).map(|entry| entry.file), Some(3));
    }

    #[test]
    fn a_sweep_closes_what_is_stale_and_nothing_else() {
        let start = Instant::now();
        let mut cache = Cache::new(SECOND, 8);
        for number in 0..6_u32 {
            let age = if number % 2 == 0 { Duration::ZERO } else { SECOND };
            cache.insert(&number.to_le_bytes(), entry(number, start + age));
        }
        cache.sweep(start + SECOND);
        assert_eq!(order(&cache), [5, 3, 1]);
        cache.sweep(start + 2 * SECOND);
        assert!(cache.is_empty());
        assert_eq!(order(&cache), [0_u32; 0]);
    }

    #[test]
    fn a_file_in_use_outlives_its_place_in_the_cache() {
        let start = Instant::now();
        let mut cache = Cache::new(SECOND, 1);
        cache.insert(b"a", entry(1, start));
        let held = cache.find(b"a", start).expect("fresh");
        cache.insert(b"b", entry(2, start));
        cache.clear();
        assert_eq!((held.file, Rc::strong_count(&held)), (1, 1));
        assert!(cache.is_empty() && cache.find(b"b", start).is_none());
    }

    #[test]
    fn it_agrees_with_a_plain_list_over_many_random_steps() {
        let start = Instant::now();
        let mut cache = Cache::new(SECOND, 5);
        let mut model: Vec<(u8, u32)> = Vec::new();
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for step in 0..20_000_u32 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let path = (random >> 8) as u8 % 9;
            let known = model.iter().position(|&(other, _)| other == path);
            if random.is_multiple_of(2) {
                let found = cache.find(&[path], start).map(|entry| entry.file);
                assert_eq!(found, known.map(|at| model[at].1));
                if let Some(at) = known {
                    let used = model.remove(at);
                    model.insert(0, used);
                }
            } else {
                cache.insert(&[path], entry(step, start));
                known.map(|at| model.remove(at));
                model.insert(0, (path, step));
                model.truncate(5);
            }
            assert_eq!(order(&cache), model.iter().map(|&(_, file)| file).collect::<Vec<_>>());
        }
    }
}
