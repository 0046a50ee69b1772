//! What the result of a cancel means, and what `close`, and a stop of the process, do to an op in flight.
//! It promises to show both completions of each pair. Closing the ring itself is `ring-close`'s.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Instant;

use io_uring::types::{CancelBuilder, Fd, OpenHow};
use io_uring::{opcode, squeue};
use kernel_notes::{Cqe, LONG, Lab, Outcome, QUIET, Report, Scratch, errno_name, threads_of_io_wq};

const TARGET: u64 = 1;
const CANCEL: u64 = 2;

/// Cancels the target and returns (result of the cancel, completion of the target).
fn cancel_target(lab: &mut Lab) -> io::Result<(i32, Cqe)> {
    lab.cancel(CancelBuilder::user_data(TARGET), CANCEL)?;
    let pair = lab.wait(2, LONG)?;
    let find = |tag| pair.iter().find(|cqe| cqe.tag == tag).copied();
    match (find(CANCEL), find(TARGET)) {
        (Some(cancel), Some(target)) => Ok((cancel.res, target)),
        _ => Err(io::Error::other("one of the two completions did not come")),
    }
}

fn name(res: i32) -> String {
    if res < 0 { errno_name(-res) } else { res.to_string() }
}

fn waiting_receive(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    let (near, mut far) = UnixStream::pair()?;
    lab.recv(&near, 64, (0, 0), TARGET)?;
    lab.submit()?;
    let (cancel, target) = cancel_target(&mut lab)?;
    report.saw(format_args!("receive that waits: cancel {}, receive {target}", name(cancel)));
    let cancelled = cancel == 0 && target.ended_with(libc::ECANCELED);
    report.holds("0: it was found, its own completion says ECANCELED", cancelled);
    lab.recv(&near, 64, (0, 0), TARGET)?;
    lab.submit()?;
    far.write_all(b"won the race")?;
    let (cancel, target) = cancel_target(&mut lab)?;
    report.saw(format_args!("receive whose bytes are there: cancel {}, receive {target}", name(cancel)));
    let mut rest = [0; 64];
    near.set_nonblocking(true)?;
    let kept = (&near).read(&mut rest).unwrap_or(0);
    let received = target.res.max(0) as usize;
    report.holds("the bytes are in the result or still in the socket", received + kept == 12);
    lab.cancel(CancelBuilder::user_data(TARGET), CANCEL)?;
    report.holds("nothing of that name: ENOENT", lab.next(LONG)?.res == -libc::ENOENT);
    Ok(())
}

fn one_or_all(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    let (near, _far) = UnixStream::pair()?;
    for _ in 0..3 {
        lab.poll_multi(&near, TARGET)?;
    }
    lab.cancel(CancelBuilder::user_data(TARGET), CANCEL)?;
    let first = lab.wait(8, QUIET)?;
    let ended = first.iter().filter(|cqe| cqe.tag == TARGET).count();
    report.holds("three ops of one user_data: a cancel ends one", ended == 1);
    lab.cancel(CancelBuilder::user_data(TARGET).all(), CANCEL)?;
    let rest = lab.wait(3, LONG)?;
    let count = rest.iter().any(|cqe| cqe.tag == CANCEL && cqe.res == 2);
    report.holds("with ALL it ends the other two and says 2", count && rest.len() == 3);
    Ok(())
}

/// A disk read in flight cannot be called back: the device writes the memory whatever the cancel says.
fn disk_read(report: &mut Report) -> io::Result<()> {
    const LEN: usize = 8 << 20;
    let scratch = Scratch::new("cancel")?;
    if scratch.file_system() == "tmpfs" {
        report.saw("disk read: not shown, the build directory is on tmpfs");
        return Ok(());
    }
    let file = scratch.file("data", LEN, 0x5a, libc::O_DIRECT)?;
    let mut lab = Lab::new(8, 64)?;
    lab.read(&file, LEN, 0, TARGET)?;
    lab.submit()?;
    let (cancel, target) = cancel_target(&mut lab)?;
    report.saw(format_args!("disk read in flight: cancel {}, read {target}", name(cancel)));
    report.holds("a read under way on the device runs to its end", target.res == LEN as i32);
    report.holds("the cancel's result is an error: it stopped nothing", cancel < 0);
    Ok(())
}

/// An op that runs on a worker and blocks, while `meanwhile` is done to it.
fn on_a_worker<R>(meanwhile: impl FnOnce(&mut Lab) -> io::Result<R>) -> io::Result<R> {
    let scratch = Scratch::new("cancel-fifo")?;
    let path = scratch.c_path("fifo");
    scratch.fifo("fifo")?;
    let how = OpenHow::new().flags(libc::O_RDONLY as u64);
    let open = opcode::OpenAt2::new(Fd(libc::AT_FDCWD), path.as_ptr(), &how).build();
    let mut lab = Lab::new(8, 64)?;
    // SAFETY: path and how outlive the lab, which does not go before the completion.
    unsafe { lab.push(open.user_data(TARGET).flags(squeue::Flags::ASYNC))? };
    lab.submit()?;
    let start = Instant::now();
    while threads_of_io_wq().is_empty() && start.elapsed() < LONG {
        std::thread::yield_now();
    }
    // The worker exists; give it the time to reach the FIFO, where it sleeps.
    lab.wait(1, QUIET)?;
    meanwhile(&mut lab)
}

/// A cancel interrupts the worker.
fn running_on_a_worker(report: &mut Report) -> io::Result<()> {
    let (cancel, target) = on_a_worker(cancel_target)?;
    report.saw(format_args!("open of a FIFO on a worker: cancel {}, open {target}", name(cancel)));
    report.holds("EALREADY: it was running and was interrupted", cancel == -libc::EALREADY);
    report.holds("the open itself ends with an error", target.res < 0);
    Ok(())
}

/// So does a stop of the process, behind which a system call would go on.
fn stopped_on_a_worker(report: &mut Report) -> io::Result<()> {
    let target = on_a_worker(|lab| {
        let stop = "kill -STOP $PPID; sleep 0.1; kill -CONT $PPID";
        Command::new("sh").args(["-c", stop]).status()?;
        lab.next(LONG)
    })?;
    report.saw(format_args!("open of a FIFO on a worker, the process stopped and continued: {target}"));
    let interrupted = [libc::EINTR, 512].into_iter().any(|errno| target.ended_with(errno));
    report.holds("the open ends as if it had been cancelled", interrupted);
    Ok(())
}

fn close_does_not_cancel(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    let (near, mut far) = UnixStream::pair()?;
    lab.recv(&near, 64, (0, 0), TARGET)?;
    lab.submit()?;
    drop(near);
    report.holds("after close(fd) the receive is still armed", lab.wait(1, QUIET)?.is_empty());
    far.write_all(b"late bytes")?;
    let cqe = lab.next(LONG)?;
    let got = cqe.res == 10 && lab.bytes(TARGET, 10) == b"late bytes";
    report.holds("and completes with bytes that came after the close", got);
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    waiting_receive(&mut report)?;
    one_or_all(&mut report)?;
    disk_read(&mut report)?;
    running_on_a_worker(&mut report)?;
    stopped_on_a_worker(&mut report)?;
    close_does_not_cancel(&mut report)?;
    Ok(report.finish())
}
