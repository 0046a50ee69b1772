//! The end of a runtime: when it comes, from where, amid what, and what outlives it.

#[path = "../kit/mod.rs"]
mod kit;

mod afterwards;
mod busy;
mod held;
mod late;
mod leaks;
mod places;
mod races;
mod tasks;
