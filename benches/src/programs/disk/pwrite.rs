//! One thread, one direct write after the other: what a write costs that is waited for where it stands.
//! Random blocks by `pwrite(2)`, and the log, of which the records of all writers go in one write that
//! `fdatasync(2)` follows. A yardstick, as `pread.rs` is: it has one op under way and no more.

use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use super::ops::RECORD;
use super::page::Page;
use super::{How, whole};
use crate::meter::Meter;
use crate::plan::Plan;
use crate::reads::{BLOCK, FILE_LEN, Offsets, ReadPlan, SAMPLE, check};

/// Writes at random as planned and prints what it cost. The last block is read back.
pub(crate) fn random(plan: &Plan) -> io::Result<()> {
    let plan = ReadPlan::of(plan)?;
    let file = How::Direct.open(&plan.file)?;
    let (mut meter, mut offsets) = (Meter::new(plan.times), Offsets::new(0));
    let (mut block, mut begun) = (Page::new(BLOCK), Instant::now());
    for writes in 1u64.. {
        let offset = offsets.next_offset();
        block[..8].copy_from_slice(&offset.to_le_bytes());
        block[8..16].copy_from_slice(&writes.to_le_bytes());
        whole(file.write_at(&block, offset)?, BLOCK)?;
        match writes % SAMPLE {
            0 if !meter.tick(SAMPLE, Some(begun)) => {
                let length = file.read_at(&mut block, offset)?;
                check(length as i32, &block, offset)?;
                if block[8..16] != writes.to_le_bytes() {
                    return Err(io::Error::other("a write is lost"));
                }
                break;
            }
            last if last == SAMPLE - 1 => begun = Instant::now(),
            _ => {}
        }
    }
    meter.print()
}

/// Writes a log as planned and prints what it cost.
pub(crate) fn log(plan: &Plan) -> io::Result<()> {
    let plan = ReadPlan::of(plan)?;
    let file = How::Direct.open(&plan.file)?;
    let room = (plan.tasks * RECORD).next_multiple_of(BLOCK);
    let (mut records, mut meter, mut offset) = (Page::new(room), Meter::new(plan.times), 0);
    for sequence in 1u64.. {
        let begun = Instant::now();
        for record in records.chunks_exact_mut(RECORD).take(plan.tasks) {
            record[..8].copy_from_slice(&sequence.to_le_bytes());
        }
        whole(file.write_at(&records, offset)?, room)?;
        file.sync_data()?;
        offset = (offset + room as u64) % (FILE_LEN / room as u64 * room as u64);
        if !meter.tick(plan.tasks as u64, Some(begun)) {
            break;
        }
    }
    meter.print()
}
