//! L4, the scheduler: where runnable tasks wait, who runs them, and when a core sleeps.
//!
//! # Queues
//! | queue | holds | pushed by | popped by |
//! |---|---|---|---|
//! | local queue | local (`!Send`) tasks | its core | its core |
//! | steal queue | `Send` tasks at home here | its core | its core, thieves |
//! | inbox, pinned lane | wakes of local tasks, messages | anyone | its core |
//! | inbox, Send lane | wakes of `Send` tasks, foreign spawns | anyone | its core, a searching core |
//! | injector | what does not fit a steal queue | cores | cores |
//!
//! A `Send` task has a home: the core that last ran it. A wake brings it there, from wherever it comes; it
//! changes its home only when another core steals it.
//!
//! # A turn
//! 1. Take the inbox: messages are delivered, tasks go to their queues.
//! 2. Poll tasks, local and steal queue in turn, until the poll budget or the quantum is spent or both are
//!    empty. The injector is asked every [`worker::INJECTOR_EVERY`] polls.
//! 3. Fire timers that are due.
//! 4. One `io_uring_enter`: it submits, and waits if nothing is runnable. Then completions are copied aside
//!    and acted on, and last the wakers are called.
//!
//! So every source is visited once a turn, and a turn is bounded by the budget and the quantum plus one poll.
//!
//! # Parking (the log of the protocol)
//! Core: publish `parked_at`; `inbox.park()`; then look again: both lanes, the injector, the shutdown word.
//! If any has something: `inbox.unpark()` and go on. Else wait in the ring; the doorbell ends the wait.
//! Pusher: push first, then knock (base/inbox.rs). Spawner into the injector: push, then knock at a parked
//! core. Shutdown: set the word, then knock at every core. While the runtime drains, a core says what tasks
//! it has after `inbox.park()` and before it looks again (drain.rs): ask first, then knock.
//!
//! # A clock that stands
//! Under `time::pause` (one core only) a core with nothing left to run, its background queue included, does
//! not park if its clock may jump (`time/clock.rs`): it asks the ring once without waiting, and if nothing
//! has completed and nothing has come, the clock goes to the next timer, which the next turn fires. If others
//! hold the clock, the core parks without a timer; the last hold sends a message, so parking needs no further
//! check.
//!
//! # Hungry and stealing
//! Hungry is computed, not entered: a core that has been parked for [`Config::idle_threshold`]. A core that
//! has surplus in its steal queue looks after each poll (one load) whether anybody is parked, and rings one
//! hungry core. A core that was rung and finds nothing of its own searches: the injector, then the others'
//! steal queues from a random start (half of what is there), then their Send lanes. It goes on until a search
//! fails. A core that runs dry searches before it parks if it has been dry for the threshold.
//!
//! # Rejected
//! - Waking a searcher for every push, as work-stealing runtimes do: on even load it costs wakes and context
//!   switches and gains nothing.
//! - A `Send` task woken on another core going to the waker's queue: it would drag its connection from ring
//!   to ring.

pub(crate) mod background;
mod beat;
mod current;
mod downfall;
mod drain;
pub(crate) mod idle;
mod injector;
pub(crate) mod monitor;
pub(crate) mod queue;
mod running;
mod search;
mod shared;
mod shutdown;
mod stuck;
mod turns;
pub(crate) mod victims;
pub(crate) mod watchdog;
pub(crate) mod worker;

pub(crate) use current::{Core, adopt_here, current_index, go_on_at, spawn_local_here, with_current};
pub(crate) use downfall::{Cause, Downfall};
pub(crate) use running::Running;
pub(crate) use shared::{Config, CoreShared, Shared};
pub(crate) use shutdown::{ALIVE_LISTED, Alive, Ended};
