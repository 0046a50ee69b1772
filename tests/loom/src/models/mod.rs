//! The models: each is a small program whose every interleaving (up to a number of preemptions) loom runs.
//!
//! Owns what they share: how deep to look. A model's name is a sentence of the protocol it checks; the prose
//! is at the top of the file under test.

mod bench;
pub mod cell;
pub mod idle;
pub mod inbox;
pub mod lease;
pub mod local;
pub mod queue;
pub mod rarely;
pub mod returns;
pub mod slot;
pub mod slots;
pub mod task;

/// Runs `model` in all interleavings with at most `preemptions` forced switches; `LOOM_MAX_PREEMPTIONS`
/// overrides.
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    builder.max_branches = 10_000;
    builder.check(model);
}
