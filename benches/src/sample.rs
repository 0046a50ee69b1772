//! One measured slice of one program, as it travels from a reader to the harness and into the report.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::usage::Usage;

/// What a turn in open loop has besides, in nanoseconds (`load/tenths.rs`).
pub(crate) const P99_OF_A_TENTH: &str = "p99 of a tenth";

/// Readings of one slice; times in nanoseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Requests answered, reads completed, tasks run: what one op is, the workload says.
    pub(crate) ops: u64,
    pub(crate) wall_ns: u64,
    /// CPU time of the whole measured process.
    pub(crate) cpu_ns: u64,
    /// The part of it spent outside the kernel.
    pub(crate) user_ns: u64,
    pub(crate) switches: u64,
    /// The part of them in which a thread had nothing to do.
    pub(crate) voluntary: u64,
    /// Busy time of the measured process's CPUs, whoever used them but load generators on them.
    pub(crate) busy_ns: u64,
    /// The part of it in soft interrupts, whomever the kernel charged with them.
    pub(crate) softirq_ns: u64,
    pub(crate) cpus: u64,
    /// Of ops that were timed one by one; none if none were.
    pub(crate) p50_ns: Option<u64>,
    pub(crate) p99_ns: Option<u64>,
    pub(crate) p999_ns: Option<u64>,
    /// CPU time of the load generator, where there is one.
    pub(crate) load_cpu_ns: Option<u64>,
    /// Resident memory at the end, and the part of it that no file backs.
    pub(crate) rss_kib: u64,
    pub(crate) anon_kib: u64,
    /// Of a process that counts them: allocations meanwhile, and live bytes at the end.
    pub(crate) allocations: Option<u64>,
    pub(crate) heap_bytes: Option<i64>,
    /// Calls of `io_uring_enter` or `epoll_wait` by a program that counts its own.
    pub(crate) waits: Option<u64>,
    /// System calls of a turn under strace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) syscalls: Option<u64>,
    /// Of a runtime that counts these.
    pub(crate) counters: Option<Counters>,
    /// What only this kind of work has, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) special: BTreeMap<String, f64>,
    /// What went on while a core was stuck, or might have been.
    pub(crate) stuck: Option<Stuck>,
}

/// What a server of ours has counted: since it started, or between two readings.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// If it counts them. Bytes are not a difference, but those that live at the last reading.
    pub(crate) allocations: Option<u64>,
    pub(crate) heap_bytes: Option<i64>,
    pub(crate) waits: Option<u64>,
    pub(crate) counters: Option<Counters>,
    /// System calls between two readings, if strace has counted them: the program does not know.
    #[serde(skip)]
    pub(crate) syscalls: Option<u64>,
}

impl Report {
    fn since(self, earlier: &Report) -> Report {
        let difference = |now: Option<u64>, then: Option<u64>| now.zip(then).map(|(now, then)| now - then);
        Report {
            allocations: difference(self.allocations, earlier.allocations),
            heap_bytes: self.heap_bytes,
            waits: difference(self.waits, earlier.waits),
            counters: self.counters.zip(earlier.counters.as_ref()).map(|(now, then)| now.since(then)),
            syscalls: self.syscalls,
        }
    }
}

/// What a server has used and counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) usage: Usage,
    pub(crate) report: Report,
}

impl Reading {
    /// What was used and counted between `earlier` and this reading.
    pub(crate) fn since(self, earlier: &Reading) -> Reading {
        Reading { usage: self.usage.since(&earlier.usage), report: self.report.since(&earlier.report) }
    }
}

/// What was done before a core that was blocked in one poll came back from it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stuck {
    /// Requests answered on connections that were there before.
    pub(crate) answered: u64,
    /// New connections that were greeted and had their first message echoed.
    pub(crate) new_served: u64,
    pub(crate) culprit: Culprit,
}

