//! What a process has used so far: CPU time in nanoseconds, user and system apart, and context switches,
//! of all its threads. The split comes from the kernel's tick samples and is coarse; the sum is exact.

use std::{fs, io};

use nix::sched::sched_getcpu;
use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// A reading, or the difference of two.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_ns: u64,
    pub(crate) user: u64,
    pub(crate) system: u64,
    pub(crate) switches: u64,
    /// Busy time of the CPU it is pinned to, whoever used it.
    pub(crate) busy_ns: u64,
}

impl Usage {
    /// Of the calling process, threads that have ended included.
    pub(crate) fn own() -> Usage {
        let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the argument is valid");
        let micros = |t: nix::sys::time::TimeVal| (t.tv_sec() * 1_000_000 + t.tv_usec()) as u64;
        Usage {
            cpu_ns: clock_ns(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("this clock always exists"),
            user: micros(usage.user_time()),
            system: micros(usage.system_time()),
            switches: (usage.voluntary_context_switches() + usage.involuntary_context_switches()) as u64,
            busy_ns: sched_getcpu().map_or(0, busy_ns),
        }
    }

    /// Of process `pid`; switches of its threads that have ended are missing.
    pub(crate) fn of(pid: u32) -> io::Result<Usage> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name before the last parenthesis may hold spaces; field 3 is the first one after it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_ascii_whitespace().collect();
        let field = |number: usize| -> io::Result<u64> {
            let text = fields.get(number - 3).ok_or(io::ErrorKind::InvalidData)?;
            text.parse().map_err(io::Error::other)
        };
        let (user, system, cpu) = (field(14)?, field(15)?, field(39)?);
        let mut switches = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the listing and the reading.
            let status = fs::read_to_string(task?.path().join("status")).unwrap_or_default();
            switches += status
                .lines()
                .filter(|line| line.contains("ctxt_switches:"))
                .filter_map(|line| line.rsplit('\t').next()?.parse::<u64>().ok())
                .sum::<u64>();
        }
        let clock = clock_getcpuclockid(Pid::from_raw(pid as i32))?;
        Ok(Usage { cpu_ns: clock_ns(clock)?, user, system, switches, busy_ns: busy_ns(cpu as usize) })
    }

    /// What was used between `earlier` and this reading.
    pub(crate) fn since(&self, earlier: &Usage) -> Usage {
        Usage {
            cpu_ns: self.cpu_ns - earlier.cpu_ns,
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            switches: self.switches.saturating_sub(earlier.switches),
            busy_ns: self.busy_ns.saturating_sub(earlier.busy_ns),
        }
    }

    /// The part of `cpu_ns` that was spent outside the kernel.
    pub(crate) fn user_ns(&self) -> u64 {
        let total = (self.user + self.system).max(1);
        (u128::from(self.cpu_ns) * u128::from(self.user) / u128::from(total)) as u64
    }
}

/// CPU time of the calling thread.
pub(crate) fn own_thread_ns() -> u64 {
    clock_ns(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("this clock always exists")
}

/// Time that `cpu` has not been idle, in steps of 10 ms: the kernel counts hundredths of seconds here.
fn busy_ns(cpu: usize) -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let name = format!("cpu{cpu} ");
    let fields = stat.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or("");
    // user nice system idle iowait irq softirq steal; what follows is counted in these already.
    let ticks = fields.split_ascii_whitespace().take(8).enumerate().filter(|(at, _)| ![3, 4].contains(at));
    ticks.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum::<u64>() * 10_000_000
}

fn clock_ns(clock: ClockId) -> nix::Result<u64> {
    let time = clock_gettime(clock)?;
    Ok(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}
