//! Accepting from a socket on which another ring, whose thread is stuck, has an accept armed.
//! It promises to show who gets a connection, who is woken for it, and what the stuck ring does afterwards.
//! How a stuck thread is found is not its subject.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use io_uring::types::CancelBuilder;
use kernel_notes::{Cqe, LONG, Lab, Outcome, QUIET, Report};

const ARMED: u64 = 1;
const BESIDE: u64 = 2;
const POLL: u64 = 3;

/// A thread that has armed an accept on its ring and does not enter the kernel for it until told to.
struct Stuck {
    go_on: Sender<()>,
    thread: JoinHandle<io::Result<Vec<Cqe>>>,
}

impl Stuck {
    fn new(listener: &TcpListener, multi: bool) -> io::Result<Stuck> {
        let (go_on, told) = channel();
        let (ready, is_ready) = channel();
        let listener = listener.try_clone()?;
        let thread = thread::spawn(move || {
            let mut lab = Lab::new(8, 64)?;
            if multi {
                lab.accept_multi(&listener, ARMED)?
            } else {
                lab.accept(&listener, ARMED)?
            }
            lab.submit()?;
            let _ = ready.send(());
            let _ = told.recv();
            lab.wait(8, QUIET)
        });
        // A thread that failed has dropped its end, and says why when it is joined.
        let _ = is_ready.recv();
        Ok(Stuck { go_on, thread })
    }

    /// Ends the stretch of being stuck and returns what the ring then says.
    fn well(self) -> io::Result<Vec<Cqe>> {
        let _ = self.go_on.send(());
        self.thread.join().expect("the thread returns errors")
    }
}

/// How many connections these completions of `tag` hand over; they are closed.
fn taken(cqes: &[Cqe], tag: u64) -> usize {
    let fds = cqes.iter().filter(|cqe| cqe.tag == tag && cqe.res >= 0).map(|cqe| cqe.res);
    // SAFETY: a successful accept hands over a new descriptor, which nobody else owns.
    fds.map(|fd| drop(unsafe { OwnedFd::from_raw_fd(fd) })).count()
}

fn connect(listener: &TcpListener, count: usize) -> io::Result<Vec<TcpStream>> {
    let to = listener.local_addr()?;
    (0..count).map(|_| TcpStream::connect(to)).collect()
}

/// Connections that come while nobody else accepts.
fn backlog(report: &mut Report) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (stuck, mut lab) = (Stuck::new(&listener, true)?, Lab::new(8, 64)?);
    let _clients = connect(&listener, 3)?;
    for _ in 0..3 {
        lab.accept(&listener, BESIDE)?;
    }
    let got = taken(&lab.wait(3, LONG)?, BESIDE);
    report.holds("3 connections wait, 3 accepts beside: each gets one", got == 3);
    let left = stuck.well()?;
    report.holds("the stuck ring goes on: it had taken none", left.is_empty());
    Ok(())
}

/// An accept that waits beside the armed one, and a poll that does.
fn asleep(report: &mut Report, multi: bool) -> io::Result<()> {
    let kind = if multi { "multishot" } else { "one-shot" };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (stuck, mut lab) = (Stuck::new(&listener, multi)?, Lab::new(8, 64)?);
    lab.accept(&listener, BESIDE)?;
    lab.submit()?;
    let _clients = connect(&listener, 1)?;
    let got = taken(&lab.wait(1, QUIET)?, BESIDE);
    report.saw(format_args!("{kind} stuck, accept asleep beside it, 1 connection: {got} taken"));
    report.holds("the stuck ring swallows the wake of an accept", got == 0);
    lab.poll(&listener, POLL)?;
    let cqe = lab.next(LONG)?;
    report.holds("a poll beside sees it", cqe.tag == POLL && cqe.res & i32::from(libc::POLLIN) != 0);
    lab.cancel(CancelBuilder::user_data(BESIDE), 4)?;
    let cancelled = lab.wait(2, LONG)?;
    report.holds("the accept asleep is cancelled, nothing is lost", taken(&cancelled, BESIDE) == 0);
    lab.accept(&listener, BESIDE)?;
    let got = taken(&lab.wait(1, LONG)?, BESIDE);
    report.holds("an accept after the poll gets it", got == 1);

    lab.poll(&listener, POLL)?;
    lab.submit()?;
    let _later = connect(&listener, 1)?;
    report.holds("a poll asleep beside is woken", lab.next(LONG)?.tag == POLL);
    lab.accept(&listener, BESIDE)?;
    report.holds("and the accept after it gets that one", taken(&lab.wait(1, LONG)?, BESIDE) == 1);
    let _last = connect(&listener, 1)?;
    let left = stuck.well()?;
    report.holds("the stuck ring goes on: it takes the next one", taken(&left, ARMED) == 1);
    let end = if multi { "and is armed still" } else { "and has ended, as a one-shot does" };
    report.holds(end, left.iter().all(|cqe| cqe.more() == multi));
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    backlog(&mut report)?;
    asleep(&mut report, true)?;
    asleep(&mut report, false)?;
    Ok(report.finish())
}
