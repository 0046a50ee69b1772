//! The floor of random reads and writes: one raw ring that keeps a fixed number of them in flight. Plain
//! descriptors and plain buffers: a program that opens files as they are asked for has no registered
//! ones.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Instant;

use io_uring::{opcode, types};

use super::How;
use crate::meter::Meter;
use crate::plan::Plan;
use crate::raw::{Lanes, Tag, leak};
use crate::reads::{BLOCK, Offsets, ReadPlan, SAMPLE, check};

/// Reads as planned and prints what it cost.
pub(crate) fn read(plan: &Plan) -> io::Result<()> {
    run(plan, How::Cached)
}

/// Writes as planned and prints what it cost.
pub(crate) fn write(plan: &Plan) -> io::Result<()> {
    run(plan, How::Direct)
}

fn run(plan: &Plan, how: How) -> io::Result<()> {
    let plan = ReadPlan::of(plan)?;
    let file = how.open(&plan.file)?;
    let tasks = plan.tasks;
    let mut lanes = Lanes::new(tasks.next_power_of_two() as u32, 4 * tasks.next_power_of_two() as u32)?;
    let memory = leak(tasks * BLOCK, 4096);
    let mut meter = Meter::new(plan.times);
    let mut offsets = Offsets::new(0);
    let mut wanted = vec![0; tasks];
    let mut idle: Vec<usize> = (0..tasks).collect();
    let mut ops = 0u64;
    // When a task queued its op, if that is one of those that are timed. Many turns may pass until it ends.
    let mut begun: Vec<Option<Instant>> = vec![None; tasks];
    loop {
        for task in idle.drain(..) {
            ops += 1;
            begun[task] = ops.is_multiple_of(SAMPLE).then(Instant::now);
            wanted[task] = offsets.next_offset();
            let buffer = memory.wrapping_add(task * BLOCK);
            let (fd, offset) = (types::Fd(file.as_raw_fd()), wanted[task]);
            let op = if how == How::Cached {
                opcode::Read::new(fd, buffer, BLOCK as u32).offset(offset).build()
            } else {
                // SAFETY: the block is this task's alone, and nothing is in flight for it.
                let block = unsafe { std::slice::from_raw_parts_mut(buffer, BLOCK) };
                block[..8].copy_from_slice(&offset.to_le_bytes());
                opcode::Write::new(fd, buffer, BLOCK as u32).offset(offset).build()
            };
            let op = op.user_data(Tag { kind: 0, index: task as u32 }.pack());
            // SAFETY: the block belongs to this task alone, is never freed, and is not touched until the
            // op has completed; the file is open until the process ends, for the loop is left with
            // nothing in flight.
            unsafe { lanes.push(&op)? };
        }
        lanes.enter(1)?;
        while let Some(cqe) = lanes.reap() {
            let task = Tag::unpack(cqe.user_data()).index as usize;
            // SAFETY: the read has completed: the block is ours again, and zeroed memory at worst.
            let block = unsafe { std::slice::from_raw_parts(memory.wrapping_add(task * BLOCK), BLOCK) };
            check(cqe.result(), block, wanted[task])?;
            idle.push(task);
            if begun[task].is_some_and(|begun| !meter.tick(SAMPLE, Some(begun))) {
                return wait_for_rest(&mut lanes, tasks - idle.len(), meter);
            }
        }
    }
}

fn wait_for_rest(lanes: &mut Lanes, mut in_flight: usize, meter: Meter) -> io::Result<()> {
    while in_flight > 0 {
        lanes.enter(1)?;
        while lanes.reap().is_some() {
            in_flight -= 1;
        }
    }
    meter.print()
}
