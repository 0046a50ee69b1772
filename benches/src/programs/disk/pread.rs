//! One thread, one `pread(2)` after the other: what reading from the page cache costs without any
//! runtime. It has no reads in flight to speak of, so it is a yardstick, not a competitor: one cold block
//! would stop it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use crate::meter::Meter;
use crate::plan::Plan;
use crate::reads::{BLOCK, Offsets, ReadPlan, SAMPLE, check};

/// Reads as planned and prints what it cost.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let plan = ReadPlan::of(plan)?;
    let file = File::open(&plan.file)?;
    let mut meter = Meter::new(plan.times);
    let mut offsets = Offsets::new(0);
    let mut block = vec![0; BLOCK];
    let mut begun = Instant::now();
    for reads in 1u64.. {
        let offset = offsets.next_offset();
        let length = file.read_at(&mut block, offset)?;
        check(length as i32, &block, offset)?;
        match reads % SAMPLE {
            0 if !meter.tick(SAMPLE, Some(begun)) => break,
            r if r == SAMPLE - 1 => begun = Instant::now(),
            _ => {}
        }
    }
    meter.print()
}
