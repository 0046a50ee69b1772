//! Tools around tasks: names and places, sets that are joined as they end, values that follow a task.

#[path = "../kit/mod.rs"]
mod kit;

mod background;
mod names;
mod places;
mod set_ends;
mod set_joins;
mod set_races;
mod task_locals;
mod task_locals_dropped;
