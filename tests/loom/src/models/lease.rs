//! Models of leases (`src/ring/lease.rs`): what is used by an op is there, and goes once, after all.
//!
//! What is leased is a loom cell, read by each op and written when it is dropped: a drop that an op does not
//! come before is a data race. A reference that is lost is a leak, which loom reports as well.

use super::explore;
use crate::base::sync::UnsafeCell;
use crate::ring::lease::{Leasable, Leases, Use};
use loom::sync::Arc;
use loom::thread;

struct File(UnsafeCell<u32>);

// SAFETY: loom checks the accesses.
unsafe impl Sync for File {}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: as above.
        self.0.with_mut(|content| unsafe { *content += 1 });
    }
}

fn file() -> Arc<Leasable<File>> {
    Leasable::new(File(UnsafeCell::new(0)))
}

fn read(op: &Use<File>) {
    // SAFETY: as above.
    op.get().0.with(|content| unsafe { *content });
}

/// One op of a core; the handle may go meanwhile.
fn op(leases: &Leases<File>, handle: Arc<Leasable<File>>) {
    let mut op = leases.begin(&handle);
    leases.leave(&handle);
    drop(handle);
    read(&op);
    leases.end(&mut op);
    drop(op);
}

/// Two cores have an op each on one file, whose handles go meanwhile: it is closed once, after both.
pub fn the_ops_of_two_cores_keep_a_file_open() {
    explore(4, || {
        let one = file();
        let other = Arc::clone(&one);
        let there = thread::spawn(move || {
            let leases = Leases::new(16);
            op(&leases, other);
            leases.sweep();
            leases.give_back();
        });
        let leases = Leases::new(8);
        op(&leases, one);
        drop(leases);
        there.join().unwrap();
    });
}

/// A lease goes from one core to the other and back: its count has one user after the other.
pub fn a_lease_that_is_given_back_is_another_cores() {
    explore(3, || {
        let one = file();
        let other = Arc::clone(&one);
        let there = thread::spawn(move || {
            let leases = Leases::new(16);
            op(&leases, Arc::clone(&other));
            leases.give_back();
            op(&leases, other);
        });
        let leases = Leases::new(8);
        for _ in 0..2 {
            op(&leases, Arc::clone(&one));
            leases.sweep();
        }
        leases.leave(&one);
        drop(one);
        there.join().unwrap();
    });
}

/// The last handle goes on a thread that is no core, while the tenant gives an idle lease back.
pub fn the_last_handle_goes_elsewhere_while_a_lease_is_given_back() {
    explore(4, || {
        let one = file();
        let other = Arc::clone(&one);
        let leases = Leases::new(8);
        let mut first = leases.begin(&one);
        leases.end(&mut first);
        let there = thread::spawn(move || drop(other));
        leases.leave(&one);
        drop(one);
        leases.sweep();
        leases.sweep();
        there.join().unwrap();
    });
}
