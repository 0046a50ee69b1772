//! Memory for cells that tells on whoever comes too late: what is given back is overwritten and not used
//! again before the interleaving is over.
//!
//! What loom hands out for its atomics and cells are indices. An access to a cell that is over finds an index
//! that does not exist, or a value that no state machine knows, and the model fails.

use super::Ring;
use super::cell::ALIGN;
use super::flight::Flight;
use super::holds::Holds;
use crate::base::inbox::Inbox;
use crate::base::message::Node;
use crate::base::sync::UnsafeCell;
use std::alloc::{Layout, alloc, dealloc};
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

/// No index, no pointer, no state.
const OVER: u8 = 0xDB;

#[derive(Default)]
struct Yard {
    taken: usize,
    given_back: Vec<(NonNull<u8>, Layout)>,
}

std::thread_local! {
    // All threads of a model are one thread of the system.
    static YARD: RefCell<Yard> = RefCell::default();
}

/// As the real one.
#[repr(C)]
pub(crate) struct Ground {
    pub(crate) front: Front,
    pub(crate) home: Arc<Inbox>,
    pub(crate) holds: Holds,
    pub(crate) generation: u16,
    pub(crate) flight: UnsafeCell<Flight>,
}

/// As the real one, but for the lists, of which there are none.
#[repr(C)]
pub(crate) union Front {
    pub(crate) node: ManuallyDrop<Node>,
    nothing: (),
}

/// As the real one.
pub(crate) const fn class(size: usize) -> usize {
    size.div_ceil(ALIGN) - 1
}

fn layout(class: usize) -> Layout {
    Layout::from_size_align((class + 1) * ALIGN, ALIGN).unwrap()
}

/// As the real one.
pub(crate) fn fresh(class: usize, home: Arc<Inbox>) -> NonNull<Ground> {
    // SAFETY: cells are not empty.
    let block = NonNull::new(unsafe { alloc(layout(class)) }).unwrap().cast::<Ground>();
    let flight = UnsafeCell::new(Flight::Fresh);
    let ground = Ground { front: Front { nothing: () }, home, holds: Holds::new(0), generation: 0, flight };
    // SAFETY: fresh, aligned, and larger than this.
    unsafe { block.write(ground) };
    YARD.with_borrow_mut(|yard| yard.taken += 1);
    block
}

/// As the real one, but that there is no slab.
pub(crate) fn fresh_at_home(class: usize, ring: &Ring) -> NonNull<Ground> {
    fresh(class, ring.inbox())
}

/// # Safety
/// As of the real one.
pub(crate) unsafe fn give_back(block: NonNull<Ground>, class: usize) {
    let layout = layout(class);
    let bytes = block.cast::<u8>();
    // SAFETY: per contract the block is of this class and unused.
    unsafe {
        std::ptr::drop_in_place(&raw mut (*block.as_ptr()).home);
        bytes.write_bytes(OVER, layout.size());
    }
    YARD.with_borrow_mut(|yard| yard.given_back.push((bytes, layout)));
}

/// The lists of a ring, always empty: no cell is made where another one was.
#[derive(Default)]
pub(crate) struct Memory;

impl Memory {
    pub(crate) fn take(&mut self, _class: usize) -> Option<NonNull<Ground>> {
        None
    }
}

/// The end of an interleaving: each cell is over, and was over once.
pub(crate) fn check_and_clear() {
    let Yard { taken, mut given_back } = YARD.take();
    given_back.sort_by_key(|(block, _)| *block);
    let all = given_back.len();
    given_back.dedup_by_key(|(block, _)| *block);
    for (block, layout) in &given_back {
        // SAFETY: `give_back` has written it.
        let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), layout.size()) };
        assert!(bytes.iter().all(|byte| *byte == OVER), "a cell that was over was written to");
        // SAFETY: allocated with this layout, given back, once after the dedup.
        unsafe { dealloc(block.as_ptr(), *layout) };
    }
    assert_eq!((all, given_back.len()), (taken, taken), "cells given back, different ones, cells made");
}
