//! Setting a ring up, and stepping down where the kernel or its limits say no.
//!
//! Owns the ladder: on EINVAL the newest flag goes first (kernel-notes/setup-flags.md); on ENOMEM the
//! completion queue and then the submission queue are halved down to [`Sizes::MIN`], and the smallest is
//! retried for [`CHARGE_RETURN`], because the kernel gives the memory charge of a closed ring back late
//! (kernel-notes/memlock.md). It does not turn errno into advice: that is `runtime::error`'s.

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
    /// (with SQ 256 and CQ 1024 a ring is charged about 33 KiB of locked memory).
    pub(crate) const DEFAULT: Self = Self { sq: 256, cq: 1024 };
    /// The smallest ring we run on: two pages of entries.
    pub(crate) const MIN: Self = Self { sq: 32, cq: 128 };

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

/// The optional flags, newest first: each rung of the ladder leaves one more away.
const RUNGS: usize = 3;

fn build(sizes: Sizes, rung: usize) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .dontfork()
        .setup_cqsize(sizes.cq)
        .setup_submit_all()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_r_disabled();
    if rung < 1 {
        builder.setup_no_sqarray();
    }
    if rung < 2 {
        builder.setup_taskrun_flag();
    }
    let ring = builder.build(sizes.sq)?;
    ring.submitter().register_enable_rings()?;
    Ok(ring)
}

/// Tries flags and sizes from the best down.
pub(crate) fn climb_down(sizes: Sizes) -> io::Result<IoUring> {
    let mut sizes = sizes;
    let mut rung = 0;
    let mut patience: Option<Instant> = None;
    loop {
        let error = match build(sizes, rung) {
            Ok(ring) => return Ok(ring),
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
    use super::Sizes;

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
}
