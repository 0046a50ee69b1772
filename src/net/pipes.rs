//! The pipes through which bulk goes from stream to stream.
//!
//! Owns how many there may be, and those that a thread keeps. A pipe is taken for what it carries and given
//! back empty, so a connection without bytes on their way has none. Two descriptors are held for each: they
//! are bounded by what the process may open, because connections need them more.
#![forbid(unsafe_code)]

use crate::sys::limits;
use crate::sys::splice::Pipe;
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};

/// Empty pipes that a thread keeps: one that is filled and drained again and again, and one for when that
/// waits for a peer.
const KEPT: usize = 2;
/// Pipes of the process: as many of [`CAPACITY`](crate::sys::splice::CAPACITY) as a user may have
/// (`pipe-user-pages-soft`, `pipe(7)`).
const MOST: u64 = 256;
/// One pipe for so many descriptors that the process may have open: an eighth of them.
const DESCRIPTORS: u64 = 16;

/// Those that there are, in use or kept. Relaxed: it is a bound, and no memory is handed over by it.
static LIVE: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static EMPTY: RefCell<Vec<Taken>> = const { RefCell::new(Vec::new()) };
}

/// A pipe, counted.
pub(super) struct Taken(Pipe);

impl Taken {
    /// An empty one, unless there are too many or the kernel gives none.
    pub(super) fn new() -> Option<Taken> {
        let kept = EMPTY.try_with(|empty| empty.borrow_mut().pop()).ok().flatten();
        kept.or_else(Taken::made)
    }

    fn made() -> Option<Taken> {
        if LIVE.fetch_add(1, Ordering::Relaxed) < most()
            && let Ok(pipe) = Pipe::new()
        {
            return Some(Taken(pipe));
        }
        LIVE.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// For the next who needs one on this thread. Closes it if there are enough, or if it is not empty.
    pub(super) fn give_back(self) {
        // Where there are many cores, what some keep must not be all there is.
        if self.held() > 0 || LIVE.load(Ordering::Relaxed) > most() / 2 {
            return;
        }
        // A thread that is going down keeps nothing.
        let _ = EMPTY.try_with(|empty| {
            let mut empty = empty.borrow_mut();
            if empty.len() < KEPT {
                empty.push(self);
            }
        });
    }
}

fn most() -> u64 {
    MOST.min(limits::open_files() / DESCRIPTORS)
}

impl Deref for Taken {
    type Target = Pipe;

    fn deref(&self) -> &Pipe {
        &self.0
    }
}

impl DerefMut for Taken {
    fn deref_mut(&mut self) -> &mut Pipe {
        &mut self.0
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}