/// The same as the program itself has seen it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Culprit {
    /// Those of the tasks spawned by the poll that had run before its end.
    pub(crate) tasks_run: u64,
    /// From the start of the poll until its runtime's watchdog told of it.
    pub(crate) reported_ns: Option<u64>,
}

/// What a runtime has counted, of all its cores: since it started, or between two readings.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Calls of `io_uring_enter`.
    pub(crate) enters: u64,
    pub(crate) parks: u64,
    pub(crate) doorbells: u64,
    /// Successful searches of other cores.
    pub(crate) steals: u64,
    pub(crate) tasks_stolen: u64,
    /// Tasks that went through the injector.
    pub(crate) overflows: u64,
    /// Tasks polled, by core.
    pub(crate) polls: Vec<u64>,
}

impl Counters {
    /// What was counted between `earlier` and this reading.
    pub(crate) fn since(&self, earlier: &Counters) -> Counters {
        Counters {
            enters: self.enters - earlier.enters,
            parks: self.parks - earlier.parks,
            doorbells: self.doorbells - earlier.doorbells,
            steals: self.steals - earlier.steals,
            tasks_stolen: self.tasks_stolen - earlier.tasks_stolen,
            overflows: self.overflows - earlier.overflows,
            polls: self.polls.iter().zip(&earlier.polls).map(|(now, then)| now - then).collect(),
        }
    }
}

impl Sample {
    pub(crate) fn new(ops: u64, wall: Duration, used: Usage, latency: &Histogram<u64>) -> Sample {
        let quantile = |q| (!latency.is_empty()).then(|| latency.value_at_quantile(q));
        Sample {
            ops,
            wall_ns: wall.as_nanos() as u64,
            cpu_ns: used.cpu_ns,
            user_ns: used.user_ns(),
            switches: used.switches,
            voluntary: used.voluntary,
            busy_ns: used.busy_ns,
            softirq_ns: used.softirq_ns,
            cpus: used.cpus,
            p50_ns: quantile(0.50),
            p99_ns: quantile(0.99),
            p999_ns: quantile(0.999),
            load_cpu_ns: None,
            rss_kib: used.rss_kib,
            anon_kib: used.anon_kib,
            allocations: None,
            heap_bytes: None,
            waits: None,
            syscalls: None,
            counters: None,
            special: BTreeMap::new(),
            stuck: None,
        }
    }

    /// The sample of a server that used and counted `reading` while it was measured.
    pub(crate) fn of_server(ops: u64, wall: Duration, reading: Reading, latency: &Histogram<u64>) -> Sample {
        let Reading { usage, report } = reading;
        let mut sample = Sample::new(ops, wall, usage, latency);
        let enters = report.counters.as_ref().map(|counters| counters.enters);
        (sample.allocations, sample.heap_bytes) = (report.allocations, report.heap_bytes);
        sample.syscalls = report.syscalls;
        (sample.waits, sample.counters) = (report.waits.or(enters), report.counters);
        sample
    }

    /// The same sample with a reading that only its kind of work has.
    pub(crate) fn with(mut self, name: &str, value: f64) -> Sample {
        self.special.insert(name.to_owned(), value);
        self
    }

    /// What only this kind of work has; not a number if it has no such thing.
    pub(crate) fn special(&self, name: &str) -> f64 {
        self.special.get(name).copied().unwrap_or(f64::NAN)
    }

    /// Something that is not counted everywhere, per op.
    pub(crate) fn maybe_per_op(&self, total: Option<u64>) -> f64 {
        total.map_or(f64::NAN, |total| self.per_op(total))
    }

    /// Prints it as one line of JSON, which the harness reads.
    pub(crate) fn print(&self) -> io::Result<()> {
        println!("{}", serde_json::to_string(self)?);
        Ok(())
    }

    pub(crate) fn per_op(&self, total: u64) -> f64 {
        total as f64 / self.ops.max(1) as f64
    }

    pub(crate) fn cpu_us_per_op(&self) -> f64 {
        self.per_op(self.cpu_ns) / 1e3
    }

