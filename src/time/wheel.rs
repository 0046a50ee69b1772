//! The timer wheel: which of a core's timers are due, in constant time per timer.
//!
//! Owns the timers of one core as plain data. Pure: it reads no clock and calls nobody; `now` and deadlines
//! are ticks that its caller counts. Promises that a timer comes out in the first [`Wheel::advance`] at or
//! after its deadline that has budget left, earlier deadlines first, those of one tick as they were set (but
//! for deadlines that were beyond [`HORIZON`] then); that `insert` and `remove` take constant time and, once
//! the wheel has been as full since it was last repacked, no memory; and that [`Wheel::next_due`] names a
//! tick at which a timer is due, not one at which the wheel would like to tidy up. It is not shared between
//! threads.
//!
//! # Shape
//! Six levels of 64 notches, like the digits of a clock in base 64. A timer lies on the level of the
//! highest digit in which its deadline differs from `now`, in the notch its deadline has for that digit:
//!
//! ```text
//!  level 0   1 tick per notch      ├─┬─┬─┬ … 64 … ┤
//!  level 1   64 ticks per notch    ├───┬───┬── … ─┤
//!    …
//!  level 5   2^30 ticks per notch  ├───────┬─ … ──┤   about two years in all
//! ```
//!
//! So a notch in use is always ahead of `now`'s own digit on that level, and everything on a level comes
//! before everything on the level above. When `now` reaches the first tick of a notch, its timers move down
//! to where they differ from `now` then, or are due. A timer moves at most five times. The top level goes
//! round: its notches behind `now`'s digit mean the next round. Deadlines further away than [`HORIZON`] lie
//! in the last notch before `now`'s digit comes again and are put back from there.
//!
//! `now`'s own notch on a level above the lowest is in use only while it is being emptied, which a budget may
//! interrupt; until it is empty nothing comes out of the levels below. What is set meanwhile for a tick of
//! that notch joins its end: further down it would lie in front of what was set before and has yet to move.
//!
//! # Memory
//! Timers lie in one vector, and a key is a place in it and the generation of its timer: each one there has
//! the next. The vector is as long as the wheel has ever been full. When few timers are left the wheel can be
//! [repacked](Wheel::repack), which moves them and changes their keys: all places then begin in a generation
//! that none has had before. A wheel that has many keeps its memory. What a repacking leaves is
//! [given back](Wheel::give_back) in pieces: a million timers take 32 MB, and to look at them all, and have
//! the kernel take their pages, is some milliseconds. When to do either is its owner's to say.
//!
//! # Rejected
//! - A binary heap: `log n` per operation, and cancelling (what most timeouts do) needs an index or a
//!   tombstone.
//! - Waking at a notch's first tick, as wheels usually do: each timer would wake an idle core up to five
//!   times in vain. Each notch remembers its earliest deadline instead; `advance` catches up on the moves
//!   it slept through.
#![forbid(unsafe_code)]

/// Levels of the wheel.
const LEVELS: usize = 6;
/// Notches of a level: as many as a bitmap word has bits.
const NOTCHES: usize = 64;
/// Ticks are counted in digits of this many bits.
const DIGIT_BITS: u32 = 6;
/// How far ahead a timer can lie without being put back: 63 of the 64 notches of the top level, so that a
/// notch never holds timers of this round and the next.
const HORIZON: u64 = 63 << (DIGIT_BITS * (LEVELS as u32 - 1));
/// Entries that a wheel may have for nothing: 128 KiB.
const KEPT: usize = 4096;
/// Timers that are moved for memory, at most: some 50 µs.
const MOVED: usize = 1024;
/// Entries that are given back at a time: half a megabyte, some 130 µs (all of a million at once: 8 ms).
const PIECE: usize = 16 * 1024;
/// No entry.
const NIL: u32 = u32::MAX;

const _: () = assert!(NOTCHES == 1 << DIGIT_BITS && NOTCHES == u64::BITS as usize);

/// Names a timer in the wheel. Of no use once the timer has come out, or has been given another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The key as one word, never `u64::MAX`.
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The key that [`Key::to_bits`] made this word of.
    pub(super) fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// The timers of one core.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    /// All timers due before this tick have come out.
    now: u64,
    /// The level of which `now`'s own notch is being emptied; 0 for none, and for the lowest.
    emptying: usize,
    len: usize,
    entries: Vec<Entry<T>>,
    /// What the last repacking has left: no timers.
    left: Vec<Entry<T>>,
    /// The first unused entry; they are chained by `next`.
    unused: u32,
    /// The generation in which entries begin: later than those of all entries of before the last repacking.
    first: u32,
    /// The latest generation that an entry has come to since.
    latest: u32,
    levels: Box<[Level; LEVELS]>,
}

