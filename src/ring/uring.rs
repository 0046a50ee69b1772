//! io_uring as a [`Backend`]: the crate's queues and our own `io_uring_enter`.
//!
//! Owns the ring descriptor and its mappings. The system call is made here and not through the crate because
//! the registered ring index and `NO_IOWAIT` cannot be said through it. It takes no decision: when to enter
//! and what to do with an error is [`super::Ring`]'s.

use super::backend::{Backend, Wait};
use super::setup;
use crate::sys::sqe::{Cqe, Sqe};
use io_uring::types::{CancelBuilder, Timespec};
use io_uring::{IoUring, Probe, squeue};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::NonNull;
use std::time::Duration;

/// `IORING_ENTER_GETEVENTS`.
const ENTER_GETEVENTS: u32 = 1 << 0;
/// `IORING_ENTER_EXT_ARG` (5.11): the last argument is a struct with a timeout.
const ENTER_EXT_ARG: u32 = 1 << 3;
/// `IORING_ENTER_REGISTERED_RING` (5.18): the descriptor is an index of the registered ones.
const ENTER_REGISTERED_RING: u32 = 1 << 4;
/// `IORING_ENTER_NO_IOWAIT` (6.15): a waiting core is idle, not waiting for a disk.
const ENTER_NO_IOWAIT: u32 = 1 << 7;
/// `IORING_REGISTER_RING_FDS` (5.18).
const REGISTER_RING_FDS: u32 = 20;

/// `struct io_uring_getevents_arg`.
#[repr(C)]
struct GeteventsArg {
    sigmask: u64,
    sigmask_sz: u32,
    min_wait_usec: u32,
    ts: u64,
}

/// `struct io_uring_rsrc_update`.
#[repr(C)]
struct RsrcUpdate {
    offset: u32,
    resv: u32,
    data: u64,
}

/// One io_uring instance.
pub(crate) struct Uring {
    ring: IoUring,
    fd: RawFd,
    enter_flags: u32,
    queued: usize,
    flags: setup::Flags,
}

impl Uring {
    /// Sets a ring up for the calling thread, stepping down as `setup` describes.
    ///
    /// # Errors
    /// What the kernel answered to the last and smallest attempt.
    pub(crate) fn new(sizes: setup::Sizes) -> io::Result<Self> {
        let (ring, flags) = setup::climb_down(sizes)?;
        let mut uring = Self { fd: ring.as_raw_fd(), ring, enter_flags: 0, queued: 0, flags };
        if uring.ring.params().is_feature_no_iowait() {
            uring.enter_flags |= ENTER_NO_IOWAIT;
        }
        uring.register_own_fd();
        Ok(uring)
    }

    /// The optional set-up flags that the kernel took.
    pub(crate) fn flags(&self) -> setup::Flags {
        self.flags
    }

    /// Whether enters name the ring by its registered index.
    pub(crate) fn is_registered(&self) -> bool {
        self.enter_flags & ENTER_REGISTERED_RING != 0
    }

    /// Whether a wait in the ring counts as idle and not as waiting for a disk.
    pub(crate) fn waits_idle(&self) -> bool {
        self.enter_flags & ENTER_NO_IOWAIT != 0
    }

    /// What the kernel says about its ops.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn ask_ops(&self) -> io::Result<Probe> {
        let mut probe = Probe::new();
        self.ring.submitter().register_probe(&mut probe)?;
        Ok(probe)
    }

    /// Takes a ring of provided buffers back. The kernel knows its memory no longer.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn unregister_buffers(&mut self, group: u16) -> io::Result<()> {
        self.ring.submitter().unregister_buf_ring(group)
    }

    /// Saves the lookup of the descriptor in each enter; a kernel that refuses costs nothing but that.
    fn register_own_fd(&mut self) {
        let mut update = RsrcUpdate { offset: u32::MAX, resv: 0, data: self.fd as u64 };
        // SAFETY: `update` is the one element that this call reads and writes.
        let taken = unsafe {
            libc::syscall(libc::SYS_io_uring_register, self.fd, REGISTER_RING_FDS, &raw mut update, 1)
        };
        if taken == 1 {
            self.fd = update.offset as RawFd;
            self.enter_flags |= ENTER_REGISTERED_RING;
        }
    }

    fn enter_raw(&mut self, want: u32, flags: u32, timeout: Option<Duration>) -> io::Result<usize> {
        // Not libc's, which is shorter where a `time_t` has 32 bits: the kernel reads 64 of each.
        let time = timeout.map(Timespec::from);
        let arg = GeteventsArg {
            sigmask: 0,
            sigmask_sz: 0,
            min_wait_usec: 0,
            ts: time.as_ref().map_or(0, |time| std::ptr::from_ref(time).expose_provenance() as u64),
        };
        // SAFETY: the descriptor is ours, the queued entries are complete, and `arg` and `time` outlive the
        // call.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.fd,
                self.queued as u32,
                want,
                flags | self.enter_flags | ENTER_EXT_ARG,
                &raw const arg,
                size_of::<GeteventsArg>(),
            )
        };
        if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer as usize) }
    }
}

