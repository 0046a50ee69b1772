//! Child processes that are not bound to their parent's core.
//!
//! # For the house
//! L5.
#![forbid(unsafe_code)]

use crate::sys;
use std::ffi::OsStr;
use std::process::Command;

/// As [`Command::new`], but the child may use all CPUs the process started with. A child that a pinned core
/// starts with std inherits the core's one CPU.
///
/// Starting a process and waiting for it block: do both inside [`spawn_blocking`](crate::spawn_blocking).
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// let status = ringwork::spawn_blocking(|| ringwork::process::command("true").status()).await??;
/// assert!(status.success());
/// # Ok(())
/// # }
/// ```
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    sys::child::unpin(&mut command);
    command
}
