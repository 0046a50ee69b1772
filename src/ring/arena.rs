//! The arena for op payloads of variable length (iovecs, message headers, control data), in generations.
//!
//! Owns bump arenas (`bumpalo`). A payload is bumped on its home core and counts one in its generation; the
//! count is given back on the home core when the op has had its final CQE. A generation that has grown past
//! [`SEALED_AT`] is sealed: nothing more goes into it, and it is reset once its count is zero. So one op that
//! stays in flight holds one generation, and a million others reuse the rest. Payloads that live long
//! (multishots, listeners) do not come here. Ops that the shutdown leaks leak their generation.

use bumpalo::Bump;
use std::ptr::NonNull;

/// A generation takes no more payloads once it has handed out this many bytes.
const SEALED_AT: usize = 64 * 1024;
/// What a generation has from the allocator, in one piece: the last payload may go beyond the seal by the
/// largest one there is (1,024 iovecs).
const CHUNK: usize = SEALED_AT + 32 * 1024;

struct Generation {
    bump: Bump,
    used: usize,
    live: usize,
}

impl Generation {
    fn new() -> Self {
        Self { bump: Bump::with_capacity(CHUNK), used: 0, live: 0 }
    }
}

/// A payload's claim on its generation: given back with [`Arena::release`].
#[must_use = "a payload that is not released pins its generation"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim(usize);

/// The generations of one core.
#[derive(Default)]
pub(crate) struct Arena {
    generations: Vec<Generation>,
    current: usize,
}

impl Arena {
    /// Copies `items` into the current generation. They stay there until the claim is released.
    pub(crate) fn put<T: Copy>(&mut self, items: impl ExactSizeIterator<Item = T>) -> (NonNull<T>, Claim) {
        let bytes = items.len() * size_of::<T>();
        self.open_generation();
        let generation = &mut self.generations[self.current];
        let slice = generation.bump.alloc_slice_fill_iter(items);
        let start = NonNull::from(slice).cast::<T>();
        generation.used += bytes;
        generation.live += 1;
        (start, Claim(self.current))
    }

    /// Gives a claim back: the kernel has posted the op's final CQE.
    pub(crate) fn release(&mut self, claim: Claim) {
        let generation = &mut self.generations[claim.0];
        generation.live -= 1;
        if generation.live == 0 && generation.used >= SEALED_AT {
            generation.bump.reset();
            generation.used = 0;
        }
    }

    /// Makes `current` a generation that still takes payloads.
    fn open_generation(&mut self) {
        if self.generations.get(self.current).is_some_and(|generation| generation.used < SEALED_AT) {
            return;
        }
        let free = self.generations.iter().position(|generation| generation.used < SEALED_AT);
        self.current = free.unwrap_or_else(|| {
            self.generations.push(Generation::new());
            self.generations.len() - 1
        });
    }

    /// Bytes the arena has from the allocator.
    #[cfg(test)]
    pub(crate) fn allocated(&self) -> usize {
        self.generations.iter().map(|generation| generation.bump.allocated_bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_op_held_open_for_a_million_others_keeps_memory_flat() {
        let mut arena = Arena::default();
        let (held, held_claim) = arena.put([7u64].into_iter());
        let mut after_warm_up = 0;
        for round in 0..1_000_000u64 {
            let (_, claim) = arena.put([round, round, round, round].into_iter());
            arena.release(claim);
            if round == 10_000 {
                after_warm_up = arena.allocated();
            }
        }
        assert_eq!(arena.allocated(), after_warm_up);
        // SAFETY: the claim has not been released, so the payload is in place.
        assert_eq!(unsafe { held.read() }, 7);
        arena.release(held_claim);
    }

    #[test]
    fn a_sealed_generation_is_reset_only_when_its_last_claim_is_released() {
        let mut arena = Arena::default();
        let claims: Vec<_> = (0..20_000u64).map(|n| arena.put([n].into_iter())).collect();
        for (n, (payload, _)) in claims.iter().enumerate() {
            // SAFETY: no claim has been released yet.
            assert_eq!(unsafe { payload.read() }, n as u64);
        }
        let peak = arena.allocated();
        claims.into_iter().for_each(|(_, claim)| arena.release(claim));
        let again: Vec<_> = (0..20_000u64).map(|n| arena.put([n].into_iter()).1).collect();
        assert_eq!(arena.allocated(), peak);
        again.into_iter().for_each(|claim| arena.release(claim));
    }
}