/// A timer, or an unused entry (no value).
#[derive(Debug)]
struct Entry<T> {
    deadline: u64,
    next: u32,
    previous: u32,
    generation: u32,
    level: u8,
    notch: u8,
    value: Option<T>,
}

#[derive(Debug)]
struct Level {
    /// One bit per notch that holds timers.
    occupied: u64,
    notches: [Notch; NOTCHES],
}

/// A list of entries, oldest first.
#[derive(Clone, Copy, Debug)]
struct Notch {
    first: u32,
    last: u32,
    /// No timer here is due before this tick. A removal leaves it as it is.
    earliest: u64,
}

const EMPTY: Notch = Notch { first: NIL, last: NIL, earliest: u64::MAX };

/// A notch and the tick at which `now` reaches it.
#[derive(Clone, Copy)]
struct Ahead {
    tick: u64,
    level: usize,
    notch: usize,
}

impl<T> Wheel<T> {
    /// An empty wheel at tick 0.
    pub(super) fn new() -> Self {
        let levels = Box::new([const { Level { occupied: 0, notches: [EMPTY; NOTCHES] } }; LEVELS]);
        let (entries, left) = (Vec::new(), Vec::new());
        Self { now: 0, emptying: 0, len: 0, entries, left, unused: NIL, first: 0, latest: 0, levels }
    }

    /// Adds a timer. If its deadline is not ahead of the wheel, the next `advance` brings it out.
    pub(super) fn insert(&mut self, deadline: u64, value: T) -> Key {
        let index = self.allocate(deadline, value);
        self.place(index);
        self.len += 1;
        Key { index, generation: self.entries[index as usize].generation }
    }

