//! Why a runtime did not start, and what to do about it.
#![forbid(unsafe_code)]

use crate::ring::probe::Unfit;
use crate::ring::setup::Sizes;
use crate::sys::limits;
use std::fmt;
use std::fs;
use std::io;

/// A runtime could not start. Its `Display` is one line that names cause and cure.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// `io_uring_setup` is not there (ENOSYS): an old kernel, or a seccomp filter that hides it.
    NoIoUring {
        /// The running kernel.
        kernel: String,
        /// Whether a seccomp filter is active.
        filtered: bool,
    },
    /// `io_uring_setup` is forbidden (EPERM, EACCES).
    Forbidden {
        /// `kernel.io_uring_disabled`, if it can be read.
        sysctl: Option<u32>,
        /// Whether a seccomp filter is active.
        filtered: bool,
    },
    /// The kernel is older than what ringwork needs.
    KernelTooOld {
        /// The running kernel.
        kernel: String,
    },
    /// The kernel lacks io_uring operations that ringwork uses.
    OpsMissing {
        /// The running kernel.
        kernel: String,
        /// What it lacks, by the names of `enum io_uring_op`.
        ops: &'static [&'static str],
    },
    /// Not enough locked memory for the smallest rings.
    LockedMemory {
        /// The limit in bytes, for all programs of the user together.
        limit: u64,
        /// What the smallest rings of all cores need.
        needed: u64,
    },
    /// The kernel has no memory for a ring, and it is not the limit of locked memory.
    Memory,
    /// No descriptors left.
    Descriptors {
        /// The limit.
        limit: u64,
    },
    /// The system has as many files open as it may have.
    Files,
    /// The system refuses another thread.
    Threads,
    /// The process may use no CPU.
    NoCpu,
    /// The process was forked from one that had started a runtime.
    Forked,
    /// Something else: the step and the kernel's answer.
    Other {
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        error: io::Error,
    },
}

impl StartError {
    /// Explains what the kernel answered while a ring was set up.
    pub(super) fn explain(step: &'static str, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOSYS) => Self::NoIoUring { kernel: kernel(), filtered: is_filtered() },
            Some(libc::EPERM | libc::EACCES) => {
                Self::Forbidden { sysctl: io_uring_disabled(), filtered: is_filtered() }
            }
            Some(libc::EINVAL) if step == SET_UP => Self::KernelTooOld { kernel: kernel() },
            Some(libc::EMFILE) => Self::Descriptors { limit: limits::open_files() },
            Some(libc::ENFILE) => Self::Files,
            Some(libc::EAGAIN) if step == THREAD => Self::Threads,
            _ => Self::Other { step, error },
        }
    }

    /// Explains why what is to run beside could not be made. It is no ring that was refused.
    pub(super) fn of_companion(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE) => Self::Descriptors { limit: limits::open_files() },
            Some(libc::ENFILE) => Self::Files,
            Some(libc::EAGAIN) => Self::Threads,
            _ => Self::Other { step: "making what runs beside", error },
        }
    }

    /// Explains why a ring could not be made for one of `cores` cores.
    pub(super) fn no_ring(error: io::Error, cores: usize) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOMEM) => Self::no_memory(limits::lockable_memory(), cores),
            _ => Self::explain(SET_UP, error),
        }
    }

    /// Explains ENOMEM, in a process that may lock so many bytes.
    fn no_memory(lockable: Option<u64>, cores: usize) -> Self {
        let needed = Sizes::MIN.charge(&[]) * cores as u64;
        lockable.map_or(Self::Memory, |limit| Self::LockedMemory { limit, needed })
    }

    /// Explains why a ring that could be made is no good.
    pub(super) fn unfit(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Ops(ops) => Self::OpsMissing { kernel: kernel(), ops },
            Unfit::Enter(error) => Self::explain("entering io_uring", error),
        }
    }
}

/// The step in which a thread is started.
pub(super) const THREAD: &str = "starting a thread";
/// The step in which a ring is made.
const SET_UP: &str = "setting up io_uring";

/// The running kernel's release.
pub(crate) fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    release.map_or_else(|_| "unknown".to_owned(), |release| release.trim().to_owned())
}

/// `kernel.io_uring_disabled` (Linux 6.6): 0 allowed, 1 for a group, 2 for nobody.
pub(crate) fn io_uring_disabled() -> Option<u32> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

/// Whether a seccomp filter is active in this thread (`/proc/self/status`: Seccomp 2).
pub(crate) fn is_filtered() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_some_and(|mode| mode.trim() == "2")
}

