//! Tests of the steal queue on one thread, and one with real threads; the models in `tests/loom` do the rest.
#![forbid(unsafe_code)]

use super::*;
use std::sync::atomic::AtomicUsize;

#[test]
fn the_two_halves_of_the_head_do_not_leak_into_each_other() {
    for (steal, real) in [(0, 0), (u32::MAX, 0), (0, u32::MAX), (7, u32::MAX - 1)] {
        let head = Head { steal, real };
        assert_eq!(Head::unpack(head.pack()), head);
        assert_eq!(head.is_busy(), steal != real);
    }
}

#[test]
fn items_come_out_oldest_first_and_a_full_queue_refuses() {
    let mut owner = Owner::<_, 4>::new();
    for round in 0..10 {
        for item in 0..4 {
            owner.push_back(round * 10 + item).unwrap();
        }
        assert_eq!(owner.push_back(99), Err(99));
        assert_eq!(owner.len(), 4);
        for item in 0..4 {
            assert_eq!(owner.pop_front(), Some(round * 10 + item));
        }
        assert_eq!(owner.pop_front(), None);
    }
}

#[test]
fn the_newer_half_of_a_full_queue_overflows_and_the_older_stays() {
    let mut owner = Owner::<_, 8>::new();
    for item in 0..7 {
        owner.push_back(item).unwrap();
    }
    assert_eq!(owner.split_off_half().len(), 0);
    owner.push_back(7).unwrap();
    assert_eq!(owner.split_off_half().collect::<Vec<_>>(), [4, 5, 6, 7]);
    assert_eq!(std::iter::from_fn(|| owner.pop_front()).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn a_thief_takes_the_older_half_rounded_up() {
    let (mut owner, mut thief) = (Owner::<_, 8>::new(), Owner::<_, 8>::new());
    for item in 0..5 {
        owner.push_back(item).unwrap();
    }
    assert_eq!(owner.stealer().steal_half_into(&mut thief), 3);
    assert_eq!((owner.len(), thief.len()), (2, 3));
    assert_eq!(std::iter::from_fn(|| thief.pop_front()).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!((owner.pop_front(), owner.pop_front()), (Some(3), Some(4)));
    assert_eq!(owner.stealer().steal_half_into(&mut thief), 0);
}

#[test]
fn a_thief_that_is_more_than_half_full_takes_nothing() {
    let (mut owner, mut thief) = (Owner::<_, 4>::new(), Owner::<_, 4>::new());
    owner.push_back(0).unwrap();
    for item in 1..4 {
        thief.push_back(item).unwrap();
    }
    assert_eq!(owner.stealer().steal_half_into(&mut thief), 0);
    assert_eq!(thief.pop_front(), Some(1));
    assert_eq!(owner.stealer().steal_half_into(&mut thief), 1);
}

#[test]
fn what_is_stolen_goes_behind_what_the_thief_has_also_when_that_fills_it() {
    let (mut owner, mut thief) = (Owner::<_, 4>::new(), Owner::<_, 4>::new());
    // Over the edge of the thief's ring.
    thief.push_back(0).unwrap();
    thief.pop_front().unwrap();
    for item in 0..2 {
        thief.push_back(item).unwrap();
    }
    for item in 2..6 {
        owner.push_back(item).unwrap();
    }
    assert_eq!(owner.stealer().steal_half_into(&mut thief), 2);
    assert_eq!(thief.push_back(9), Err(9));
    assert_eq!(std::iter::from_fn(|| thief.pop_front()).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn items_left_in_a_dropped_queue_or_surplus_are_dropped() {
    struct Count<'a>(&'a AtomicUsize);
    impl Drop for Count<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let drops = AtomicUsize::new(0);
    let mut owner = Owner::<_, 4>::new();
    while owner.push_back(Count(&drops)).is_ok() {}
    assert_eq!(drops.swap(0, Ordering::SeqCst), 1);
    drop(owner.split_off_half().next());
    assert_eq!(drops.load(Ordering::SeqCst), 2);
    drop(owner);
    assert_eq!(drops.load(Ordering::SeqCst), 4);
}

#[test]
fn threads_that_push_pop_overflow_and_steal_see_every_item_once() {
    const ITEMS: usize = 20_000;
    let seen: Vec<AtomicUsize> = (0..ITEMS).map(|_| AtomicUsize::new(0)).collect();
    let left = AtomicUsize::new(ITEMS);
    let see = |item: usize| {
        seen[item].fetch_add(1, Ordering::Relaxed);
        left.fetch_sub(1, Ordering::Relaxed);
    };
    let mut owner = Owner::<_, 16>::new();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let stealer = owner.stealer();
            let (see, left) = (&see, &left);
            scope.spawn(move || {
                let mut mine = Owner::<_, 16>::new();
                while left.load(Ordering::Relaxed) > 0 {
                    stealer.steal_half_into(&mut mine);
                    std::iter::from_fn(|| mine.pop_front()).for_each(see);
                    std::thread::yield_now();
                }
            });
        }
        for item in 0..ITEMS {
            if let Err(item) = owner.push_back(item) {
                owner.split_off_half().for_each(see);
                see(item);
            }
            if item % 7 == 0 {
                owner.pop_front().into_iter().for_each(see);
            }
        }
        std::iter::from_fn(|| owner.pop_front()).for_each(see);
    });
    assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
}
