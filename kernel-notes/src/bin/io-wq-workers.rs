//! Where io-wq workers run, how many there may be, and how both are changed.
//! It promises to read the answer from the threads' own status files, and shows how an open of a FIFO is kept
//! from holding one. Which ops need a worker: `io-wq-punts`.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread;

use io_uring::opcode;
use io_uring::squeue::Flags;
use io_uring::types::{Fd, OpenHow};
use kernel_notes::{
    LONG, Lab, Outcome, QUIET, Report, Scratch, cpu_set, cpus_allowed, mask_of, pin, threads_of_io_wq,
};

/// Runs one op on a worker and returns the worker.
fn one_punt(lab: &mut Lab) -> io::Result<i32> {
    let nop = opcode::Nop::new().build().flags(Flags::ASYNC);
    // SAFETY: the entry holds no address.
    unsafe { lab.push(nop)? };
    lab.next(LONG)?;
    threads_of_io_wq().pop().ok_or_else(|| io::Error::other("no worker appeared"))
}

/// On a fresh thread pinned to `here`: sets the affinity of io-wq, punts, returns the worker's mask.
fn given(here: usize, cpus: &[usize]) -> io::Result<String> {
    let work = || {
        pin(0, here)?;
        let mut lab = Lab::new(8, 64)?;
        if !cpus.is_empty() {
            lab.submitter().register_iowq_aff(&cpu_set(cpus))?;
        }
        one_punt(&mut lab).map(mask_of)
    };
    thread::scope(|scope| scope.spawn(work).join().expect("the thread returns errors"))
}

/// The mask of a worker that exists: after an affinity of io-wq, and after an affinity of the thread itself.
fn moved(here: usize, other: usize) -> io::Result<[String; 2]> {
    let work = move || {
        pin(0, here)?;
        let mut lab = Lab::new(8, 64)?;
        let worker = one_punt(&mut lab)?;
        lab.submitter().register_iowq_aff(&cpu_set(&[other]))?;
        let by_ring = mask_of(one_punt(&mut lab)?);
        pin(worker, other)?;
        Ok([by_ring, mask_of(worker)])
    };
    thread::spawn(work).join().expect("the thread returns errors")
}

fn affinity(report: &mut Report) -> io::Result<()> {
    let all = cpus_allowed();
    if all.len() < 2 {
        report.saw("affinity: not shown, this process may use one CPU only");
        return Ok(());
    }
    let (here, other) = (all[all.len() - 1], all[0]);
    let inherited = given(here, &[])?;
    report.saw(format_args!("submitter pinned to CPU {here}: its worker may run on {inherited}"));
    report.holds("a worker inherits the mask of the thread", inherited == here.to_string());
    let wide = given(here, &all)?;
    report.saw(format_args!("IOWQ_AFF with all CPUs, then the first punt: {wide}"));
    let away = given(here, &[other])?;
    report.saw(format_args!("IOWQ_AFF with CPU {other} alone, then the first punt: {away}"));
    report.holds("a mask without the submitter's CPU is obeyed", away == other.to_string());
    let [by_ring, by_hand] = moved(here, other)?;
    report.saw(format_args!("first punt, then IOWQ_AFF with CPU {other}: {by_ring}"));
    report.saw(format_args!("then sched_setaffinity of the worker to CPU {other}: {by_hand}"));
    Ok(())
}

/// Starts 24 opens that block on a FIFO and an fsync behind them. Returns how many workers there were, and
/// whether the fsync got through before the FIFO was opened for writing.
fn pile_up(limits: [u32; 2]) -> io::Result<(usize, bool)> {
    const FSYNC: u64 = 1000;
    let scratch = Scratch::new(&format!("workers-{}", limits[0]))?;
    let (file, path) = (scratch.file("file", 4096, 1, 0)?, scratch.c_path("fifo"));
    scratch.fifo("fifo")?;
    let how = OpenHow::new().flags(libc::O_RDONLY as u64);
    let mut lab = Lab::new(64, 256)?;
    lab.submitter().register_iowq_max_workers(&mut { limits })?;
    let open = opcode::OpenAt2::new(Fd(libc::AT_FDCWD), path.as_ptr(), &how).build().flags(Flags::ASYNC);
    let fsync = opcode::Fsync::new(Fd(file.as_raw_fd())).build();
    for tag in 0..24 {
        // SAFETY: path and how outlive the lab, which does not go before the completion.
        unsafe { lab.push(open.clone().user_data(tag))? };
    }
    // SAFETY: the entry holds no address.
    unsafe { lab.push(fsync.user_data(FSYNC))? };
    let mut cqes = lab.wait(1, 3 * QUIET)?;
    let (workers, through) = (threads_of_io_wq().len(), !cqes.is_empty());
    // Both ends at once: every reader that waits, and every later one, gets its descriptor.
    let _ends = OpenOptions::new().read(true).write(true).open(scratch.path("fifo"))?;
    cqes.extend(lab.wait(25 - cqes.len(), LONG)?);
    assert_eq!(cqes.len(), 25, "an open is still in flight: its path must not go");
    for cqe in cqes.iter().filter(|cqe| cqe.tag != FSYNC && cqe.res >= 0) {
        // SAFETY: a successful open hands over a new descriptor, which nobody else owns.
        unsafe { libc::close(cqe.res) };
    }
    Ok((workers, through))
}

