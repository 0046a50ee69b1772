//! The file workload as tokio's users write it for speed: a positional read inside `spawn_blocking`, one
//! at a time per task, on the current-thread runtime. (`tokio::fs` does the same with a seek more.)

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::meter::Meter;
use crate::plan::Plan;
use crate::reads::{BLOCK, Offsets, ReadPlan, SAMPLE, check};

/// Reads as planned and prints what it cost.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let plan = ReadPlan::of(plan)?;
    let file = Arc::new(File::open(&plan.file)?);
    let meter = Arc::new(Mutex::new(Meter::new(plan.times)));
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        let tasks: Vec<_> = (0..plan.tasks)
            .map(|task| tokio::spawn(read(file.clone(), Offsets::new(task), meter.clone())))
            .collect();
        for task in tasks {
            task.await.map_err(io::Error::other)??;
        }
        meter.lock().expect("no reader panics").print()
    })
}

async fn read(file: Arc<File>, mut offsets: Offsets, meter: Arc<Mutex<Meter>>) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let mut begun = Instant::now();
    for reads in 1u64.. {
        let offset = offsets.next_offset();
        let file = file.clone();
        let (result, buffer) = tokio::task::spawn_blocking(move || (file.read_at(&mut block, offset), block))
            .await
            .map_err(io::Error::other)?;
        block = buffer;
        check(result? as i32, &block, offset)?;
        match reads % SAMPLE {
            0 if !meter.lock().expect("no reader panics").tick(SAMPLE, Some(begun)) => break,
            r if r == SAMPLE - 1 => begun = Instant::now(),
            _ => {}
        }
    }
    Ok(())
}
