//! Tests of the wheel: against an ordered map that says what it should do, and one by one.
#![forbid(unsafe_code)]

use super::*;
use std::collections::BTreeMap;

/// A small generator of numbers that look random and are the same in each run.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A distance whose order of magnitude is even: digits, levels and rounds are all crossed.
    fn distance(&mut self) -> u64 {
        let bits = self.below(40);
        self.below(1 << bits)
    }
}

fn expired(wheel: &mut Wheel<u64>, now: u64) -> Vec<u64> {
    let mut out = Vec::new();
    wheel.advance(now, usize::MAX, &mut out);
    out
}

/// The wheel beside an ordered map that says what it should do.
struct Pair {
    wheel: Wheel<u64>,
    model: BTreeMap<(u64, u64), Key>,
    now: u64,
}

impl Pair {
    fn advance(&mut self, now: u64, budget: usize) {
        let mut out = Vec::new();
        loop {
            let before = out.len();
            self.wheel.advance(now, budget, &mut out);
            assert!(out.len() - before <= budget);
            if self.wheel.next_due().is_none_or(|due| due > now) {
                break;
            }
        }
        self.now = now;
        let later = self.model.split_off(&(now + 1, 0));
        let due: Vec<_> = std::mem::replace(&mut self.model, later).into_keys().collect();
        let deadlines: BTreeMap<_, _> = due.iter().map(|(deadline, id)| (*id, *deadline)).collect();
        assert!(out.iter().map(|id| deadlines[id]).is_sorted(), "earlier deadlines first");
        out.sort_unstable();
        assert_eq!(out, deadlines.into_keys().collect::<Vec<_>>());
    }

    fn check(&self) {
        assert_eq!(self.wheel.len(), self.model.len());
        let first = self.model.keys().next().map(|(deadline, _)| *deadline);
        assert_eq!(self.wheel.next_due().is_none(), first.is_none());
        if let (Some(due), Some(first)) = (self.wheel.next_due(), first) {
            assert!(due > self.now && due <= first, "{} < {due} <= {first}", self.now);
        }
    }
}

