//! The watchdog: says which core is stuck, in what, for how long.
//!
//! Owns the public [`StuckReport`] and [`Watchdog`], and when a report is due. It reads what cores publish
//! by plain stores (task id, place of birth, name) and follows no pointer into a task. It neither ends nor
//! moves anything, and writes nothing itself: reports go to `tracing` or to a callback.
#![forbid(unsafe_code)]

use super::monitor::STUCK_AFTER;
use super::shared::Shared;
use crate::base::guard::contained;
use crate::task::Id;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// After a report about a core, other culprits of that core are counted and not reported for this long.
const PAUSE: Duration = Duration::from_secs(1);

/// What happens when a core is stuck in one poll.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Watchdog {
    /// Nothing.
    Off,
    /// A `tracing` event of level WARN with the report's text (the default). A panic in the subscriber is
    /// contained.
    #[default]
    Log,
    /// This is called with each report, on the monitor's thread. A callback that blocks delays the help for
    /// stuck cores; a panic in it is contained.
    Call(Arc<dyn Fn(&StuckReport) + Send + Sync>),
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::Log => "Log",
            Self::Call(_) => "Call(..)",
        })
    }
}

/// The watchdog's settings.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) what: Watchdog,
    /// How long a core is stuck before it is reported.
    pub(crate) after: Duration,
}

/// Where a core is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StuckIn {
    /// In the poll of a task, which the report names.
    Poll,
    /// Between polls, in foreign code that the loop calls: a waker, a destructor.
    Loop,
    /// In the kernel: it was rung and has not come back (stopped by a signal, starved of CPU).
    Kernel,
}

/// One core that is stuck; see [`Builder::watchdog`](crate::runtime::Builder::watchdog).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StuckReport {
    /// The core.
    pub core: usize,
    /// The CPU it is pinned to, if it is.
    pub cpu: Option<usize>,
    /// The kernel's number of its thread, as debuggers and `top -H` show it.
    pub thread: u64,
    /// Where it is stuck.
    pub stuck_in: StuckIn,
    /// The task it is polling.
    pub task: Option<Id>,
    /// That task's name, if it has one; cut after 32 bytes.
    pub name: Option<String>,
    /// Where that task was spawned.
    pub spawned_at: Option<&'static Location<'static>>,
    /// How long it has been stuck, at the least.
    pub at_least: Duration,
    /// Reports about this core that were left out since the last one.
    pub suppressed: u64,
}

impl fmt::Display for StuckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "core {} (thread {}", self.core, self.thread)?;
        if let Some(cpu) = self.cpu {
            write!(f, ", CPU {cpu}")?;
        }
        let millis = self.at_least.as_millis();
        match (self.stuck_in, self.task) {
            (StuckIn::Kernel, _) => write!(f, ") was rung {millis} ms ago and has not woken")?,
            (_, None) => write!(f, ") has been in a waker or a destructor for at least {millis} ms")?,
            (_, Some(task)) => {
                write!(f, ") has been polling task {task}")?;
                if let Some(name) = &self.name {
                    write!(f, " \"{name}\"")?;
                }
                if let Some(at) = self.spawned_at {
                    write!(f, " spawned at {at}")?;
                }
                write!(
                    f,
                    " for at least {millis} ms: use spawn_blocking for calls that block, spawn_heavy "
                )?;
                write!(f, "for computing, or await task::yield_now between pieces")?;
            }
        }
        if self.suppressed > 0 {
            write!(f, " ({} more reports left out)", self.suppressed)?;
        }
        Ok(())
    }
}

/// What the monitor has found out about a core that is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// When it began (a stamp); tells one stretch from the next.
    pub(super) began: u64,
    /// For how long, without what is held against no core.
    pub(super) age: Duration,
    /// In the kernel: it was rung and does not wake.
    pub(super) deaf: bool,
}

/// When a core was reported last.
#[derive(Clone, Debug, Default)]
struct Told {
    /// When the stretch that is going on began, and the age at which it is reported next, which doubles.
    stretch: Option<(u64, Duration)>,
    at: Option<Instant>,
    suppressed: u64,
}

/// What the monitor keeps for the watchdog.
pub(super) struct Watch {
    config: Option<(Watchdog, Duration)>,
    told: Vec<Told>,
}

impl Watch {
    pub(super) fn new(config: &Config, cores: usize) -> Self {
        let is_on = !matches!(config.what, Watchdog::Off);
        // What is younger is not stuck, and the ages of the reports are doubled from here.
        let after = config.after.max(Duration::from_nanos(STUCK_AFTER));
        Self { config: is_on.then(|| (config.what.clone(), after)), told: vec![Told::default(); cores] }
    }

    /// The core makes progress.
    pub(super) fn well(&mut self, core: usize) {
        self.told[core].stretch = None;
    }

