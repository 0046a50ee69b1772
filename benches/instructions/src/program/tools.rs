//! What counts depend on besides ringwork: the compiler and the C library.

use std::ffi::CStr;

/// What a program was built with and runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tools {
    pub(crate) rustc: String,
    pub(crate) target: String,
    /// Level of optimisation.
    pub(crate) optimised: String,
    pub(crate) libc: String,
}

impl Tools {
    /// Those of this program.
    pub(crate) fn here() -> Self {
        // SAFETY: it returns a string that is always there.
        let libc = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
        Self {
            rustc: env!("RUSTC_VERSION").to_owned(),
            target: env!("BUILT_FOR").to_owned(),
            optimised: env!("OPT_LEVEL").to_owned(),
            libc: format!("glibc {}", libc.to_string_lossy()),
        }
    }

    /// Whether counts of the two have nothing to do with each other.
    pub(crate) fn are_of_another_world(&self, other: &Self) -> bool {
        self.target != other.target || self.optimised != other.optimised
    }
}