#[test]
fn the_wheel_does_what_an_ordered_map_does() {
    for seed in 1..=40 {
        let mut random = Xorshift(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        let mut pair = Pair { wheel: Wheel::new(), model: BTreeMap::new(), now: 0 };
        let mut stale = Vec::new();
        for id in 0..600 {
            let deadline = pair.now + 1 + random.distance();
            let key = pair.wheel.insert(deadline, id);
            pair.model.insert((deadline, id), key);
            if random.below(3) == 0 {
                let at = random.below(pair.model.len() as u64) as usize;
                let (&(deadline, id), &key) = pair.model.iter().nth(at).expect("in range");
                assert_eq!(pair.wheel.remove(key), Some(id));
                pair.model.remove(&(deadline, id));
                stale.push(key);
            }
            if random.below(4) == 0 {
                let budget = [1, 2, 7, usize::MAX][random.below(4) as usize];
                pair.advance(pair.now + random.distance() / 8, budget);
            }
            pair.check();
        }
        assert!(stale.into_iter().all(|key| {
            let used_again = pair.model.values().any(|live| *live == key);
            used_again || pair.wheel.remove(key).is_none()
        }));
        pair.advance(pair.now + (1 << 41), usize::MAX);
        assert_eq!(pair.wheel.len(), 0);
    }
}

#[test]
fn a_timer_is_never_early_and_due_at_its_tick() {
    for deadline in
        [1, 63, 64, 65, 4095, 4096, 262_144, 1 << 30, HORIZON, HORIZON + 1, (1 << 36) + 5, 1 << 40]
    {
        let mut wheel = Wheel::new();
        wheel.insert(deadline, deadline);
        assert!(expired(&mut wheel, deadline - 1).is_empty(), "{deadline}");
        assert_eq!(expired(&mut wheel, deadline), [deadline]);
    }
}

#[test]
fn nobody_is_woken_to_tidy_up() {
    let mut wheel = Wheel::new();
    for deadline in [3_600_000, 70, 5_000] {
        wheel.insert(deadline, deadline);
    }
    for deadline in [70, 5_000, 3_600_000] {
        assert_eq!(wheel.next_due(), Some(deadline));
        assert_eq!(expired(&mut wheel, deadline), [deadline]);
    }
    assert_eq!(wheel.next_due(), None);
}

#[test]
fn a_deadline_that_is_not_ahead_is_due_at_once() {
    let mut wheel = Wheel::new();
    assert!(expired(&mut wheel, 100).is_empty());
    wheel.insert(100, 1);
    wheel.insert(3, 2);
    assert_eq!(wheel.next_due(), Some(100));
    assert_eq!(expired(&mut wheel, 100), [1, 2]);
}

#[test]
fn far_deadlines_are_put_back_until_they_are_near() {
    let mut wheel = Wheel::new();
    wheel.insert(u64::MAX, 1);
    let mut wakes = 0;
    while let Some(due) = wheel.next_due()
        && due < 10 * HORIZON
    {
        assert!(expired(&mut wheel, due).is_empty());
        wakes += 1;
    }
    assert!(wakes <= 10, "{wakes}");
    assert_eq!(wheel.len(), 1);
}

#[test]
fn the_budget_bounds_what_one_call_touches_and_nothing_is_forgotten() {
    let mut wheel = Wheel::new();
    for id in 0..100 {
        wheel.insert(4096 + id % 2, id);
    }
    let (mut out, mut calls) = (Vec::new(), 0);
    while wheel.next_due().is_some_and(|due| due <= 5000) {
        wheel.advance(5000, 10, &mut out);
        calls += 1;
    }
    assert_eq!(out.len(), 100);
    assert!((10..=20).contains(&calls), "{calls}: each timer moves or expires, ten at a time");
    assert!(out.iter().map(|id| id % 2).is_sorted());
}

#[test]
fn a_timer_cancelled_in_a_half_emptied_notch_is_gone() {
    let mut wheel = Wheel::new();
    let keys: Vec<_> = (0..4).map(|id| wheel.insert(64, id)).collect();
    let mut out = Vec::new();
    wheel.advance(64, 2, &mut out);
    assert_eq!(wheel.remove(keys[2]), Some(2));
    assert_eq!(wheel.remove(keys[0]), None);
    wheel.insert(64, 9);
    wheel.advance(64, usize::MAX, &mut out);
    out.sort_unstable();
    assert_eq!(out, [0, 1, 3, 9]);
}

#[test]
fn what_is_set_for_the_moment_comes_behind_what_is_left_of_a_half_emptied_notch() {
    // On a higher level, because it is in another block of ticks when it is set.
    for deadline in [64, 4096] {
        let mut wheel = Wheel::new();
        for id in 0..4 {
            wheel.insert(deadline, id);
        }
        let mut out = Vec::new();
        wheel.advance(deadline, 2, &mut out);
        wheel.insert(deadline, 9);
        wheel.advance(deadline, usize::MAX, &mut out);
        assert_eq!(out.len(), 5);
        assert_eq!(out.last(), Some(&9), "{out:?}");
    }
}

#[test]
fn what_is_set_for_a_tick_of_a_half_emptied_notch_comes_behind_what_is_left_of_it() {
    for begin in [64, 4096] {
        let mut wheel = Wheel::new();
        wheel.insert(begin, 0);
        for id in 1..=10 {
            wheel.insert(begin + 36, id);
        }
        let mut out = Vec::new();
        // One comes out, three move down, the others stay.
        wheel.advance(begin, 4, &mut out);
        wheel.insert(begin + 36, 11);
        wheel.insert(begin + 35, 12);
        while wheel.next_due().is_some_and(|due| due <= begin + 36) {
            wheel.advance(begin + 36, 4, &mut out);
        }
        assert_eq!(out, [0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    }
}

#[test]
fn timers_of_one_tick_come_out_as_they_were_set_wherever_budgets_end() {
    for seed in 1..=40 {
        let mut random = Xorshift(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        let (mut wheel, mut out, mut now) = (Wheel::new(), Vec::new(), 0);
        for id in 0..2_000_u64 {
            // Few ticks, so that many share one.
            let deadline = (now + 1 + random.below(1 << 13)).next_multiple_of(100);
            wheel.insert(deadline, (deadline, id));
            if random.below(100) == 0 {
                wheel.repack(|_, _| ());
            }
            if random.below(20) == 0 {
                now += random.below(200);
                wheel.advance(now, 1 + random.below(20) as usize, &mut out);
            }
        }
        while wheel.len() > 0 {
            wheel.advance(now + (1 << 14), 7, &mut out);
        }
        assert_eq!(out.len(), 2_000);
        assert!(out.is_sorted(), "{out:?}");
    }
}

#[test]
fn entries_are_used_again() {
    let mut wheel = Wheel::new();
    for round in 0..1_000 {
        let key = wheel.insert(round + 1_000, round);
        let other = wheel.insert(round + 1, round);
        assert_eq!(wheel.remove(key), Some(round));
        assert_eq!(expired(&mut wheel, round + 1), [round]);
        assert_eq!((wheel.remove(key), wheel.remove(other)), (None, None));
    }
    assert_eq!(wheel.entries.len(), 2);
}

#[test]
fn the_memory_of_a_burst_can_be_given_back_when_few_timers_are_left() {
    let mut wheel = Wheel::new();
    let deadline = |id: u64| 1 + id * 37 % 1_000_000;
    let (mut keys, mut gone) = (BTreeMap::new(), Vec::new());
    for id in 0..100_000 {
        keys.insert(id, wheel.insert(deadline(id), id));
    }
    assert!(!wheel.has_surplus(), "it is full");
    keys.retain(|id, key| {
        let stays = id % 1_000 == 999;
        if !stays {
            assert_eq!(wheel.remove(*key), Some(*id));
            gone.push(*key);
        }
        stays
    });
    assert!(wheel.has_surplus());
    wheel.repack(|id, key| keys.insert(*id, key).map(drop).expect("it has stayed"));
    assert!(!wheel.has_surplus() && wheel.entries.capacity() <= KEPT);
    // The rest of the memory goes in pieces.
    for pieces in 1..=100_000 / PIECE {
        assert_eq!(wheel.left.len(), 100_000 - pieces * PIECE);
        wheel.give_back();
    }
    assert!(!wheel.has_left());
    assert!(gone.into_iter().all(|key| wheel.remove(key).is_none()));
    // Those that are left can be found, and come out in time.
    assert_eq!(wheel.remove(keys[&5_999]), Some(5_999));
    keys.remove(&5_999);
    let mut left: Vec<_> = keys.into_keys().collect();
    left.sort_by_key(|id| deadline(*id));
    assert_eq!(expired(&mut wheel, 1_000_000), left);
    // And there is room for as many again.
    for id in 0..100_000 {
        wheel.insert(1_000_001 + id, id);
    }
    assert_eq!(expired(&mut wheel, 2_000_000).len(), 100_000);
    wheel.repack(|_, _| unreachable!("nothing is left"));
    assert!(wheel.entries.capacity() <= KEPT);
}

#[test]
fn a_key_survives_the_way_through_a_word() {
    let key = Key { index: 7, generation: u32::MAX };
    assert_eq!(Key::from_bits(key.to_bits()), key);
}
