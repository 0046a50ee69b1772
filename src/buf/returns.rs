//! The way home of a pool's buffers from other threads.
//!
//! Owns [`Returns`]: a stack of buffers' numbers that any thread pushes to and the home core empties, and the
//! home's wish to hear of the next one. It knows no buffer and rings no core (pooled.rs does).
//!
//! # Protocol
//! One word: the number on top, or that there is none, and STARVED, which only the home core sets and clears.
//! - Any thread returns (R): it writes the link of its buffer, then puts the number on top by
//!   compare-exchange, and keeps STARVED as it was. If that is set, it rings the home.
//! - The home takes (T): it swaps the word for an empty one, STARVED as it is, and follows the links. A
//!   number is handed on only after its link was read: from then on the next return may write that.
//! - The home starves (S), before it may sleep without buffers: it sets STARVED, and takes what is there.
//!
//! R, T and S are read-modify-writes of the one word, so they have an order. What was returned before S is
//! there to be taken, what is returned after it finds STARVED and rings. The stack is push and take-all, so
//! it has no ABA. R releases and T acquires: what the former holder did to the buffer comes before what the
//! home does to it.
#![forbid(unsafe_code)]

use crate::base::sync::{AtomicU32, Ordering};

/// No number: all bits but STARVED.
const NONE: u32 = STARVED - 1;
/// The home asks to be rung.
const STARVED: u32 = 1 << 31;

/// Numbers of buffers that are on their way home.
pub(crate) struct Returns {
    /// The number on top and STARVED.
    top: AtomicU32,
    /// Of each number on the stack, the one below it.
    below: Box<[AtomicU32]>,
}

impl Returns {
    /// An empty stack for numbers below `count`.
    pub(crate) fn new(count: usize) -> Self {
        Self { top: AtomicU32::new(NONE), below: (0..count).map(|_| AtomicU32::new(NONE)).collect() }
    }

    /// Any thread that has buffer `id`: it is free. True if the home is to be rung (R).
    #[must_use = "a home that has asked sleeps until it is rung"]
    pub(crate) fn push(&self, id: u16) -> bool {
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            self.below[usize::from(id)].store(top & NONE, Ordering::Relaxed);
            let new = top & STARVED | u32::from(id);
            match self.top.compare_exchange_weak(top, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return top & STARVED != 0,
                Err(now) => top = now,
            }
        }
    }

    /// Home core: whether there is any. Behind [`starve`](Self::starve) it does not miss what came before:
    /// what it reads is no older than what the same thread wrote.
    #[inline]
    pub(crate) fn has_any(&self) -> bool {
        self.top.load(Ordering::Relaxed) & NONE != NONE
    }

    /// Home core: takes all (T).
    pub(crate) fn take_all(&self, mut each: impl FnMut(u16)) {
        let starved = self.top.load(Ordering::Relaxed) & STARVED;
        let mut at = self.top.swap(starved | NONE, Ordering::Acquire) & NONE;
        while at != NONE {
            let below = self.below[at as usize].load(Ordering::Relaxed);
            each(at as u16);
            at = below;
        }
    }

    /// Home core: from now on a return rings. What is there already does not: take it, too (S).
    pub(crate) fn starve(&self) {
        self.top.fetch_or(STARVED, Ordering::Relaxed);
    }

    /// Home core: a return need not ring any more.
    pub(crate) fn fed(&self) {
        if self.top.load(Ordering::Relaxed) & STARVED != 0 {
            self.top.fetch_and(!STARVED, Ordering::Relaxed);
        }
    }
}
