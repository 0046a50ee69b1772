//! Who waits for the bytes of a stream, and who is told when that changes.
//!
//! Owns the place of the one reader with a future ([`Reader`]), and the wakers that leave the receive side to
//! be woken or dropped once its lock is gone ([`Replaced`], [`Concerned`]): either runs foreign code, which
//! may come back for the lock.
#![forbid(unsafe_code)]

use std::task::Waker;

/// The waker of who reads with a future.
#[derive(Default)]
pub(super) struct Reader {
    waker: Option<Waker>,
    /// It was stored when its task took bytes, and not when that had looked in vain.
    is_primed: bool,
}

impl Reader {
    /// Stores it: primed by bytes that it takes, or as one that waits.
    pub(super) fn store(&mut self, waker: &Waker, primes: bool) -> Replaced {
        let was_primed = std::mem::replace(&mut self.is_primed, primes);
        if self.waker.as_ref().is_some_and(|reader| reader.will_wake(waker)) {
            return Replaced::None;
        }
        match self.waker.replace(waker.clone()) {
            Some(reader) if was_primed => Replaced::Primed(reader),
            Some(reader) => Replaced::Known(reader),
            None => Replaced::None,
        }
    }

    pub(super) fn take(&mut self) -> Option<Waker> {
        self.waker.take()
    }
}

/// A waker that lay where another one lies now.
pub(crate) enum Replaced {
    /// There was no other one.
    None,
    /// Whose it is has looked in vain, and looks again by itself.
    Known(Waker),
    /// Whose it is may wait by the mark alone, in either shape ([`RecvSide::next`](super::recv::RecvSide)).
    Primed(Waker),
}

impl Replaced {
    /// Lets go of it. Who may rely on it looks again.
    #[inline]
    pub(super) fn let_go(self) {
        match self {
            Self::None => {}
            Self::Known(waker) => drop(waker),
            Self::Primed(waker) => waker.wake(),
        }
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
        self.each(Waker::wake);
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
