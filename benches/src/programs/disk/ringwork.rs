//! The file workload on one core of ringwork: a local task with one owned buffer for each read in flight.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use ringwork::fs::File;

use crate::meter::Meter;
use crate::plan::Plan;
use crate::reads::{BLOCK, Offsets, ReadPlan, SAMPLE, check};

/// Reads as planned and prints what it cost.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let plan = ReadPlan::of(plan)?;
    let runtime = ringwork::runtime::Builder::new().cores(1).build().map_err(io::Error::other)?;
    let reading = runtime.handle().spawn_on(0, move || read_all(plan));
    runtime.block_on(reading).map_err(io::Error::other)?
}

async fn read_all(plan: ReadPlan) -> io::Result<()> {
    let file = Rc::new(File::open(&plan.file).await?);
    let meter = Rc::new(RefCell::new(Meter::new(plan.times)));
    let tasks: Vec<_> = (0..plan.tasks)
        .map(|task| ringwork::spawn_local(read(file.clone(), Offsets::new(task), meter.clone())))
        .collect();
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    meter.borrow().print()
}

async fn read(file: Rc<File>, mut offsets: Offsets, meter: Rc<RefCell<Meter>>) -> io::Result<()> {
    let mut block = Vec::with_capacity(BLOCK);
    let mut begun = Instant::now();
    for reads in 1u64.. {
        let offset = offsets.next_offset();
        block.clear();
        let (result, buffer) = file.read_at(block, offset).await;
        block = buffer;
        check(result? as i32, &block, offset)?;
        match reads % SAMPLE {
            0 if !meter.borrow_mut().tick(SAMPLE, Some(begun)) => break,
            r if r == SAMPLE - 1 => begun = Instant::now(),
            _ => {}
        }
    }
    Ok(())
}