const ALLOW: &str = "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp \
                     profile (Docker and containerd forbid them by default)";

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot start ringwork: ")?;
        match self {
            Self::NoIoUring { filtered: true, .. } => {
                write!(f, "a seccomp filter hides io_uring (ENOSYS); {ALLOW}")
            }
            Self::NoIoUring { kernel, .. } => {
                write!(
                    f,
                    "this kernel ({kernel}) has no io_uring (ENOSYS); run Linux 6.1 or newer, built with it"
                )
            }
            Self::Forbidden { sysctl: Some(1), filtered: false } => f.write_str(
                "kernel.io_uring_disabled=1 allows io_uring to one group only (EPERM); join the group of \
                 kernel.io_uring_group, or run `sysctl kernel.io_uring_disabled=0` as root",
            ),
            Self::Forbidden { sysctl: Some(level @ 2..), .. } => write!(
                f,
                "io_uring is disabled by kernel.io_uring_disabled={level} (EPERM); \
                 run `sysctl kernel.io_uring_disabled=0` as root"
            ),
            Self::Forbidden { filtered: true, .. } => {
                write!(f, "a seccomp filter forbids io_uring (EPERM); {ALLOW}")
            }
            Self::Forbidden { .. } => {
                f.write_str("io_uring is forbidden (EPERM); a security module (SELinux?) must allow it")
            }
            Self::KernelTooOld { kernel } => {
                write!(
                    f,
                    "this kernel ({kernel}) lacks io_uring features of Linux 6.1; run that or a newer one"
                )
            }
            Self::OpsMissing { kernel, ops } => write!(
                f,
                "this kernel ({kernel}) lacks io_uring operations ({}); run Linux 6.1 or newer",
                ops.join(", ")
            ),
            Self::LockedMemory { limit, needed } => write!(
                f,
                "the user's locked memory is limited to {} KiB, and the smallest rings need {} KiB of it \
                 free (ENOMEM); raise it (`ulimit -l 8192`, systemd LimitMEMLOCK=8M) or use fewer cores",
                limit / 1024,
                needed.div_ceil(1024)
            ),
            Self::Memory => f.write_str(
                "the kernel has no memory for a ring (ENOMEM), and no limit of locked memory applies; raise \
                 memory.max of the control group, or use fewer cores",
            ),
            Self::Descriptors { limit } => {
                write!(f, "no file descriptors left (limit {limit}); raise it with `ulimit -n`")
            }
            Self::Files => f.write_str(
                "the system has as many files open as it may have (ENFILE); raise it with \
                 `sysctl fs.file-max=…` as root",
            ),
            Self::Threads => f.write_str(
                "the system refuses another thread (EAGAIN); raise the user's limit of processes \
                 (`ulimit -u`, systemd TasksMax) or pids.max of the control group",
            ),
            Self::Forked => f.write_str(
                "this process was forked from one that runs ringwork; \
                 fork before the first runtime starts, or exec",
            ),
            Self::NoCpu => f.write_str("the process may run on no CPU; check its cpuset"),
            Self::Other { step, error } => write!(f, "{step} failed: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Other { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<StartError> for io::Error {
    fn from(error: StartError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(error: &StartError) -> String {
        let line = error.to_string();
        assert!(line.starts_with("cannot start ringwork: ") && !line.contains('\n'), "{line}");
        line
    }

    #[test]
    fn the_switch_of_the_kernel_is_named_with_its_value_and_how_to_turn_it() {
        let closed = line(&StartError::Forbidden { sysctl: Some(2), filtered: true });
        assert!(closed.contains("kernel.io_uring_disabled=2 ") && closed.contains("=0` as root"), "{closed}");
        let group = line(&StartError::Forbidden { sysctl: Some(1), filtered: false });
        assert!(group.contains("kernel.io_uring_group") && group.contains("=0` as root"), "{group}");
    }

    #[test]
    fn a_filter_is_blamed_before_a_switch_that_lets_some_through() {
        let filtered = line(&StartError::Forbidden { sysctl: Some(1), filtered: true });
        assert!(filtered.contains("seccomp"), "{filtered}");
        let neither = line(&StartError::Forbidden { sysctl: Some(0), filtered: false });
        assert!(neither.contains("security module"), "{neither}");
    }

    #[test]
    fn a_full_table_of_the_system_is_not_blamed_on_the_limit_of_the_process() {
        let explain = |errno| line(&StartError::explain(SET_UP, io::Error::from_raw_os_error(errno)));
        let (process, system) = (explain(libc::EMFILE), explain(libc::ENFILE));
        assert!(process.contains("ulimit -n") && !process.contains("fs.file-max"), "{process}");
        assert!(system.contains("fs.file-max") && !system.contains("ulimit"), "{system}");
    }

    #[test]
    fn missing_ops_are_listed() {
        let error = StartError::OpsMissing { kernel: "5.15.0".to_owned(), ops: &["OPENAT2", "SENDMSG"] };
        let error = line(&error);
        assert!(error.contains("5.15.0") && error.contains("OPENAT2, SENDMSG"), "{error}");
    }

    #[test]
    fn short_memory_is_told_from_a_refusal() {
        let refused = StartError::no_memory(Some(8192), 3);
        let StartError::LockedMemory { limit: 8192, needed } = refused else { panic!("{refused}") };
        assert_eq!(needed, 3 * Sizes::MIN.charge(&[]));
        let unlimited = line(&StartError::no_memory(None, 3));
        assert!(unlimited.contains("memory.max") && !unlimited.contains("ulimit"), "{unlimited}");
        let old = StartError::no_ring(io::Error::from_raw_os_error(libc::EINVAL), 1);
        assert!(matches!(old, StartError::KernelTooOld { .. }), "{old}");
    }
}
