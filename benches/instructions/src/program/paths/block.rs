//! Where a thread blocks: the entry to `block_on`, and a call handed to the blocking pool, on the caller's
//! side.

use super::{BATCH, on_core, stretch, thread_id, until_asleep};
use crate::program::step;
use ringwork::runtime::Runtime;
use std::sync::{Arc, Barrier};

pub(super) fn enter(runtime: &Runtime, rounds: usize) {
    step::begin();
    for _ in 0..rounds * BATCH {
        runtime.block_on(async {});
    }
    step::end();
}

/// The pool's only thread stands in a barrier meanwhile.
pub(super) fn hand_over(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || async move {
        let gate = Arc::new(Barrier::new(2));
        let mut calls = Vec::with_capacity(BATCH);
        for _ in 0..rounds {
            let busy = ringwork::spawn_blocking({
                let gate = Arc::clone(&gate);
                move || [gate.wait(), gate.wait()]
            });
            gate.wait();
            stretch(|| (0..BATCH).for_each(|_| calls.push(ringwork::spawn_blocking(|| ()))));
            gate.wait();
            busy.await.expect("it ends by itself");
            for call in calls.drain(..) {
                call.await.expect("it ends by itself");
            }
        }
    });
}

/// The pool's only thread sleeps before each call.
pub(super) fn summon(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || async move {
        let thread = ringwork::spawn_blocking(thread_id).await.expect("it ends by itself");
        for _ in 0..rounds * BATCH {
            until_asleep(thread);
            let call = stretch(|| ringwork::spawn_blocking(|| ()));
            call.await.expect("it ends by itself");
        }
    });
}
