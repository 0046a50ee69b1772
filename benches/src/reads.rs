//! What every file reader shares: which offsets it reads, how a block is checked, and how often it is timed.
//! It promises that all readers pay the same for being measured: one clock reading and one lock for every
//! [`SAMPLE`] reads. It does not read.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::meter::Times;
use crate::plan::Plan;

/// Bytes per read.
pub(crate) const BLOCK: usize = 4096;
/// Length of the file.
pub(crate) const FILE_LEN: u64 = 256 << 20;
/// One read of this many is timed.
pub(crate) const SAMPLE: u64 = 64;

/// What a reader is asked to do.
#[derive(Clone, Debug)]
pub(crate) struct ReadPlan {
    pub(crate) file: PathBuf,
    pub(crate) tasks: usize,
    pub(crate) times: Times,
}

impl ReadPlan {
    /// The part of `plan` that a reader needs.
    pub(crate) fn of(plan: &Plan) -> io::Result<ReadPlan> {
        Ok(ReadPlan { file: plan.file()?, tasks: plan.need("tasks")?, times: plan.times()? })
    }
}

/// Random block offsets; the same sequence for the same task in every run.
pub(crate) struct Offsets {
    state: u64,
}

impl Offsets {
    pub(crate) fn new(task: usize) -> Offsets {
        Offsets { state: 0x9E37_79B9_7F4A_7C15 ^ (task as u64 + 1) << 32 }
    }

    pub(crate) fn next_offset(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 20) % (FILE_LEN / BLOCK as u64) * BLOCK as u64
    }
}

/// Fails unless a read of a whole block succeeded and brought the block of `offset`.
pub(crate) fn check(result: i32, block: &[u8], offset: u64) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    let stamp = block.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
    if result as usize != BLOCK || stamp != Some(offset) {
        return Err(io::Error::other(format!("offset {offset}: {result} bytes, stamp {stamp:?}")));
    }
    Ok(())
}

/// Makes sure that `file` holds [`FILE_LEN`] bytes, each block beginning with its offset, on a real file
/// system and in the page cache.
pub(crate) fn prepare(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if statfs(folder)?.filesystem_type() == TMPFS_MAGIC {
        return Err(io::Error::other(format!(
            "{} is on tmpfs, where every ring read goes to a worker: name a file on a disk with --file",
            file.display()
        )));
    }
    if fs::metadata(file).map(|m| m.len()).ok() != Some(FILE_LEN) {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(file)?);
        let mut block = [0xA5; BLOCK];
        for offset in (0..FILE_LEN).step_by(BLOCK) {
            block[..8].copy_from_slice(&offset.to_le_bytes());
            out.write_all(&block)?;
        }
        // Dirty pages would be written back while we measure.
        out.into_inner()?.sync_all()?;
    }
    io::copy(&mut File::open(file)?, &mut io::sink())?;
    Ok(())
}