    /// The core is stuck, in a stretch that began at `began`: reports it if that is due.
    pub(super) fn stuck(&mut self, shared: &Shared, core: usize, stretch: Stretch, now: Instant) {
        let Some((what, after)) = &self.config else { return };
        if !self.told[core].is_due(&stretch, *after, now) {
            return;
        }
        let Stretch { age, deaf, .. } = stretch;
        let suppressed = std::mem::take(&mut self.told[core].suppressed);
        let report = describe(shared, core, deaf, age, suppressed);
        // A subscriber is as foreign as a callback.
        contained(|| match what {
            Watchdog::Off => {}
            Watchdog::Log => tracing::warn!(target: "ringwork::watchdog", "{report}"),
            Watchdog::Call(call) => call(&report),
        });
    }
}

impl Told {
    /// One stretch is reported at `after`, at twice that, and so on; a new one only [`PAUSE`] after the last
    /// report.
    fn is_due(&mut self, stretch: &Stretch, after: Duration, now: Instant) -> bool {
        // The same stretch: no look has to have seen the core well between two.
        let known = self.stretch.filter(|(began, _)| *began == stretch.began);
        let next = known.map_or(after, |(_, next)| next);
        let is_due = stretch.age >= next;
        self.stretch = Some((stretch.began, if is_due { next.saturating_mul(2) } else { next }));
        if !is_due {
            return false;
        }
        let is_soon = self.at.is_some_and(|at| now.duration_since(at) < PAUSE);
        if is_soon && next == after {
            self.suppressed += 1;
            return false;
        }
        self.at = Some(now);
        true
    }
}

fn describe(shared: &Shared, core: usize, deaf: bool, at_least: Duration, suppressed: u64) -> StuckReport {
    let block = &shared.cores[core];
    let running = block.running.read();
    let stuck_in = match (deaf, &running.task) {
        (true, _) => StuckIn::Kernel,
        (false, Some(_)) => StuckIn::Poll,
        (false, None) => StuckIn::Loop,
    };
    StuckReport {
        core,
        cpu: block.cpu,
        thread: block.thread.load(std::sync::atomic::Ordering::Relaxed),
        stuck_in,
        task: running.task,
        name: running.name,
        spawned_at: running.spawned_at,
        at_least,
        suppressed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_millis(100);

    fn of(began: u64, age: u64) -> Stretch {
        Stretch { began, age: ms(age), deaf: false }
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn one_stretch_is_reported_at_doubling_ages() {
        let (mut told, start) = (Told::default(), Instant::now());
        let due: Vec<u64> = (0..200)
            .map(|n| n * 10)
            .filter(|&age| told.is_due(&of(1, age), AFTER, start + ms(age)))
            .collect();
        assert_eq!(due, [100, 200, 400, 800, 1_600]);
    }

    #[test]
    fn a_report_after_less_than_makes_a_core_stuck_comes_after_that_and_at_its_doubles() {
        for after in [0, 1] {
            let config = Config { what: Watchdog::Log, after: ms(after) };
            let (_, after) = Watch::new(&config, 1).config.expect("it is on");
            let mut told = Told::default();
            let now = Instant::now();
            let ages = [10, 15, 20, 39, 40];
            let due = ages.map(|age| told.is_due(&of(1, age), after, now));
            assert_eq!(due, [true, false, true, false, true]);
        }
    }

    #[test]
    fn a_stretch_that_follows_one_that_was_reported_late_is_reported_in_time() {
        let (mut told, start) = (Told::default(), Instant::now());
        (0..200).for_each(|n| _ = told.is_due(&of(1, n * 10), AFTER, start + ms(n * 10)));
        // The next poll is seen when it is stuck already, and never between the two.
        let later = start + ms(3_000);
        let due: Vec<u64> = (2..100)
            .map(|n| n * 10)
            .filter(|&age| told.is_due(&of(2, age), AFTER, later + ms(age)))
            .collect();
        assert_eq!(due, [100, 200, 400, 800]);
    }

    #[test]
    fn many_short_stretches_are_reported_once_a_second_and_counted() {
        let (mut told, start) = (Told::default(), Instant::now());
        let mut due = Vec::new();
        for stretch in 0..20 {
            let now = start + ms(stretch * 150 + 110);
            if told.is_due(&of(stretch, 110), AFTER, now) {
                due.push((stretch, std::mem::take(&mut told.suppressed)));
            }
        }
        assert_eq!(due, [(0, 0), (7, 6), (14, 6)]);
    }

    #[test]
    fn a_report_names_core_task_place_and_cure() {
        let report = StuckReport {
            core: 1,
            cpu: Some(3),
            thread: 77,
            stuck_in: StuckIn::Poll,
            task: Id::from_u64(9),
            name: Some("index".to_owned()),
            spawned_at: Some(Location::caller()),
            at_least: ms(120),
            suppressed: 2,
        };
        let text = report.to_string();
        for part in
            ["core 1", "CPU 3", "77", "task 9", "\"index\"", file!(), "120 ms", "spawn_heavy", "2 more"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
