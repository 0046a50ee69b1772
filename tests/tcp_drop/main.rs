//! Dropping any op at any await point, here, on another core and on a plain thread, while the runtime runs
//! and while it goes down: nothing leaks, no byte is lost, and the kernel never writes into memory that was
//! freed.

mod canary;
mod forwards;
mod going_down;
mod leaks;
mod moody;
mod receives;
mod sends;
mod stage;
#[path = "../support/mod.rs"]
mod support;
