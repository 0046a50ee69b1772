//! Models of what is made when it is first needed (`src/base/rarely.rs`).
//!
//! The value is written by whoever makes it and read by all: one that is not published is a data race, one
//! that is lost a leak.

use super::explore;
use crate::base::rarely::Rarely;
use crate::base::sync::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

struct Value {
    constant: UnsafeCell<u32>,
    users: AtomicU32,
}

impl Default for Value {
    fn default() -> Self {
        let constant = UnsafeCell::new(0);
        // SAFETY: nobody else has it yet, and loom checks the accesses.
        constant.with_mut(|place| unsafe { *place = 7 });
        Self { constant, users: AtomicU32::new(0) }
    }
}

// SAFETY: loom checks the accesses.
unsafe impl Sync for Value {}

fn use_it(rarely: &Rarely<Value>) {
    let value = rarely.get_or_make();
    // SAFETY: as above.
    assert_eq!(value.constant.with(|place| unsafe { *place }), 7);
    value.users.fetch_add(1, Ordering::Relaxed);
}

/// Two make it at once, and a third looks: all have the same one, whole.
pub fn all_who_ask_have_one_value() {
    explore(3, || {
        let rarely = Arc::new(Rarely::<Value>::default());
        let other = Arc::clone(&rarely);
        let other = thread::spawn(move || use_it(&other));
        if let Some(value) = rarely.get() {
            // SAFETY: as above.
            assert_eq!(value.constant.with(|place| unsafe { *place }), 7);
        }
        use_it(&rarely);
        other.join().unwrap();
        assert_eq!(rarely.get().expect("made").users.load(Ordering::Relaxed), 2);
    });
}

/// One says something and rules a value out, the other makes one and looks what was said: one of them sees
/// the other.
pub fn who_makes_a_value_that_was_ruled_out_sees_what_was_done_before() {
    explore(3, || {
        let (rarely, said) = (Arc::new(Rarely::<Value>::default()), Arc::new(AtomicU32::new(0)));
        let (theirs, heard) = (Arc::clone(&rarely), Arc::clone(&said));
        let maker = thread::spawn(move || {
            use_it(&theirs);
            heard.load(Ordering::Relaxed) == 1
        });
        said.store(1, Ordering::Relaxed);
        let found = rarely.get_or_rule_out().is_some();
        assert!(maker.join().unwrap() || found, "neither has seen the other");
    });
}
