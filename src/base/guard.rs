//! Guards around code that is not ours and around code that must not unwind.
//!
//! Owns [`AbortOnUnwind`] (a broken invariant of the driver ends the process with a message) and
//! [`contained`] (foreign code that panics is stopped at our door). It is not a panic policy: what a task's
//! panic means is decided in the task room.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Aborts the process if it is dropped while unwinding.
///
/// Held where a panic would leave a shared structure half changed. The message names the place.
pub(crate) struct AbortOnUnwind(pub(crate) &'static str);

impl AbortOnUnwind {
    /// Takes the guard away: the critical stretch is over.
    #[inline(always)]
    pub(crate) fn defuse(self) {
        std::mem::forget(self);
    }
}

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        eprintln!("ringwork: broken invariant: {}; aborting", self.0);
        std::process::abort();
    }
}

/// Runs foreign code (a payload's drop, a waker, a callback); a panic in it is swallowed here.
///
/// Returns whether the code ran to its end. The panic hook has already reported the panic.
pub(crate) fn contained(foreign: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(foreign)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::contained;

    #[test]
    fn a_panic_in_foreign_code_is_contained_and_reported() {
        assert!(contained(|| ()));
        assert!(!contained(|| panic!("foreign")));
    }
}
