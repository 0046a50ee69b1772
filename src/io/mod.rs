//! L4: what all ops have in common for their users.
//!
//! Owns the positional read and the two ways to stop an op and still get its buffer back: [`Timeout`] and
//! [`Cancel`]. Both wait for the op's final completion. It knows no op by name.
#![forbid(unsafe_code)]

mod read;
mod stop;

pub use read::FileSource;
pub(crate) use read::{Read, sealed};
pub use stop::Stop;
pub use stop::{Cancel, Timeout};
pub(crate) use stop::{explain, stoppable, stopped};
