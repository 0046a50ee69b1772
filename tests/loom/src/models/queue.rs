//! Models of the steal queue (`src/sched/queue.rs`), with four slots.
//!
//! Each sends numbered items through a queue and asserts that every item comes out exactly once; loom itself
//! reports a slot that two sides touch at once.

use super::explore;
use crate::sched::queue::{Owner, Stealer};
use loom::thread;

type Small = Owner<u32, 4>;

/// Steals `times` times and says what it got.
fn steal(stealer: &Stealer<u32, 4>, times: usize) -> Vec<u32> {
    let mut mine = Small::new();
    let mut got = Vec::new();
    for _ in 0..times {
        stealer.steal_half_into(&mut mine);
        got.extend(drain(&mut mine));
    }
    got
}

fn drain(owner: &mut Small) -> Vec<u32> {
    std::iter::from_fn(|| owner.pop_front()).collect()
}

/// Asserts that the items are `0..count`, each once, and that one side's share came in order.
fn assert_each_once(count: u32, shares: &[Vec<u32>]) {
    assert!(shares.iter().all(|share| share.is_sorted()), "out of order: {shares:?}");
    let mut all = shares.concat();
    all.sort_unstable();
    assert_eq!(all, (0..count).collect::<Vec<_>>(), "shares: {shares:?}");
}

/// A thief steals while the owner pushes and pops, over the edge of the ring.
pub fn push_and_pop_against_a_thief() {
    explore(2, || {
        let mut owner = Small::new();
        let stealer = owner.stealer();
        let thief = thread::spawn(move || steal(&stealer, 2));
        let mut mine = Vec::new();
        for item in 0..3 {
            owner.push_back(item).expect("there is room");
        }
        mine.extend(owner.pop_front());
        // Refused while the thief has not given the slots back: they are neither items nor free.
        let refused = (3..5).filter_map(|item| owner.push_back(item).err()).collect();
        mine.extend(drain(&mut owner));
        assert_each_once(5, &[mine, refused, thief.join().unwrap()]);
    });
}

/// A thief steals while a full ring overflows, even twice, so that the head takes the same value again.
pub fn overflow_against_a_thief() {
    explore(2, || {
        let mut owner = Small::new();
        let stealer = owner.stealer();
        for item in 0..4 {
            owner.push_back(item).expect("there is room");
        }
        let thief = thread::spawn(move || steal(&stealer, 1));
        let mut out = Vec::new();
        for item in 4..8 {
            if let Err(item) = owner.push_back(item) {
                out.extend(owner.split_off_half());
                out.push(item);
            }
        }
        let mine = drain(&mut owner);
        assert_each_once(8, &[mine, out, thief.join().unwrap()]);
    });
}

fn two_thieves(preemptions: usize, times: usize) {
    explore(preemptions, move || {
        let mut owner = Small::new();
        let thieves = [owner.stealer(), owner.stealer()];
        for item in 0..3 {
            owner.push_back(item).expect("there is room");
        }
        let thieves = thieves.map(|stealer| thread::spawn(move || steal(&stealer, times)));
        owner.push_back(3).expect("there is room");
        let mine = vec![owner.pop_front()].into_iter().flatten().collect();
        let [one, two] = thieves.map(|thief| thief.join().unwrap());
        let rest = drain(&mut owner);
        assert_each_once(4, &[mine, one, two, rest]);
    });
}

/// Two thieves at one queue: one claims, the other gives up or claims later.
pub fn two_thieves_at_one_queue() {
    two_thieves(1, 1);
}

/// The same, each stealing twice, with more preemptions.
pub fn two_thieves_at_one_queue_deep() {
    two_thieves(3, 2);
}

fn chain(preemptions: usize) {
    explore(preemptions, || {
        let (mut one, mut two) = (Small::new(), Small::new());
        let (from_one, from_two) = (one.stealer(), two.stealer());
        for item in 0..4 {
            one.push_back(item).expect("there is room");
        }
        let middle = thread::spawn(move || {
            from_one.steal_half_into(&mut two);
            drain(&mut two)
        });
        let last = thread::spawn(move || steal(&from_two, 1));
        let mine = drain(&mut one);
        assert_each_once(4, &[mine, middle.join().unwrap(), last.join().unwrap()]);
    });
}

/// Items stolen from one queue are stolen again from the thief's while it takes them out.
pub fn a_thief_is_stolen_from() {
    chain(2);
}

/// The same with more preemptions.
pub fn a_thief_is_stolen_from_deep() {
    chain(4);
}

/// One thief steals twice around an overflow: its second claim must not reach into what has left.
pub fn overflow_against_a_thief_that_comes_back() {
    explore(2, || {
        let mut owner = Small::new();
        let stealer = owner.stealer();
        for item in 0..4 {
            owner.push_back(item).expect("there is room");
        }
        let thief = thread::spawn(move || steal(&stealer, 2));
        let out = owner.split_off_half().collect();
        let stolen = thief.join().unwrap();
        assert_each_once(4, &[drain(&mut owner), out, stolen]);
    });
}

/// Owner, overflow and two thieves at once.
pub fn overflow_against_two_thieves_deep() {
    explore(3, || {
        let mut owner = Small::new();
        let thieves = [owner.stealer(), owner.stealer()];
        for item in 0..4 {
            owner.push_back(item).expect("there is room");
        }
        let thieves = thieves.map(|stealer| thread::spawn(move || steal(&stealer, 1)));
        let mut out = Vec::new();
        for item in 4..7 {
            if let Err(item) = owner.push_back(item) {
                out.extend(owner.split_off_half());
                out.push(item);
            }
        }
        let mine = drain(&mut owner);
        let [one, two] = thieves.map(|thief| thief.join().unwrap());
        assert_each_once(7, &[mine, out, one, two]);
    });
}

/// The owner goes while a thief steals: each item is dropped or stolen, none both.
pub fn the_owner_goes_while_a_thief_steals() {
    explore(2, || {
        let mut owner = Owner::<loom::sync::Arc<u32>, 4>::new();
        let items: Vec<_> = (0..3).map(loom::sync::Arc::new).collect();
        for item in &items {
            owner.push_back(loom::sync::Arc::clone(item)).expect("there is room");
        }
        let stealer = owner.stealer();
        let thief = thread::spawn(move || {
            let mut mine = Owner::new();
            stealer.steal_half_into(&mut mine);
        });
        drop(owner);
        thief.join().unwrap();
        assert!(items.iter().all(|item| loom::sync::Arc::strong_count(item) == 1));
    });
}
