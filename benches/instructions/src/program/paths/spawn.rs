//! Spawning on the core that the caller runs on, by itself and with the rest of the task's life.

use super::{BATCH, on_any, on_core, stretch};
use crate::program::step;
use ringwork::runtime::Runtime;
use ringwork::task::JoinHandle;

pub(super) fn local(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || spawns(rounds, || ringwork::spawn_local(async {})));
}

pub(super) fn send(runtime: &Runtime, rounds: usize) {
    on_any(runtime, spawns(rounds, || ringwork::spawn(async {})));
}

pub(super) fn join_local(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || joins(rounds, || ringwork::spawn_local(async {})));
}

pub(super) fn join_eager(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || joins(rounds, || ringwork::spawn_local_eager(async {})));
}

pub(super) fn join_send(runtime: &Runtime, rounds: usize) {
    on_any(runtime, joins(rounds, || ringwork::spawn(async {})));
}

async fn spawns(rounds: usize, spawn: impl Fn() -> JoinHandle<()>) {
    let mut handles = Vec::with_capacity(BATCH);
    for _ in 0..rounds {
        stretch(|| (0..BATCH).for_each(|_| handles.push(spawn())));
        for handle in handles.drain(..) {
            handle.await.expect("an empty task ends by itself");
        }
    }
}

async fn joins(rounds: usize, spawn: impl Fn() -> JoinHandle<()>) {
    step::begin();
    for _ in 0..rounds * BATCH {
        spawn().await.expect("an empty task ends by itself");
    }
    step::end();
}
