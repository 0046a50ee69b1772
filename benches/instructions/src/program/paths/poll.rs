//! A poll: a task yields and is polled again.

use super::{BATCH, on_any, on_core};
use crate::program::step;
use ringwork::runtime::Runtime;
use ringwork::task::yield_now;

pub(super) fn local(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || yields(rounds));
}

pub(super) fn send(runtime: &Runtime, rounds: usize) {
    on_any(runtime, yields(rounds));
}

async fn yields(rounds: usize) {
    step::begin();
    for _ in 0..rounds * BATCH {
        yield_now().await;
    }
    step::end();
}
