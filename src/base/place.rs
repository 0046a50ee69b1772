//! A place in the source that one thread publishes and others read.
//!
//! Owns the one conversion between a `&'static Location` and an atomic pointer. It is a word of its own,
//! with no order towards others: whoever reads it next to other words must not need them to belong
//! together.

use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A place, or none.
#[derive(Debug, Default)]
pub(crate) struct AtomicPlace(AtomicPtr<Location<'static>>);

impl AtomicPlace {
    /// Publishes `place`; a plain store.
    #[inline]
    pub(crate) fn set(&self, place: &'static Location<'static>) {
        self.0.store(ptr::from_ref(place).cast_mut(), Ordering::Relaxed);
    }

    /// The place published last.
    #[inline]
    pub(crate) fn get(&self) -> Option<&'static Location<'static>> {
        // SAFETY: null, or what `set` was given: a reference that is valid for ever and never written
        // through.
        unsafe { self.0.load(Ordering::Relaxed).as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_set() {
        let place = AtomicPlace::default();
        assert!(place.get().is_none());
        let here = Location::caller();
        place.set(here);
        assert_eq!(place.get(), Some(here));
    }
}