    pub(crate) fn user_us_per_op(&self) -> f64 {
        self.per_op(self.user_ns) / 1e3
    }

    pub(crate) fn sys_us_per_op(&self) -> f64 {
        self.per_op(self.cpu_ns.saturating_sub(self.user_ns)) / 1e3
    }

    /// One of the runtime's counters; not a number if it counts nothing.
    pub(crate) fn counted(&self, counter: fn(&Counters) -> u64) -> f64 {
        self.counters.as_ref().map_or(f64::NAN, |counters| counter(counters) as f64)
    }

    /// Something of what went on beside a stuck core; not a number if none was to be.
    pub(crate) fn beside_stuck(&self, of: fn(&Stuck) -> f64) -> f64 {
        self.stuck.as_ref().map_or(f64::NAN, of)
    }

    pub(crate) fn wall_ns_per_op(&self) -> f64 {
        self.per_op(self.wall_ns)
    }

    pub(crate) fn cpu_ns_per_op(&self) -> f64 {
        self.per_op(self.cpu_ns)
    }

    /// What server, load generators and others used of the CPUs that they share; not a number without a load.
    pub(crate) fn machine_ns_per_op(&self) -> f64 {
        self.load_cpu_ns.map_or(f64::NAN, |load| self.per_op(self.busy_ns.max(self.cpu_ns) + load))
    }

    pub(crate) fn switches_per_op(&self) -> f64 {
        self.per_op(self.switches)
    }

    pub(crate) fn ops_per_s(&self) -> f64 {
        self.ops as f64 * 1e9 / self.wall_ns.max(1) as f64
    }

    /// Share of one CPU that the measured process used, in percent; above 100 with several threads on
    /// several CPUs.
    pub(crate) fn server_percent(&self) -> f64 {
        self.cpu_ns as f64 * 100.0 / self.wall_ns.max(1) as f64
    }

    /// Share of the measured process's CPUs that others used meanwhile, in percent: a quiet machine has next
    /// to none, but for the kernel's own threads.
    pub(crate) fn others_percent(&self) -> f64 {
        let all = (self.wall_ns * self.cpus).max(1);
        self.busy_ns.saturating_sub(self.cpu_ns) as f64 * 100.0 / all as f64
    }

    /// Share of those CPUs that the kernel spent in soft interrupts, in percent.
    pub(crate) fn softirq_percent(&self) -> f64 {
        self.softirq_ns as f64 * 100.0 / (self.wall_ns * self.cpus).max(1) as f64
    }

    /// Share of all polls that the core with most of them did, in percent.
    pub(crate) fn busier_core_percent(&self) -> f64 {
        let Some(Counters { polls, .. }) = &self.counters else {
            return f64::NAN;
        };
        let most = polls.iter().max().copied().unwrap_or(0);
        most as f64 * 100.0 / polls.iter().sum::<u64>().max(1) as f64
    }

    /// Share of one CPU that the load generators used, in percent.
    pub(crate) fn load_percent(&self) -> Option<f64> {
        self.load_cpu_ns.map(|ns| ns as f64 * 100.0 / self.wall_ns.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::latencies;

    #[test]
    fn what_the_generators_use_is_the_machines_and_not_the_servers() {
        let used = Usage { cpu_ns: 500, busy_ns: 600, cpus: 2, ..Usage::default() };
        let mut sample = Sample::new(10, Duration::from_nanos(1000), used, &latencies());
        assert!(sample.machine_ns_per_op().is_nan());
        sample.load_cpu_ns = Some(900);
        assert_eq!((sample.cpu_ns_per_op(), sample.machine_ns_per_op()), (50.0, 150.0));
        // The kernel's idle time comes in steps of 10 ms, the CPU time of a process does not.
        sample.busy_ns = 300;
        assert_eq!(sample.machine_ns_per_op(), 140.0);
    }
}
