//! Model checks of ringwork's concurrent structures: the same source files, compiled against loom.
//!
//! Owns nothing of the runtime: each `#[path]` below is a file of the main crate, and `sync` is the loom half
//! of the pair whose other half is `src/base/sync.rs`. `cargo test` runs the quick models; the deep ones are
//! `LOOM_MAX_PREEMPTIONS=3 cargo test --release -p ringwork-loom -- --ignored`.
#![allow(dead_code, unused_imports, unreachable_pub)]

mod base {
    //! The floor of the house against loom.
    #[path = "../../../../src/base/apart.rs"]
    pub(crate) mod apart;
    #[path = "../../../../src/base/coop.rs"]
    pub(crate) mod coop;
    #[path = "../../../../src/base/guard.rs"]
    pub(crate) mod guard;
    #[cfg(feature = "tracing")]
    #[path = "../../../../src/base/heard.rs"]
    pub(crate) mod heard;
    #[path = "../../../../src/base/inbox.rs"]
    pub(crate) mod inbox;
    #[path = "../../../../src/base/message.rs"]
    pub(crate) mod message;
    #[path = "../../../../src/base/parcel.rs"]
    pub(crate) mod parcel;
    #[path = "../../../../src/base/rarely.rs"]
    pub(crate) mod rarely;
    #[path = "../../../../src/base/reach.rs"]
    pub(crate) mod reach;
    #[path = "../../../../src/base/slot.rs"]
    pub(crate) mod slot;
    #[path = "../../../../src/base/spin.rs"]
    pub(crate) mod spin;
    pub(crate) mod sync;
}

#[path = "../../../src/buf"]
mod buf {
    //! What of the buffers is shared between threads.
    pub(crate) mod returns;
}

mod ring {
    //! Cells and ops, over memory and a ring of the models' own.
    mod bench;
    #[path = "../../../../src/ring/cell.rs"]
    pub(crate) mod cell;
    #[path = "../../../../src/ring/flight.rs"]
    pub(crate) mod flight;
    #[path = "../../../../src/ring/holds.rs"]
    pub(crate) mod holds;
    #[path = "../../../../src/ring/lease.rs"]
    pub(crate) mod lease;
    pub(crate) mod memory;
    #[path = "../../../../src/ring/op.rs"]
    pub(crate) mod op;
    #[path = "../../../../src/ring/slots.rs"]
    pub(crate) mod slots;

    pub(crate) use bench::{Ring, enter, with_current};
}

mod sys;

#[path = "../../../src/sched"]
mod sched {
    //! What of the scheduler is shared between threads.
    pub(crate) mod idle;
    pub(crate) mod queue;
}

#[path = "../../../src/task/mod.rs"]
pub mod task;

pub mod models;
