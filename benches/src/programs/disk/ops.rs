//! What is done to the file, for any runtime. Readers and writers each have one op under way; every 64th is
//! timed. Writers of the log hand a record to whoever commits and wait: all that came while the disk was busy
//! goes to it together.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Instant;

use super::{Disk, How};
use crate::meter::Meter;
use crate::programs::local::Slot;
use crate::reads::{BLOCK, FILE_LEN, Offsets, ReadPlan, SAMPLE, check};

/// Bytes of a record of the log.
pub(super) const RECORD: usize = 256;

/// Ops of one task that are timed together, and the meter of all.
struct Timing {
    meter: Rc<RefCell<Meter>>,
    begun: Instant,
    done: u64,
}

impl Timing {
    fn new(meter: &Rc<RefCell<Meter>>) -> Timing {
        Timing { meter: meter.clone(), begun: Instant::now(), done: 0 }
    }

    /// One more is done. False once the time is over.
    fn tick(&mut self) -> bool {
        self.done += 1;
        match self.done % SAMPLE {
            0 => self.meter.borrow_mut().tick(SAMPLE, Some(self.begun)),
            last if last == SAMPLE - 1 => {
                self.begun = Instant::now();
                true
            }
            _ => true,
        }
    }
}

/// What becomes of a task: it leaves its result here, for not every runtime's handle gives one.
type Results = Rc<RefCell<Vec<io::Result<()>>>>;

async fn all_tasks<D: Disk, F>(tasks: usize, meter: Meter, task: F) -> io::Result<Meter>
where
    F: AsyncFn(usize, Timing) -> io::Result<()> + 'static,
{
    let (meter, results, task) = (Rc::new(RefCell::new(meter)), Results::default(), Rc::new(task));
    let handles: Vec<_> = (0..tasks)
        .map(|index| {
            let (timing, results, task) = (Timing::new(&meter), results.clone(), task.clone());
            D::spawn(async move {
                let result = task(index, timing).await;
                results.borrow_mut().push(result);
            })
        })
        .collect();
    for handle in handles {
        handle.await;
    }
    let results = results.take();
    if results.len() != tasks {
        return Err(io::Error::other("a task has panicked"));
    }
    results.into_iter().collect::<io::Result<()>>()?;
    drop(task);
    let meter = Rc::try_unwrap(meter).map_err(|_| io::Error::other("a task still measures"))?;
    Ok(meter.into_inner())
}

/// Random reads.
pub(super) async fn read_all<D: Disk>(plan: ReadPlan) -> io::Result<Meter> {
    let file = Rc::new(D::open(&plan.file, How::Cached).await?);
    let meter = Meter::new(plan.times);
    all_tasks::<D, _>(plan.tasks, meter, async move |task, mut timing: Timing| {
        let (mut offsets, mut block) = (Offsets::new(task), D::block(&file, BLOCK));
        loop {
            let offset = offsets.next_offset();
            block = D::read(&file, block, offset).await?;
            check(BLOCK as i32, D::bytes(&block), offset)?;
            if !timing.tick() {
                return Ok(());
            }
        }
    })
    .await
}

/// Random writes. Each block says where it belongs and how often it was written; at the end each task reads
/// its last one back.
pub(super) async fn write_all<D: Disk>(plan: ReadPlan) -> io::Result<Meter> {
    let file = Rc::new(D::open(&plan.file, How::Direct).await?);
    let (meter, tasks) = (Meter::new(plan.times), plan.tasks as u64);
    all_tasks::<D, _>(plan.tasks, meter, async move |task, mut timing: Timing| {
        let (mut offsets, mut block) = (Offsets::new(task), D::block(&file, BLOCK));
        for sequence in 1u64.. {
            // Its own part of the file, lest another task write over what is read back.
            let share = FILE_LEN / tasks / BLOCK as u64 * BLOCK as u64;
            let offset = task as u64 * share + offsets.next_offset() % share;
            let bytes = D::bytes_mut(&mut block);
            bytes[..8].copy_from_slice(&offset.to_le_bytes());
            bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
            block = D::write(&file, block, offset).await?;
            if !timing.tick() {
                block = D::read(&file, block, offset).await?;
                check(BLOCK as i32, D::bytes(&block), offset)?;
                let is_last = D::bytes(&block)[8..16] == sequence.to_le_bytes();
                return if is_last { Ok(()) } else { Err(io::Error::other("a write is lost")) };
            }
        }
        Ok(())
    })
    .await
}

/// Records that wait for the next commit, and who waits for it.
#[derive(Default)]
struct Batch {
    records: Vec<u8>,
    writers: Vec<Rc<Slot<()>>>,
    committer: Option<Waker>,
    is_over: bool,
}

/// A log: writers append a record each and wait until it is on the disk.
pub(super) async fn log<D: Disk>(plan: ReadPlan) -> io::Result<Meter> {
    let file = D::open(&plan.file, How::Direct).await?;
    let batch = Rc::new(RefCell::new(Batch::default()));
    let committed = Rc::new(RefCell::new(None));
    let (work, result) = (commit_all::<D>(file, batch.clone(), plan.tasks), committed.clone());
    let committer = D::spawn(async move {
        let committing = work.await;
        *result.borrow_mut() = Some(committing);
    });
    let writers = batch.clone();
    let meter = Meter::new(plan.times);
    let meter = all_tasks::<D, _>(plan.tasks, meter, async move |task, mut timing: Timing| {
        let (durable, mut record) = (Rc::new(Slot::new()), [task as u8; RECORD]);
        for sequence in 1u64.. {
            record[..8].copy_from_slice(&sequence.to_le_bytes());
            append(&writers, &record, durable.clone());
            durable.recv().await;
            if !timing.tick() {
                break;
            }
        }
        Ok(())
    })
    .await?;
    let waker = {
        let mut batch = batch.borrow_mut();
        batch.is_over = true;
        batch.committer.take()
    };
    waker.into_iter().for_each(Waker::wake);
    committer.await;
    let committing = committed.borrow_mut().take();
    committing.unwrap_or_else(|| Err(io::Error::other("the committer has panicked")))?;
    Ok(meter)
}

fn append(batch: &RefCell<Batch>, record: &[u8], durable: Rc<Slot<()>>) {
    let waker = {
        let mut batch = batch.borrow_mut();
        batch.records.extend_from_slice(record);
        batch.writers.push(durable);
        batch.committer.take()
    };
    waker.into_iter().for_each(Waker::wake);
}

/// Takes all records that wait, writes them as one piece and tells their writers.
async fn commit_all<D: Disk>(file: D::File, batch: Rc<RefCell<Batch>>, writers: usize) -> io::Result<()> {
    let room = (writers * RECORD).next_multiple_of(BLOCK);
    let (mut block, mut offset) = (D::block(&file, room), 0);
    let mut told: Vec<Rc<Slot<()>>> = Vec::new();
    loop {
        let goes_on = poll_fn(|cx| {
            let mut batch = batch.borrow_mut();
            if batch.writers.is_empty() && !batch.is_over {
                batch.committer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(!batch.writers.is_empty())
        })
        .await;
        if !goes_on {
            return Ok(());
        }
        {
            let mut batch = batch.borrow_mut();
            D::bytes_mut(&mut block)[..batch.records.len()].copy_from_slice(&batch.records);
            batch.records.clear();
            std::mem::swap(&mut batch.writers, &mut told);
        }
        block = D::commit(&file, block, offset).await?;
        offset = (offset + room as u64) % (FILE_LEN / room as u64 * room as u64);
        told.drain(..).for_each(|writer| writer.send(()));
    }
}
