//! The floor of the log: as many records as there are writers go to the disk together, a write and a sync
//! that follows it in one chain, over and over. No writer waits for anything else, so none is there.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Instant;

use io_uring::{opcode, squeue, types};

use super::How;
use super::ops::RECORD;
use crate::meter::Meter;
use crate::plan::Plan;
use crate::raw::{Lanes, leak};
use crate::reads::{BLOCK, FILE_LEN, ReadPlan};

/// Writes as planned and prints what it cost.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let plan = ReadPlan::of(plan)?;
    let file = How::Direct.open(&plan.file)?;
    let fd = types::Fd(file.as_raw_fd());
    let room = (plan.tasks * RECORD).next_multiple_of(BLOCK);
    let memory = leak(room, BLOCK);
    let (mut lanes, mut meter, mut offset) = (Lanes::new(8, 16)?, Meter::new(plan.times), 0);
    let mut sequence = 0u64;
    loop {
        let begun = Instant::now();
        // SAFETY: the memory is ours, never freed, and no op is in flight at this point.
        let records = unsafe { std::slice::from_raw_parts_mut(memory, room) };
        sequence += 1;
        for record in records.chunks_exact_mut(RECORD).take(plan.tasks) {
            record[..8].copy_from_slice(&sequence.to_le_bytes());
        }
        let write = opcode::Write::new(fd, memory, room as u32).offset(offset).build();
        let sync = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
        // SAFETY: the memory is never freed, the file is open until both ops have ended.
        unsafe { lanes.push(&write.flags(squeue::Flags::IO_LINK).user_data(room as u64))? };
        // SAFETY: as above.
        unsafe { lanes.push(&sync.user_data(0))? };
        let mut open = 2;
        while open > 0 {
            lanes.enter(open)?;
            while let Some(cqe) = lanes.reap() {
                open -= 1;
                if cqe.result() as i64 != cqe.user_data() as i64 {
                    return Err(io::Error::other(format!("an op of the log gave {}", cqe.result())));
                }
            }
        }
        offset = (offset + room as u64) % (FILE_LEN / room as u64 * room as u64);
        if !meter.tick(plan.tasks as u64, Some(begun)) {
            return meter.print();
        }
    }
}
