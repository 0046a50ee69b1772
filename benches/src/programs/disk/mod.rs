//! Programs that read or write one file: random reads from the page cache, random direct writes over what
//! is there, and a log whose writers wait together for the disk. The work is written once (`ops.rs`); a
//! peer's file says how its runtime opens, reads, writes and syncs. Tasks and their scheduling are those of
//! `local/`. The floors are programs of their own.

pub(super) mod compio;
pub(super) mod floor;
pub(super) mod floor_log;
pub(super) mod glommio;
pub(super) mod monoio;
mod ops;
mod page;
pub(super) mod pread;
pub(super) mod pwrite;
#[cfg(feature = "ringwork")]
pub(super) mod ringwork;
pub(super) mod tokio;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::local::Local;
use crate::plan::Plan;
use crate::reads::ReadPlan;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// To read, from the page cache.
    Cached,
    /// To read and write, past the page cache.
    Direct,
}

impl How {
    fn flags(self) -> i32 {
        if self == How::Direct { libc::O_DIRECT } else { 0 }
    }

    /// Opens the file as the standard library does: a runtime that takes such a file needs no more.
    fn open(self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(self == How::Direct).custom_flags(self.flags()).open(path)
    }
}

/// A runtime's files.
pub(crate) trait Disk: Local {
    /// An open file.
    type File: 'static;
    /// Memory of an op, aligned as direct I/O wants it.
    type Block: 'static;

    /// Opens a file.
    fn open(path: &Path, how: How) -> impl Future<Output = io::Result<Self::File>>;

    /// Memory of that length for ops on `file`.
    fn block(file: &Self::File, length: usize) -> Self::Block;

    /// What a read has brought.
    fn bytes(block: &Self::Block) -> &[u8];

    /// What a write takes away.
    fn bytes_mut(block: &mut Self::Block) -> &mut [u8];

    /// Fills the whole block from `offset` on.
    fn read(
        file: &Self::File,
        block: Self::Block,
        offset: u64,
    ) -> impl Future<Output = io::Result<Self::Block>>;

    /// Writes the whole block at `offset`. What comes back may be another one of the same length.
    fn write(
        file: &Self::File,
        block: Self::Block,
        offset: u64,
    ) -> impl Future<Output = io::Result<Self::Block>>;

    /// The same, and waits until the disk has it.
    fn commit(
        file: &Self::File,
        block: Self::Block,
        offset: u64,
    ) -> impl Future<Output = io::Result<Self::Block>>;
}

/// Reads at random as planned and prints what it cost.
pub(crate) fn read<D: Disk>(plan: &Plan) -> io::Result<()> {
    let plan = ReadPlan::of(plan)?;
    D::run(move || ops::read_all::<D>(plan))??.print()
}

/// Writes at random as planned and prints what it cost.
pub(crate) fn write<D: Disk>(plan: &Plan) -> io::Result<()> {
    let plan = ReadPlan::of(plan)?;
    D::run(move || ops::write_all::<D>(plan))??.print()
}

/// Writes a log as planned and prints what it cost.
pub(crate) fn log<D: Disk>(plan: &Plan) -> io::Result<()> {
    let plan = ReadPlan::of(plan)?;
    D::run(move || ops::log::<D>(plan))??.print()
}

/// Fails unless an op has moved as many bytes as it was asked for.
fn whole(moved: usize, asked: usize) -> io::Result<()> {
    if moved == asked { Ok(()) } else { Err(io::Error::other(format!("{moved} bytes of {asked}"))) }
}
