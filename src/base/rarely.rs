//! A value that most of its owners never need: one word until somebody does.
//!
//! Owns the memory of the value, from [`Rarely::with`] or the first [`Rarely::get_or_make`] to the drop of
//! the owner. It is not a lock: what is in it is shared from then on, by whoever shares the owner.
//!
//! The word is null, or the address of the value. That is written once: before the owner is shared
//! ([`Rarely::with`]), or by a compare-exchange that publishes the value to whoever reads the word. Of two
//! that make it at once the second finds the word written, drops what it has made, and takes the first one's.
//! Nobody takes the value out before the owner is dropped, which is behind all who share it.
//!
//! All of it is SeqCst, for who says something elsewhere and then finds no value here: whoever makes the
//! value, and looks there afterwards, sees what was said, if that is SeqCst on both sides. If it is not, the
//! look has to be [`Rarely::get_or_rule_out`].
//!
//! Model: `tests/loom`, `rarely`.

use super::sync::{AtomicPtr, Ordering, last_of};
use std::marker::PhantomData;
use std::ptr;

/// Room for a `T` that is made when it is first asked for.
#[derive(Debug)]
pub(crate) struct Rarely<T> {
    /// Null, or a box's, which stays.
    made: AtomicPtr<T>,
    /// Whoever makes the value may be another thread than the one that drops it.
    _owns: PhantomData<Box<T>>,
}

impl<T> Default for Rarely<T> {
    fn default() -> Self {
        Self { made: AtomicPtr::new(ptr::null_mut()), _owns: PhantomData }
    }
}

impl<T> Rarely<T> {
    /// With the value of one that needs it from the start.
    #[cold]
    pub(crate) fn with(value: T) -> Self {
        Self { made: AtomicPtr::new(Box::into_raw(Box::new(value))), _owns: PhantomData }
    }
}

impl<T: Default + Send + Sync> Rarely<T> {
    /// The value, if it has been made.
    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: if it is not null it is a box's: `with` has put it there before `self` was shared, or
        // `make` has published it. It stays until `self` is dropped, and nobody has it for himself before.
        unsafe { self.made.load(Ordering::SeqCst).as_ref() }
    }

    /// The value, if it was made before `self` was shared; it may also be one that was made later. Nothing
    /// orders this look behind what its thread did before.
    #[inline]
    pub(crate) fn get_early(&self) -> Option<&T> {
        // SAFETY: as in `get`.
        unsafe { self.made.load(Ordering::Acquire).as_ref() }
    }

    /// The value, if it has been made. Whoever makes it later sees all that was done before this look. For
    /// that it is a read-modify-write: a mere load may pass a store that was made before it.
    pub(crate) fn get_or_rule_out(&self) -> Option<&T> {
        self.get().or_else(|| {
            let null = ptr::null_mut();
            let made = self.made.compare_exchange(null, null, Ordering::SeqCst, Ordering::SeqCst);
            // SAFETY: as in `get`.
            made.err().and_then(|made| unsafe { made.as_ref() })
        })
    }

    /// The value. Of two threads that make it at once, one has made it in vain.
    #[inline]
    pub(crate) fn get_or_make(&self) -> &T {
        self.get().unwrap_or_else(|| self.make())
    }

    #[cold]
    fn make(&self) -> &T {
        let new = Box::into_raw(Box::<T>::default());
        match self.made.compare_exchange(ptr::null_mut(), new, Ordering::SeqCst, Ordering::SeqCst) {
            // SAFETY: a box's, published just now; from here on as in `get`.
            Ok(_) => unsafe { &*new },
            Err(made) => {
                // SAFETY: made above, and nobody else has seen it.
                drop(unsafe { Box::from_raw(new) });
                // SAFETY: it is not null, and so as in `get`.
                unsafe { &*made }
            }
        }
    }
}

impl<T> Drop for Rarely<T> {
    fn drop(&mut self) {
        let made = last_of(&mut self.made);
        if !made.is_null() {
            // SAFETY: a box's, and nobody shares `self` any more.
            drop(unsafe { Box::from_raw(made) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    static DROPPED: AtomicUsize = AtomicUsize::new(0);

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn threads_that_make_it_at_once_share_one_value_which_is_dropped_with_its_owner() {
        let rarely = Arc::new(Rarely::<Counted>::default());
        assert!(rarely.get().is_none());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| rarely.get_or_make().0.fetch_add(1, Ordering::SeqCst));
            }
        });
        assert_eq!(rarely.get().map(|made| made.0.load(Ordering::SeqCst)), Some(4));
        let in_vain = DROPPED.load(Ordering::SeqCst);
        drop(rarely);
        assert_eq!(DROPPED.load(Ordering::SeqCst), in_vain + 1);
        drop(Rarely::<Counted>::default());
        assert_eq!(DROPPED.load(Ordering::SeqCst), in_vain + 1, "what was never made is not dropped");
        let early = Rarely::with(Counted(AtomicUsize::new(7)));
        let ask = [Rarely::get, Rarely::get_early, Rarely::get_or_rule_out];
        assert!(ask.iter().all(|ask| ask(&early).is_some_and(|made| made.0.load(Ordering::SeqCst) == 7)));
        drop(early);
        assert_eq!(DROPPED.load(Ordering::SeqCst), in_vain + 2);
    }
}
