//! What a process has used so far: CPU time in nanoseconds, user and system apart, context switches, memory,
//! of all its threads, and how busy its CPUs were. The split of the CPU time comes from the kernel's tick
//! samples and is coarse; the sum is exact.

use std::{fs, io};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// A reading, or the difference of two.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_ns: u64,
    pub(crate) user: u64,
    pub(crate) system: u64,
    /// Context switches, voluntary or not.
    pub(crate) switches: u64,
    pub(crate) voluntary: u64,
    /// Busy time of the CPUs that it may use, whoever used them, and how many they are. As a reading it
    /// begins anywhere; as a difference it is no less than `cpu_ns`.
    pub(crate) busy_ns: u64,
    /// The part of it in which the kernel handled interrupts of its own, network mostly; it charges them to
    /// whatever process they came upon.
    pub(crate) softirq_ns: u64,
    pub(crate) cpus: u64,
    /// Resident memory, and the part of it that no file backs. Not a difference, but what was read last.
    pub(crate) rss_kib: u64,
    pub(crate) anon_kib: u64,
}

impl Usage {
    /// Of the calling process, threads that have ended included.
    pub(crate) fn own() -> Usage {
        let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the argument is valid");
        let micros = |t: nix::sys::time::TimeVal| (t.tv_sec() * 1_000_000 + t.tv_usec()) as u64;
        let voluntary = usage.voluntary_context_switches() as u64;
        // Of the first thread: a runtime may have pinned this one to less.
        let mask = sched_getaffinity(Pid::this()).unwrap_or_default();
        let (busy_ns, softirq_ns, cpus) = busy(|cpu| cpu < CpuSet::count() && mask.is_set(cpu) == Ok(true));
        let (rss_kib, anon_kib) = memory("self");
        Usage {
            cpu_ns: clock_ns(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("this clock always exists"),
            user: micros(usage.user_time()),
            system: micros(usage.system_time()),
            switches: voluntary + usage.involuntary_context_switches() as u64,
            voluntary,
            busy_ns,
            softirq_ns,
            cpus,
            rss_kib,
            anon_kib,
        }
    }

    /// Of process `pid`, which has `cpus`, and of its children that live.
    pub(crate) fn of_family(pid: u32, cpus: &[usize]) -> io::Result<Usage> {
        let mut all = Usage::of(pid, cpus)?;
        for child in children(pid)? {
            let child = Usage::of(child, cpus)?;
            all.cpu_ns += child.cpu_ns;
            all.user += child.user;
            all.system += child.system;
            all.switches += child.switches;
            all.voluntary += child.voluntary;
            all.rss_kib += child.rss_kib;
            all.anon_kib += child.anon_kib;
        }
        Ok(all)
    }

    /// Of process `pid`, which has `cpus`; switches of its threads that have ended are missing.
    pub(crate) fn of(pid: u32, cpus: &[usize]) -> io::Result<Usage> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name before the last parenthesis may hold spaces; field 3 is the first one after it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_ascii_whitespace().collect();
        let field = |number: usize| -> io::Result<u64> {
            let text = fields.get(number - 3).ok_or(io::ErrorKind::InvalidData)?;
            text.parse().map_err(io::Error::other)
        };
        let (user, system) = (field(14)?, field(15)?);
        let (mut switches, mut voluntary) = (0, 0);
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the listing and the reading.
            let status = fs::read_to_string(task?.path().join("status")).unwrap_or_default();
            let willing = count(&status, "voluntary_ctxt_switches:");
            voluntary += willing;
            switches += willing + count(&status, "nonvoluntary_ctxt_switches:");
        }
        let (rss_kib, anon_kib) = memory(&pid.to_string());
        let (busy_ns, softirq_ns, cpus) = busy(|cpu| cpus.contains(&cpu));
        let cpu_ns = clock_ns(clock_getcpuclockid(Pid::from_raw(pid as i32))?)?;
        Ok(Usage { cpu_ns, user, system, switches, voluntary, busy_ns, softirq_ns, cpus, rss_kib, anon_kib })
    }

    /// What was used between `earlier` and this reading.
    pub(crate) fn since(&self, earlier: &Usage) -> Usage {
        Usage {
            cpu_ns: self.cpu_ns - earlier.cpu_ns,
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            switches: self.switches.saturating_sub(earlier.switches),
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            // Its steps are coarse; what the process itself used is known.
            busy_ns: self.busy_ns.saturating_sub(earlier.busy_ns).max(self.cpu_ns - earlier.cpu_ns),
            softirq_ns: self.softirq_ns.saturating_sub(earlier.softirq_ns),
            ..*self
        }
    }

    /// The part of `cpu_ns` that was spent outside the kernel.
    pub(crate) fn user_ns(&self) -> u64 {
        let total = (self.user + self.system).max(1);
        (u128::from(self.cpu_ns) * u128::from(self.user) / u128::from(total)) as u64
    }
}

/// The processes whose parent is `pid`. The kernel's own list of them is not in every kernel.
pub(crate) fn children(pid: u32) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(child) = entry?.file_name().to_string_lossy().parse() else { continue };
        // A process may end between the listing and the reading.
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        // Behind the name, which may hold spaces: the state and the parent.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_ascii_whitespace().nth(1));
        if parent.and_then(|parent| parent.parse().ok()) == Some(pid) {
            found.push(child);
        }
    }
    Ok(found)
}

/// CPU time of the calling thread.
pub(crate) fn own_thread_ns() -> u64 {
    clock_ns(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("this clock always exists")
}

/// The number behind `name` in a status file of the kernel; 0 if it is not there.
fn count(status: &str, name: &str) -> u64 {
    let text = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    text.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

/// Resident memory of `process`, and the part of it that no file backs, in KiB.
fn memory(process: &str) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    (count(&status, "VmRSS:"), count(&status, "RssAnon:"))
}

/// Time that the CPUs `is_meant` have not been idle, from some moment on, in steps of 10 ms (the kernel
/// counts hundredths of seconds here), the part of it in soft interrupts, and how many CPUs they are.
///
/// What is not idle is what remains: idle time is measured, but work only sampled, with the tick, and what
/// sleeps between two ticks is not seen.
fn busy(is_meant: impl Fn(usize) -> bool) -> (u64, u64, u64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let now = clock_ns(ClockId::CLOCK_MONOTONIC).expect("this clock always exists");
    let (mut idle, mut soft, mut cpus) = (0, 0, 0);
    for line in stat.lines().filter_map(|line| line.strip_prefix("cpu")) {
        let mut fields = line.split_ascii_whitespace();
        // The first line is the sum of all CPUs and has no number.
        let number = fields.next().filter(|_| !line.starts_with(' ')).and_then(|n| n.parse().ok());
        if number.is_some_and(&is_meant) {
            cpus += 1;
            // user nice system idle iowait irq softirq steal; what follows is counted in these already.
            let ticks: Vec<u64> = fields.take(8).filter_map(|ticks| ticks.parse().ok()).collect();
            idle += ticks.iter().skip(3).take(2).sum::<u64>();
            soft += ticks.get(6).copied().unwrap_or(0);
        }
    }
    ((now * cpus).saturating_sub(idle * 10_000_000), soft * 10_000_000, cpus)
}

fn clock_ns(clock: ClockId) -> nix::Result<u64> {
    let time = clock_gettime(clock)?;
    Ok(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}
