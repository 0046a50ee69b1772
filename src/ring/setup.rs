//! Setting a ring up, and stepping down where the kernel or its limits say no.
//!
//! Owns the ladder: on EINVAL the newest flag goes first (kernel-notes/setup-flags.md); on ENOMEM the
//! completion queue and then the submission queue are halved down to [`Sizes::MIN`], and the smallest is
//! retried for [`CHARGE_RETURN`], because the kernel gives the memory charge of a closed ring back late
//! (kernel-notes/memlock.md). It does not turn errno into advice: that is `runtime::error`'s.

use crate::sys::page_cache::page_size;
use io_uring::IoUring;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// How long the smallest ring is retried on ENOMEM.
const CHARGE_RETURN: Duration = Duration::from_millis(200);
/// How long between two of those tries.
const RETRY_STEP: Duration = Duration::from_millis(5);

/// Entries of the two queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Submission entries: no more than one turn prepares before it enters.
    pub(crate) sq: u32,
    /// Completion entries: a burst from all armed multishots.
    pub(crate) cq: u32,
}

impl Sizes {
    /// A turn seldom prepares more than 256 ops; four completions for each leave room for multishot bursts
    /// (with SQ 256 and CQ 1024 a ring is charged 36 KiB of locked memory, where pages have 4 KiB).
    pub(crate) const DEFAULT: Self = Self { sq: 256, cq: 1024 };
    /// The smallest ring we run on: two pages of entries.
    pub(crate) const MIN: Self = Self { sq: 32, cq: 128 };

    /// Bytes of locked memory that a ring of these sizes and rings of so many `provided` buffers are charged:
    /// each mapping in whole pages (kernel-notes/memlock.md).
    pub(crate) fn charge(self, provided: &[u16]) -> u64 {
        let page = page_size();
        let submissions = u64::from(self.sq) * 64;
        let completions = u64::from(self.cq) * 16 + CQ_HEADER;
        let provided = provided.iter().map(|&buffers| u64::from(buffers) * 16);
        let mappings = [submissions, completions].into_iter().chain(provided);
        mappings.map(|bytes| bytes.next_multiple_of(page)).sum()
    }

    /// The largest rung from here down that `share` bytes of locked memory hold, so that the first of many
    /// cores does not take what the last one needs. The smallest if none fits: what is already charged to the
    /// user is not known, and the ladder has the last word.
    pub(crate) fn fitting(self, share: u64, provided: &[u16]) -> Self {
        let mut sizes = self;
        while sizes.charge(provided) > share
            && let Some(smaller) = sizes.smaller()
        {
            sizes = smaller;
        }
        sizes
    }

    /// The next smaller rung, if there is one.
    fn smaller(self) -> Option<Self> {
        if self.cq > self.sq * 4 && self.cq > Self::MIN.cq {
            Some(Self { cq: self.cq / 2, ..self })
        } else if self.sq > Self::MIN.sq {
            Some(Self { sq: self.sq / 2, cq: (self.cq / 2).max(Self::MIN.cq) })
        } else {
            None
        }
    }
}

/// What stands before the completions in their mapping: at most this much, and less than a page.
const CQ_HEADER: u64 = 128;

/// The optional flags, newest first: each rung of the ladder leaves one more away.
const RUNGS: usize = 3;

/// The optional set-up flags that the kernel took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags {
    /// `IORING_SETUP_NO_SQARRAY` (6.6).
    pub(crate) no_sqarray: bool,
    /// `IORING_SETUP_TASKRUN_FLAG` (5.19).
    pub(crate) taskrun_flag: bool,
}

impl Flags {
    fn of_rung(rung: usize) -> Self {
        Self { no_sqarray: rung < 1, taskrun_flag: rung < 2 }
    }
}

fn build(sizes: Sizes, flags: Flags) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .dontfork()
        .setup_cqsize(sizes.cq)
        .setup_submit_all()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_r_disabled();
    if flags.no_sqarray {
        builder.setup_no_sqarray();
    }
    if flags.taskrun_flag {
        builder.setup_taskrun_flag();
    }
    let ring = builder.build(sizes.sq)?;
    ring.submitter().register_enable_rings()?;
    Ok(ring)
}

/// Tries flags and sizes from the best down.
pub(crate) fn climb_down(sizes: Sizes) -> io::Result<(IoUring, Flags)> {
    let mut sizes = sizes;
    let mut rung = 0;
    let mut patience: Option<Instant> = None;
    loop {
        let flags = Flags::of_rung(rung);
        let error = match build(sizes, flags) {
            Ok(ring) => return Ok((ring, flags)),
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(libc::EINVAL) if rung + 1 < RUNGS => rung += 1,
            Some(libc::ENOMEM) => match sizes.smaller() {
                Some(smaller) => sizes = smaller,
                None => {
                    let until = *patience.get_or_insert_with(|| Instant::now() + CHARGE_RETURN);
                    if Instant::now() >= until {
                        return Err(error);
                    }
                    thread::sleep(RETRY_STEP);
                }
            },
            _ => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Sizes, page_size};

    #[test]
    fn the_ladder_ends_at_the_minimum() {
        let mut sizes = Sizes { sq: 4096, cq: 32768 };
        let mut steps = 0;
        while let Some(smaller) = sizes.smaller() {
            assert!(
                smaller.cq >= smaller.sq,
                "the kernel refuses fewer completion entries than submission ones"
            );
            sizes = smaller;
            steps += 1;
        }
        assert_eq!(sizes, Sizes::MIN);
        assert!(steps < 20);
    }

    #[test]
    fn a_ring_is_charged_whole_pages() {
        let page = page_size();
        assert_eq!(Sizes::MIN.charge(&[]), 2 * page);
        assert_eq!(Sizes::MIN.charge(&[1]), 3 * page);
        let sizes = Sizes { sq: 1024, cq: 4096 };
        assert_eq!(sizes.charge(&[256]), (65536 + (65536 + page) + 4096u64.max(page)).next_multiple_of(page));
    }

    #[test]
    fn cores_start_with_what_their_share_of_the_memory_holds() {
        let min = Sizes::MIN.charge(&[256]);
        assert_eq!(Sizes::DEFAULT.fitting(u64::MAX, &[256]), Sizes::DEFAULT);
        assert_eq!(Sizes::DEFAULT.fitting(Sizes::DEFAULT.charge(&[256]), &[256]), Sizes::DEFAULT);
        assert!(Sizes::DEFAULT.fitting(Sizes::DEFAULT.charge(&[256]) - 1, &[256]).sq < Sizes::DEFAULT.sq);
        assert_eq!(Sizes::DEFAULT.fitting(min, &[256]).charge(&[256]), min);
        assert_eq!(Sizes::DEFAULT.fitting(0, &[256]), Sizes::MIN);
    }
}
