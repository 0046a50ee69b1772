//! Who waits for the bytes of a stream, and who is told when that changes.
//!
//! Owns the place of the one reader with a future ([`Reader`]), and the wakers that leave the receive side to
//! be woken once its lock is gone ([`Concerned`]): that runs foreign code, which may come back for the lock.
#![forbid(unsafe_code)]

use crate::base::guard;
use std::task::Waker;

/// The waker of who reads with a future, or has just done so.
#[derive(Default)]
pub(super) struct Reader(Option<Waker>);

impl Reader {
    /// Stores it. The one that it replaces comes back, to be *woken* without the lock: whose it is may wait
    /// by the mark alone, in either shape, and must look again.
    #[must_use = "whose it is may wait by the mark alone"]
    pub(super) fn store(&mut self, waker: &Waker) -> Option<Waker> {
        let same = self.0.as_ref().is_some_and(|reader| reader.will_wake(waker));
        if same { None } else { self.0.replace(waker.clone()) }
    }

    /// Whether the one that is stored has the words of `waker`. The clone of a foreign one may have others,
    /// and those of `waker` may be somebody else's later.
    pub(super) fn is(&self, waker: &Waker) -> bool {
        self.0.as_ref().is_some_and(|reader| reader.will_wake(waker))
    }

    pub(super) fn take(&mut self) -> Option<Waker> {
        self.0.take()
    }
}

/// Whom a completion concerns: who reads with a future, and who polls without one.
#[derive(Default)]
#[must_use = "they sleep until they are woken"]
pub(crate) struct Concerned {
    reader: Option<Waker>,
    pollster: Option<Waker>,
}

impl Concerned {
    pub(super) fn new(reader: Option<Waker>, pollster: Option<Waker>) -> Self {
        Self { reader, pollster }
    }

    /// Wakes them.
    pub(crate) fn wake(self) {
        self.each(guard::wake);
    }

    /// Hands each of them to `to`.
    #[inline]
    pub(super) fn each(self, mut to: impl FnMut(Waker)) {
        if let Some(reader) = self.reader {
            to(reader);
        }
        if let Some(pollster) = self.pollster {
            to(pollster);
        }
    }
}
