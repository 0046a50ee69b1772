//! Tasks: where they are born, where they run, how they end, and what wakes them.

#[path = "../kit/mod.rs"]
mod kit;

mod abort;
mod birth;
mod eager;
mod join;
mod panics;
mod parking;
mod places;
mod wakes;
