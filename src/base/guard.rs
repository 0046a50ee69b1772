//! Guards around code that is not ours and around code that must not unwind.
//!
//! Owns [`broken`] (a broken invariant of the driver ends the process with a message), [`contained`] (foreign
//! code that panics is stopped at our door) and [`wake`]. It is not a panic policy: what a task's panic means
//! is decided in the task room.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Ends the process: an invariant of the driver is broken, and going on would lose ops or touch freed memory.
pub(crate) fn broken(what: &str) -> ! {
    eprintln!("ringwork: broken invariant: {what}; aborting");
    std::process::abort()
}

/// Runs foreign code (a payload's drop, a waker, a callback); a panic in it is swallowed here.
///
/// Returns whether the code ran to its end. The panic hook has already reported the panic.
pub(crate) fn contained(foreign: impl FnOnce()) -> bool {
    let Err(payload) = catch_unwind(AssertUnwindSafe(foreign)) else { return true };
    // The payload is foreign too: its drop may panic once more, and what that leaves behind is forgotten.
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    std::mem::forget(dropped);
    false
}

/// Wakes. Whose waker it is, its executor may have gone, and many panic then: no concern of who wakes, and
/// none of those who are woken after it.
#[inline]
pub(crate) fn wake(waker: Waker) {
    contained(|| waker.wake());
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