fn limits(report: &mut Report) -> io::Result<()> {
    let lab = Lab::new(64, 256)?;
    let mut limits = [0, 0];
    lab.submitter().register_iowq_max_workers(&mut limits)?;
    report.saw(format_args!("limits at start: bounded {}, unbounded {}", limits[0], limits[1]));
    for (bounded, unbounded) in [(2, 3), (32, 3)] {
        let work = thread::spawn(move || pile_up([bounded, unbounded]));
        let (workers, through) = work.join().expect("the thread returns errors")?;
        let fsync = if through { "got through" } else { "waited" };
        report.saw(format_args!(
            "bounded {bounded}: 24 opens that block, {workers} workers, an fsync behind them {fsync}"
        ));
        let bound = (bounded as usize).min(25);
        report.holds("no more workers than the bound", workers <= bound);
        report.holds("fsync waits if and only if the bound is used up", through == (bounded > 24));
    }
    Ok(())
}

/// Opens a FIFO that nobody else has open, on a worker. The answer, if it comes while that is so, and whether
/// the descriptor has O_NONBLOCK.
fn open_alone(scratch: &Scratch, flags: i32) -> io::Result<Option<Result<bool, i32>>> {
    let path = scratch.c_path("fifo");
    let mode = if flags & libc::O_CREAT == 0 { 0 } else { 0o600 };
    let how = OpenHow::new().flags(flags as u64).mode(mode);
    let mut lab = Lab::new(8, 64)?;
    let open = opcode::OpenAt2::new(Fd(libc::AT_FDCWD), path.as_ptr(), &how).build();
    // SAFETY: path and how live until the completion has come, which is waited for.
    unsafe { lab.push(open)? };
    let early = lab.wait(1, QUIET)?.first().map(|cqe| cqe.res);
    let res = match early {
        Some(res) => res,
        None => {
            let _ends = OpenOptions::new().read(true).write(true).open(scratch.path("fifo"))?;
            lab.next(LONG)?.res
        }
    };
    if res < 0 {
        return Ok(early.map(|res| Err(-res)));
    }
    // SAFETY: a successful open hands over a new descriptor, which nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(res) };
    // SAFETY: no memory is involved.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    Ok(early.map(|_| Ok(flags & libc::O_NONBLOCK != 0)))
}

/// O_CREAT sends an open to a worker, as a name that is not cached does.
fn fifos(report: &mut Report) -> io::Result<()> {
    let scratch = Scratch::new("workers-fifo")?;
    scratch.fifo("fifo")?;
    let (read, write) = (libc::O_RDONLY | libc::O_CREAT, libc::O_WRONLY | libc::O_CREAT);
    let waits = open_alone(&scratch, read)?.is_none() && open_alone(&scratch, write)?.is_none();
    report.holds("a FIFO, O_CREAT: waits for its other end", waits);
    let writer = open_alone(&scratch, write | libc::O_NONBLOCK)?;
    report.holds("O_CREAT and O_NONBLOCK, for writing: ENXIO", writer == Some(Err(libc::ENXIO)));
    let reader = open_alone(&scratch, read | libc::O_NONBLOCK)?;
    report.holds("O_CREAT and O_NONBLOCK, for reading: opened, and keeps the flag", reader == Some(Ok(true)));
    let inline = open_alone(&scratch, libc::O_RDONLY)?;
    report.holds("inline, for reading: opened, without the flag", inline == Some(Ok(false)));
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    affinity(&mut report)?;
    limits(&mut report)?;
    fifos(&mut report)?;
    Ok(report.finish())
}
