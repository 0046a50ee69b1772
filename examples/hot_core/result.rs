//! What a run took and cost, and its one line.

use crate::args::Args;
use nix::sys::resource::{UsageWho, getrusage};
use ringwork::CoreMetrics;
use ringwork::runtime::Runtime;
use std::io;
use std::time::Duration;

/// How long it took.
pub(crate) struct Outcome {
    pub(crate) makespan: Duration,
    /// Of each task or request, in nanoseconds.
    pub(crate) waits: Vec<u64>,
}

/// What the process and the cores have spent.
pub(crate) struct Cost {
    cores: Vec<CoreMetrics>,
    voluntary: i64,
    involuntary: i64,
    cpu: Duration,
}

impl Cost {
    pub(crate) fn so_far(runtime: &Runtime) -> io::Result<Self> {
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        let time = |time: nix::sys::time::TimeVal| {
            Duration::from_secs(time.tv_sec() as u64) + Duration::from_micros(time.tv_usec() as u64)
        };
        Ok(Self {
            cores: runtime.handle().metrics().cores,
            voluntary: usage.voluntary_context_switches(),
            involuntary: usage.involuntary_context_switches(),
            cpu: time(usage.user_time()) + time(usage.system_time()),
        })
    }

    pub(crate) fn since(mut self, before: &Self) -> Self {
        self.voluntary -= before.voluntary;
        self.involuntary -= before.involuntary;
        self.cpu = self.cpu.saturating_sub(before.cpu);
        for (core, before) in self.cores.iter_mut().zip(&before.cores) {
            core.polls -= before.polls;
            core.enters -= before.enters;
            core.steals -= before.steals;
            core.tasks_stolen -= before.tasks_stolen;
            core.hungry_wakes -= before.hungry_wakes;
            core.doorbells -= before.doorbells;
            core.parks -= before.parks;
        }
        self
    }

    fn sum(&self, of: fn(&CoreMetrics) -> u64) -> u64 {
        self.cores.iter().map(of).sum()
    }
}

pub(crate) fn to_json(args: &Args, mut outcome: Outcome, cost: &Cost) -> String {
    outcome.waits.sort_unstable();
    let waits = &outcome.waits;
    let quantile = |q: f64| waits[((waits.len() - 1) as f64 * q) as usize] as f64 / 1e3;
    let switches = cost.voluntary + cost.involuntary;
    let (steals, wakes) = (cost.sum(|core| core.steals), cost.sum(|core| core.doorbells));
    let enters = cost.sum(|core| core.enters);
    let polls: Vec<String> = cost.cores.iter().map(|core| core.polls.to_string()).collect();
    let each = |count: f64| count / args.tasks as f64;
    let fields = [
        ("makespan_ms", format!("{:.2}", outcome.makespan.as_secs_f64() * 1e3)),
        ("p50_us", format!("{:.1}", quantile(0.5))),
        ("p99_us", format!("{:.1}", quantile(0.99))),
        ("p999_us", format!("{:.1}", quantile(0.999))),
        ("steals", steals.to_string()),
        ("tasks_stolen", cost.sum(|core| core.tasks_stolen).to_string()),
        ("hungry_wakes", cost.sum(|core| core.hungry_wakes).to_string()),
        ("polls_per_core", format!("[{}]", polls.join(","))),
        ("context_switches", switches.to_string()),
        ("voluntary_switches", cost.voluntary.to_string()),
        ("cpu_ms", format!("{:.1}", cost.cpu.as_secs_f64() * 1e3)),
        ("wakes_per_task", format!("{:.5}", each(wakes as f64))),
        ("enters_per_task", format!("{:.5}", each(enters as f64))),
        ("steals_per_task", format!("{:.5}", each(steals as f64))),
        ("switches_per_task", format!("{:.5}", each(switches as f64))),
    ];
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}
