//! What the program tells on its standard output.
//!
//! Owns one rule: a reader that has gone (`list | head`) ends nothing. A run goes on to the file it writes.
//! What the measured programs tell their parent is no part of this: for them the reader is the parent.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

/// As `println!`, but nobody need read it.
macro_rules! say {
    ($($what:tt)*) => { $crate::said::line(format_args!($($what)*)) };
}
pub(crate) use say;

/// Tells one line.
///
/// # Panics
/// If the output fails otherwise, for example for want of room on a disk.
pub(crate) fn line(what: Arguments<'_>) {
    if let Err(error) = writeln!(io::stdout().lock(), "{what}")
        && error.kind() != ErrorKind::BrokenPipe
    {
        panic!("writing the report: {error}");
    }
}