    /// Takes a timer out before it is due; nothing if it has come out already.
    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get(key.index as usize)?;
        if entry.generation != key.generation || entry.value.is_none() {
            return None;
        }
        self.unlink(key.index);
        Some(self.release(key.index))
    }

    /// Moves on to tick `now` and adds all timers due by then to `expired`, earlier deadlines first.
    ///
    /// Touches at most `budget` timers. If more are due, [`Wheel::next_due`] keeps saying so.
    pub(super) fn advance(&mut self, now: u64, mut budget: usize, expired: &mut Vec<T>) {
        while let Some(ahead) = self.next_notch()
            && ahead.tick <= now
        {
            debug_assert!(ahead.tick >= self.now);
            if budget == 0 {
                return;
            }
            self.now = ahead.tick;
            budget = self.empty(ahead, budget, expired);
        }
        if now >= self.now {
            // Nothing is left that `now` has reached.
            (self.now, self.emptying) = (now, 0);
        }
    }

    /// The tick by which to advance again: no timer is due before it. Nothing if there are no timers.
    ///
    /// Exact, except that a removed timer may still be counted (once), and for deadlines beyond [`HORIZON`].
    pub(super) fn next_due(&self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let mut due = u64::MAX;
        for level in 0..LEVELS {
            if let Some(Ahead { notch, .. }) = self.first_on(level) {
                due = due.min(self.levels[level].notches[notch].earliest);
            }
        }
        Some(due)
    }

    /// The tick that it has come to.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// How many timers are in the wheel.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is memory for many more timers than there are.
    pub(super) fn has_surplus(&self) -> bool {
        self.entries.capacity() > KEPT && self.len <= MOVED
    }

    /// Moves the timers into memory for not many more, and tells `moved` the new key of each.
    pub(super) fn repack(&mut self, mut moved: impl FnMut(&T, Key)) {
        let entries = Vec::with_capacity(self.len.max(MOVED));
        let mut old = std::mem::replace(&mut self.entries, entries);
        self.unused = NIL;
        for notch in self.levels.iter_mut().flat_map(|level| &mut level.notches) {
            let (mut at, mut previous) = (notch.first, NIL);
            while at != NIL {
                let index = self.entries.len() as u32;
                let entry = &mut old[at as usize];
                let value = entry.value.take().expect("only timers lie in notches");
                at = entry.next;
                let next = if at == NIL { NIL } else { index + 1 };
                self.entries.push(Entry { next, previous, value: Some(value), ..*entry });
                if previous == NIL {
                    notch.first = index;
                }
                (previous, notch.last) = (index, index);
            }
        }
        self.left = old;
        self.first = self.latest.wrapping_add(1);
        self.latest = self.first;
        for (index, entry) in self.entries.iter_mut().enumerate() {
            entry.generation = self.first;
            let value = entry.value.as_ref().expect("moved just now");
            moved(value, Key { index: index as u32, generation: self.first });
        }
        self.give_back();
    }

    /// Whether a repacking has left memory that is not given back yet.
    pub(super) fn has_left(&self) -> bool {
        self.left.capacity() > 0
    }

    /// Gives a piece of that back.
    pub(super) fn give_back(&mut self) {
        self.left.truncate(self.left.len().saturating_sub(PIECE));
        self.left.shrink_to_fit();
    }

    /// All timers, in no order, due or not.
    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.entries.into_iter().filter_map(|entry| entry.value)
    }

    /// The notch that `now` reaches first.
    fn next_notch(&self) -> Option<Ahead> {
        if self.len == 0 {
            return None;
        }
        // Of two that `now` has reached, the one on the higher level was being emptied when the budget ran
        // out: what is in it was set before what is on the lower one.
        let first = |one: Ahead, other: Ahead| if other.tick <= one.tick { other } else { one };
        (0..LEVELS).filter_map(|level| self.first_on(level)).reduce(first)
    }

    /// The notch of one level that `now` reaches first.
    fn first_on(&self, level: usize) -> Option<Ahead> {
        let occupied = self.levels[level].occupied;
        if occupied == 0 {
            return None;
        }
        let shift = DIGIT_BITS * level as u32;
        let here = self.now >> shift;
        let digit = here as usize % NOTCHES;
        let steps = occupied.rotate_right(digit as u32).trailing_zeros() as usize;
        let tick = if steps == 0 { self.now } else { (here + steps as u64) << shift };
        Some(Ahead { tick, level, notch: (digit + steps) % NOTCHES })
    }

    /// Takes timers out of a notch that `now` has reached: those due go to `expired`, the others move down.
    /// Returns what is left of the budget.
    fn empty(&mut self, at: Ahead, mut budget: usize, expired: &mut Vec<T>) -> usize {
        // What moves must not come back.
        self.emptying = 0;
        while budget > 0 {
            let index = self.levels[at.level].notches[at.notch].first;
            if index == NIL {
                break;
            }
            budget -= 1;
            self.unlink(index);
            if self.entries[index as usize].deadline <= self.now {
                expired.push(self.release(index));
            } else {
                self.place(index);
            }
        }
        if self.levels[at.level].notches[at.notch].first != NIL {
            self.emptying = at.level;
        }
        budget
    }

    /// Links an entry into the notch that its deadline has as seen from `now`, or into that being emptied.
    fn place(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        let reach = entry.deadline.clamp(self.now, self.now.saturating_add(HORIZON));
        let level = level_of(self.now, reach, self.emptying);
        let digit = (reach >> (DIGIT_BITS * level as u32)) as usize % NOTCHES;
        (entry.level, entry.notch) = (level as u8, digit as u8);
        let level = &mut self.levels[level];
        let notch = &mut level.notches[digit];
        (entry.previous, entry.next) = (notch.last, NIL);
        let before = std::mem::replace(&mut notch.last, index);
        notch.earliest = notch.earliest.min(reach);
        level.occupied |= 1 << digit;
        match before {
            NIL => notch.first = index,
            before => self.entries[before as usize].next = index,
        }
    }

    /// Takes an entry out of its notch.
    fn unlink(&mut self, index: u32) {
        let entry = &self.entries[index as usize];
        let (next, previous, digit) = (entry.next, entry.previous, entry.notch as usize);
        let level = &mut self.levels[entry.level as usize];
        let notch = &mut level.notches[digit];
        match previous {
            NIL => notch.first = next,
            previous => self.entries[previous as usize].next = next,
        }
        match next {
            NIL => notch.last = previous,
            next => self.entries[next as usize].previous = previous,
        }
        if notch.first == NIL {
            *notch = EMPTY;
            level.occupied &= !(1 << digit);
        }
    }

    /// Takes an unused entry, or makes one.
    fn allocate(&mut self, deadline: u64, value: T) -> u32 {
        let index = self.unused;
        if index == NIL {
            let index = u32::try_from(self.entries.len()).ok().filter(|index| *index != NIL);
            let index = index.expect("a core holds fewer than four billion timers");
            let generation = self.first;
            let entry =
                Entry { deadline, next: NIL, previous: NIL, generation, level: 0, notch: 0, value: None };
            self.entries.push(Entry { value: Some(value), ..entry });
            return index;
        }
        let entry = &mut self.entries[index as usize];
        debug_assert!(entry.value.is_none());
        self.unused = entry.next;
        (entry.deadline, entry.value) = (deadline, Some(value));
        index
    }

    /// Makes an entry that is in no notch unused.
    fn release(&mut self, index: u32) -> T {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        self.latest = self.latest.max(entry.generation);
        entry.next = std::mem::replace(&mut self.unused, index);
        self.len -= 1;
        entry.value.take().expect("only a timer is released")
    }
}

/// The level of the highest digit in which the two differ, `lowest` at least; all digits above the top count
/// as the top one.
fn level_of(now: u64, reach: u64, lowest: usize) -> usize {
    let highest_bit = ((now ^ reach) | 1).ilog2();
    ((highest_bit / DIGIT_BITS) as usize).max(lowest).min(LEVELS - 1)
}

#[cfg(test)]
mod tests;
