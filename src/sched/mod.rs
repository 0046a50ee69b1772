//! L4, the scheduler: where runnable tasks wait, who runs them, and when a core sleeps.
//!
//! This page is the log of the protocol. Each part names the file that owns it. Of this room the models in
//! `tests/loom` check idle.rs and queue.rs, together with the inbox; the other races (injector, drain,
//! shutdown, who is stuck) have tests only.
//!
//! # Queues
//! | queue | holds | pushed by | taken by |
//! |---|---|---|---|
//! | local queue | local (`!Send`) tasks | its core | its core |
//! | steal queue, 256 places | `Send` tasks at home here | its core | its core; others take half |
//! | background queue | background tasks, local and `Send` | its core | its core |
//! | inbox, pinned lane | requests to local tasks, background tasks, messages | anyone | its core |
//! | inbox, Send lane | `Send` tasks woken or spawned elsewhere | anyone | its core; others take all |
//! | injector | what does not fit a steal queue | cores | cores |
//! | spill (`Steal::Never`) | what does not fit the steal queue | its core | its core |
//!
//! All are first in, first out. A lane is *take-all*: whoever takes gets everything that is in it at that
//! moment, in the order in which it came, and what comes later waits for the next taker.
//!
//! A `Send` task has a home: the core that last ran it. A wake brings it there, from wherever it comes. It
//! changes its home when another core takes it and polls it, or when it asks to (`core::move_to`). A full
//! steal queue keeps its older half and gives the newer half, with the task that did not fit, to the
//! injector (queue.rs).
//!
//! # A turn
//! 1. The inbox: both lanes are taken. Messages are delivered, tasks go to their queues. If a core is
//!    stuck, its work is taken over (below).
//! 2. Tasks are polled until the poll budget (128) or the quantum (500 µs) is spent, or until there is
//!    nothing to run but background tasks, of which one then has a poll.
//! 3. Timers that are due fire.
//! 4. If there is nothing to run, the core looks for work that is not its own. If there is none, it looks for
//!    a moment whether it is called, if that pays, and parks. What it takes from the injector does not stand
//!    in for the enter that follows: the injector may be full for long.
//! 5. One `io_uring_enter`, if there is something to hand over or to wait for. Completions are copied
//!    aside, then acted on, and last the wakers are called.
//!
//! A turn is thus bounded by its budget, and by the quantum plus what it is overrun by: polls of 10 µs and
//! more are timed one by one, so that is one poll; while polls are short the clock is read after up to
//! sixteen of them, so if they suddenly become long, as many may pass before that is seen (beat.rs). What
//! each source waits for:
//!
//! | source | bound |
//! |---|---|
//! | inbox | the rest of the turn; all that is there is taken |
//! | completions | the rest of the turn; all that are there are acted on |
//! | timers | the rest of the turn; beyond 1,024 the next turn, which does not wait |
//! | submissions | inside a turn, the first reading of the clock after the submit delay (100 µs) |
//! | local and steal queue | eight polls in a row of the other; long ones count by time (turns.rs) |
//! | injector | every 61st poll, and when the core is dry; a deep one its share of the `Send` polls (below) |
//! | spill | the first of it moves up with each `Send` task that is polled |
//! | background queue | a sixteenth of the time while others wait; else one poll a turn (background.rs) |
//!
//! Background tasks in turn make nobody wait for more than one of their polls at a time: between any two of
//! them another task has one, if any waits.
//!
//! The injector's share, once a core has not been dry for 1,024 polls, is as if what waits there, divided by
//! the number of cores, stood in the steal queue (injector.rs): behind a hundred thousand tasks that are
//! always ready a task waits for some two hundred thousand polls, and not for 61 times as many. If nothing
//! else stands there, beside a local task that is always ready, it is every poll in which the steal queue
//! would have its turn. A poll is skipped while another core takes.
//!
//! There is no bound on one poll: a task that does not return holds its core. That is what the cooperative
//! budget (`task::coop`), the monitor and the watchdog are for.
//!
//! # Parking
//! Core: publish `parked_at` and count one more as parked; `inbox.park()`; then look again: both lanes, the
//! injector, the shutdown word. If any has something: `inbox.unpark()` and go on. Else wait in the ring
//! until the next timer is due or a cancel is to be repeated; the doorbell ends the wait. A core whose
//! doorbell is not watched by its ring (the poll ended and could not be armed again yet) sleeps for 10 ms
//! at the most.
//!
//! Pusher: push first, then knock (base/inbox.rs): the doorbell is rung only if the core is parked and has
//! not been rung. Who wants a searcher: leave the request, then knock (idle.rs). Shutdown: set the word,
//! then knock at every core. A task that goes into the injector is followed by no knock: its core is awake,
//! asks the injector itself, and has half a queue of surplus, for which it looks for a hungry core; and for
//! what is left in the injector, once that is old.
//!
//! # Looking
//! To park and be woken costs tens of µs on a virtual CPU. So a core that has
//! lately been called (rung from outside, or by another core) sooner than that looks for a moment before it
//! parks, `spin_window` (50 µs) at most; `base::spin` is the rule by which it pays. Core: `inbox.spin()`;
//! look into both lanes; then watch the inbox's word, the shutdown word, the injector and the ring's flag of
//! deferred work. If there is something: `inbox.unpark()` and go on, else park as above. Pusher: as ever; it
//! finds a core that looks and rings nobody. What the kernel completes is no call and never makes a core
//! look: waiting for it is what batches are made of. A core with something to submit does not look, because
//! the park submits it; nor does one with completions that are visible, which it acts on at once (as below).
//! Some cores look at a time (idle.rs). A core that looks is not parked and never gets hungry, however little
//! it has to do; so an old surplus (below) asks it, too.
//!
//! # Hungry, and asked
//! Hungry is computed, not entered (idle.rs): a core is hungry once it has been parked for the idle
//! threshold (200 µs unless the builder says otherwise), as judged by whoever has something for it.
//!
//! A core has *surplus* if more than one task waits in its steal queue. After each poll, if anybody is
//! parked (one load), it looks how long that has lasted. Is the surplus 100 µs old, it looks for a hungry
//! core, near ones first, at most every 50 µs, and *asks* the first it finds: it leaves a request and
//! knocks. Three things move that line:
//! - *patience*: each request that led to no steal doubles, from 100 µs up to 25.6 ms, the further age that
//!   a surplus must have for that core to be asked again; a steal takes it back to nothing, and so does 1 ms
//!   of tasks of the injector. On even load, where a surplus is gone before anybody could come for it, cores
//!   thus soon leave each other alone;
//! - *an old surplus*: from 1 ms on, any core that is parked will do, however briefly it has been, or looks;
//! - *the injector*, which is everybody's: something that has been there for 1 ms is such an old surplus,
//!   also if the steal queue is empty. A burst of short tasks is over sooner, and to call others for it costs
//!   more than it gains: 1,000 pairs of tasks that send each other a value took 1.2 to 1.4 times the CPU and
//!   no less time (`ringwork-bench one pair-ping-pong ringwork`, two builds by turns).
//!
//! # A search
//! A core searches (search.rs) when it has nothing to run and
//! - was asked: it takes whatever there is;
//! - or has been dry for the idle threshold, parks included: then it leaves a lone task to the core that
//!   will run it next, and leaves Send lanes alone.
//!
//! Having found something, whatever the reason, it goes on as if asked each time it runs dry, until a search
//! fails. That last one counts as a request in vain: after a chain of steals the core's patience is 100 µs.
//!
//! The order is: the injector (a share of it, whatever the reason, and even without one); completions of its
//! own that are visible, because the kernel did at once what a poll has submitted (also without a reason: the
//! turn ends there); completions and submissions of its own that an enter would bring about; the others'
//! steal queues; if it was asked, their Send lanes. A steal takes the older half of a queue, rounded up, if
//! the thief has room for half a queue; a lane is taken whole. The first find ends the search. If that is
//! more than the core runs next, it asks the next hungry core at once.
//!
//! Victims come by distance (victims.rs): SMT siblings, then those that share a last-level cache, then the
//! same memory node, then the rest; inside a class in turn from a random start. Cores that are not pinned
//! are all equally far.
//!
//! # Stuck cores
//! A core that is in one poll stops only its own local tasks, background tasks, timers and ops. A thread of
//! its own, the monitor (monitor.rs), sees to that: a core publishes when its turn began, and a turn of an
//! awake core that is older than 10 ms is stuck, as is a core that was rung and has not woken for as long.
//! The monitor looks every 20 ms, every 80 ms while all cores are awake and turn, and sleeps while all are
//! parked (so that a core that does not answer its bell is found once another one wakes); a look that comes
//! late holds its lateness against no core. Once a core is flagged, until the
//! look that sees a new turn:
//! - awake cores take over its work once a turn: half of its steal queue, and its Send lane;
//! - if there is such work, or some in the injector, and a core is parked, the monitor asks that one, one
//!   per look;
//! - `Send` tasks of that core that are woken elsewhere make a *detour*: to the waker's core if that is
//!   well, else as if spawned from outside. What comes from outside goes to a core that is well: tasks
//!   (pick.rs), and the ops and timers that threads make which are no cores (base/reach.rs);
//! - servers accept from its listener (`serve`), and its watchers are woken (stuck.rs).
//!
//! The watchdog (watchdog.rs) is told how long it has been, and reports core, thread, task and where that
//! was spawned: what the core published by plain stores before the poll (running.rs). No pointer into a
//! task is followed, and no clock is read for it.
//!
//! # Moving on purpose
//! `core::move_to` notes a core and wakes its own task. When the poll is over, the task gets that core as
//! its home and goes there by its Send lane, as a wake would: past it if it is stuck, or taken on the way
//! by a core that was asked. (A background task goes by the pinned lane, from which nobody else takes.)
//! Only a task that is `Send` can, and not under `Steal::Never`.
//!
//! # `Steal::Never`
//! No core is hungry, none searches, and none is flagged as stuck: the watchdog still reports, and threads
//! that are no cores still go past it with new ops and timers, if there is a monitor. A full steal queue
//! spills into a list of the core's own, and the injector stays empty. Nothing ever leaves its core.
//!
//! # A clock that stands
//! Under `time::pause` (one core only) a core with nothing left to run, its background queue included, does
//! not park if its clock may jump (`time/clock.rs`): it asks the ring once without waiting, and if nothing
//! has completed, nothing has come and nobody has held the clock meanwhile, that goes to the next timer,
//! which the next turn fires. If others hold the clock, the core parks without a timer; the last hold sends a
//! message, so parking needs no further check. Which queue is next then depends on what has run and not on
//! how long it took: local and steal queue alternate, background tasks get one poll in sixteen, and the
//! injector's share is that of the moment, wherever a turn began. (That a task has stopped the clock is
//! noticed when the time is read next, after up to sixteen short polls; at once if the task had the first
//! poll of a turn.)
//!
//! # Draining and the end
//! While the runtime drains, spawns from outside are refused and every core is asked, twice, what tasks it
//! has; it answers when it parks, after `inbox.park()` and before it looks again: ask first, then knock
//! (drain.rs). The end itself goes in phases (shutdown.rs).
//!
//! # Rejected
//! - *Waking a searcher for every push*, as work-stealing runtimes do: on even load it costs wakes and
//!   context switches and gains nothing.
//! - *Hungry as a state that a core enters*: it would have to wake up to enter it, on every idle core and
//!   for nothing most of the time. The time of the park is written anyway, and whoever has surplus can
//!   subtract.
//! - *A slot for the task woken last*: it runs before what has waited longer, so it needs a limit on how
//!   often, and it hides a task from thieves while its core is in a long poll, so it needs an age as well.
//!   Without it every waiting task is in a queue that others can see, and there is nothing to tune.
//! - *Stealing one task at a time*: a thief would have to come back for each. Half is few steals however
//!   long the queue is, and leaves the victim as much as it takes.
//! - *A core that looks after the others* in its idle time: when it is needed, every core may be busy or
//!   the one on duty stuck itself. The monitor is a thread that runs no task.
//! - *A `Send` task woken on another core going to the waker's queue*: it would drag its connection from
//!   ring to ring.

pub(crate) mod background;
mod beat;
mod current;
mod downfall;
mod drain;
mod eager;
pub(crate) mod idle;
mod injector;
pub(crate) mod monitor;
mod pick;
pub(crate) mod queue;
mod running;
mod search;
mod shared;
mod shutdown;
#[cfg(test)]
mod single;
mod stock;
mod stuck;
mod turns;
pub(crate) mod victims;
pub(crate) mod watchdog;
pub(crate) mod worker;

pub(crate) use current::{
    Core, adopt_here, counted, current_index, go_on_at, is_cores_thread, spawn_local_here, with_current,
};
pub(crate) use downfall::{Cause, Downfall};
pub(crate) use eager::spawn_local_eager_here;
pub(crate) use shared::{Config, CoreShared, Shared};
pub(crate) use shutdown::{ALIVE_LISTED, Alive, Ended};