impl Backend for Uring {
    fn has_room(&self) -> bool {
        self.queued < self.ring.params().sq_entries() as usize
    }

    fn push(&mut self, sqe: &Sqe) -> bool {
        const { assert!(align_of::<squeue::Entry>() <= align_of::<Sqe>()) };
        // SAFETY: both are the kernel's 64-byte entry (the size is asserted at `Sqe`, the alignment above).
        let entry = unsafe { &*std::ptr::from_ref(sqe).cast::<squeue::Entry>() };
        // SAFETY: the cell behind the entry owns all it points at until its final CQE (ring/cell.rs).
        let pushed = unsafe { self.ring.submission().push(entry) }.is_ok();
        self.queued += usize::from(pushed);
        pushed
    }

    fn queued(&self) -> usize {
        self.queued
    }

    fn has_deferred(&self) -> bool {
        // SAFETY: this thread is the only one that uses the submission side, and no other view of it is
        // alive.
        let submission = unsafe { self.ring.submission_shared() };
        // A kernel that does not say that there is something is asked every time.
        !self.flags.taskrun_flag || submission.taskrun() || submission.cq_overflow()
    }

    fn has_overflowed(&self) -> bool {
        // SAFETY: as in `has_deferred`.
        unsafe { self.ring.submission_shared() }.cq_overflow()
    }

    fn has_visible(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    fn enter(&mut self, wait: Wait) -> io::Result<usize> {
        let answer = match wait {
            Wait::SubmitOnly => self.enter_raw(0, 0, None),
            Wait::No => self.enter_raw(0, ENTER_GETEVENTS, None),
            // want = 1 always: a larger one swallows wakes (kernel-notes/wake.md).
            Wait::Until(timeout) => self.enter_raw(1, ENTER_GETEVENTS, timeout),
        };
        match answer {
            Ok(taken) => {
                self.queued -= taken.min(self.queued);
                Ok(taken)
            }
            // With entries taken the kernel returns their number and hides this: it means that none was
            // taken.
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn reap(&mut self, into: &mut Vec<Cqe>) -> u32 {
        let completions = self.ring.completion();
        // The kernel counts here what it drops, and not what it keeps aside (kernel-notes/cq-overflow.md).
        let lost = completions.overflow();
        into.extend(completions.map(|cqe| Cqe {
            user_data: cqe.user_data(),
            res: cqe.result(),
            flags: cqe.flags(),
        }));
        lost
    }

    fn register_buffers(&mut self, memory: NonNull<u8>, entries: u16, group: u16) -> io::Result<()> {
        let address = memory.as_ptr().expose_provenance() as u64;
        // SAFETY: who owns `memory` lives as long as this ring or is leaked with it (ring/pool.rs), or takes
        // it back from the kernel first (ring/probe.rs).
        unsafe { self.ring.submitter().register_buf_ring_with_flags(address, entries, group, 0) }
    }

    fn cancel_all(&mut self) -> io::Result<()> {
        // Not waited for: an op that cannot be interrupted must not hold the core up here.
        let briefly = Timespec::new().nsec(1);
        match self.ring.submitter().register_sync_cancel(Some(briefly), CancelBuilder::any().all()) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ETIME)) => Ok(()),
            answer => answer,
        }
    }

    fn limit_workers(&mut self, bounded: u32, unbounded: u32, cpus: &[usize]) -> io::Result<()> {
        self.ring.submitter().register_iowq_max_workers(&mut [bounded, unbounded])?;
        // SAFETY: an all-zero cpu_set_t is the empty set.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        for &cpu in cpus.iter().filter(|&&cpu| cpu < libc::CPU_SETSIZE as usize) {
            // SAFETY: `cpu` is within the set.
            unsafe { libc::CPU_SET(cpu, &mut set) };
        }
        self.ring.submitter().register_iowq_aff(&set)
    }

    fn sizes(&self) -> (u32, u32) {
        (self.ring.params().sq_entries(), self.ring.params().cq_entries())
    }
}
