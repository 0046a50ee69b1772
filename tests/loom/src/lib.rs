//! Model checks of ringwork's concurrent structures: the same source files, compiled against loom.
//!
//! Owns nothing of the runtime: each `#[path]` below is a file of the main crate, and `sync` is the loom half
//! of the pair whose other half is `src/base/sync.rs`. `cargo test` runs the quick models; the deep ones are
//! `LOOM_MAX_PREEMPTIONS=3 cargo test --release -p ringwork-loom -- --ignored`.
#![allow(dead_code, unused_imports)]

mod base {
    //! The floor of the house against loom.
    #[path = "../../../../src/base/coop.rs"]
    pub(crate) mod coop;
    #[path = "../../../../src/base/guard.rs"]
    pub(crate) mod guard;
    #[path = "../../../../src/base/inbox.rs"]
    pub(crate) mod inbox;
    #[path = "../../../../src/base/parcel.rs"]
    pub(crate) mod parcel;
    #[path = "../../../../src/base/slot.rs"]
    pub(crate) mod slot;
    pub(crate) mod sync;
}

#[path = "../../../src/sched"]
mod sched {
    //! What of the scheduler is shared between threads.
    pub(crate) mod idle;
    pub(crate) mod queue;
}

#[path = "../../../src/task/mod.rs"]
pub mod task;

pub mod models;
