//! Every way a multishot op ends, and the one rule for all: the completion without F_MORE is the last.
//! It promises to show each end on a receive, then accept. Polls are `wake`'s.

use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};

use io_uring::types::CancelBuilder;
use kernel_notes::{Cqe, LONG, Lab, Outcome, QUIET, Report, set_option, tcp_pair};

const GROUP: u16 = 0;
const RECV: u64 = 1;

/// A lab with `buffers` of 64 bytes given, and a connection with a receive armed at its near end.
fn armed(cq: u32, buffers: u16) -> io::Result<(Lab, TcpStream, TcpStream)> {
    let mut lab = Lab::new(4, cq)?;
    lab.add_pool(GROUP, 16, 64)?;
    for bid in 0..buffers {
        lab.give(GROUP, bid);
    }
    let (near, far) = tcp_pair()?;
    lab.recv_multi(&near, GROUP, RECV)?;
    lab.submit()?;
    Ok((lab, near, far))
}

/// All completions of the receive until none has come for a while.
fn until_quiet(lab: &mut Lab) -> io::Result<Vec<Cqe>> {
    let mut all = Vec::new();
    loop {
        let some = lab.wait(64, QUIET)?;
        if some.is_empty() {
            return Ok(all.into_iter().filter(|cqe: &Cqe| cqe.tag == RECV).collect());
        }
        all.extend(some);
    }
}

/// The rule: F_MORE on all but the last.
fn check(report: &mut Report, how: &str, cqes: &[Cqe], last: impl Fn(&Cqe) -> bool) {
    for cqe in cqes {
        report.saw(format_args!("{how}: {cqe}"));
    }
    let rule =
        cqes.split_last().is_some_and(|(end, rest)| !end.more() && rest.iter().all(Cqe::more) && last(end));
    report.holds(format_args!("{how}: one last completion, without F_MORE"), rule);
}

fn receive_ends(report: &mut Report) -> io::Result<()> {
    let (mut lab, _near, mut far) = armed(64, 8)?;
    far.write_all(b"bytes")?;
    far.shutdown(Shutdown::Write)?;
    let cqes = until_quiet(&mut lab)?;
    check(report, "end of file", &cqes, |cqe| cqe.res == 0);
    let taken = cqes.iter().filter(|cqe| cqe.buffer().is_some()).count();
    report.saw(format_args!("end of file: {} of {} completions carry a buffer", taken, cqes.len()));

    let (mut lab, _near, far) = armed(64, 8)?;
    reset(far)?;
    check(report, "reset", &until_quiet(&mut lab)?, |cqe| cqe.res == -libc::ECONNRESET);

    let (mut lab, _near, mut far) = armed(64, 1)?;
    far.write_all(&[7; 100])?;
    check(report, "no buffer left", &until_quiet(&mut lab)?, |cqe| cqe.res == -libc::ENOBUFS);

    let (mut lab, _near, mut far) = armed(64, 8)?;
    far.write_all(b"bytes")?;
    let mut cqes = lab.wait(1, LONG)?;
    lab.cancel(CancelBuilder::user_data(RECV), 2)?;
    cqes.extend(until_quiet(&mut lab)?);
    check(report, "cancel", &cqes, |cqe| cqe.res == -libc::ECANCELED);

    let (mut lab, _near, mut far) = armed(4, 8)?;
    far.write_all(&[7; 64 * 6])?;
    while lab.ready() < 4 {
        lab.park(4, LONG)?;
    }
    let cqes = until_quiet(&mut lab)?;
    check(report, "CQ of 4 is full", &cqes, |cqe| cqe.res == 64 && cqe.buffer().is_some());
    Ok(())
}

/// Closes a connection so that the peer gets a reset.
fn reset(stream: TcpStream) -> io::Result<()> {
    let now = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(&stream, libc::SOL_SOCKET, libc::SO_LINGER, now)
}

fn accepts(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    lab.accept_multi(&listener, 1)?;
    let to = listener.local_addr()?;
    let clients = (0..3).map(|_| TcpStream::connect(to)).collect::<io::Result<Vec<_>>>()?;
    let mut accepted = 0;
    for cqe in lab.wait(clients.len(), LONG)? {
        accepted += usize::from(cqe.res >= 0 && cqe.more());
        // SAFETY: a successful accept hands over a new descriptor, which nobody else owns.
        drop((cqe.res >= 0).then(|| unsafe { OwnedFd::from_raw_fd(cqe.res) }));
    }
    report.holds("accept: 3 connections, 3 completions with F_MORE", accepted == 3);
    lab.cancel(CancelBuilder::user_data(1), 2)?;
    let cqes = lab.wait(2, LONG)?;
    let ended = cqes.iter().any(|cqe| cqe.tag == 1 && cqe.ended_with(libc::ECANCELED));
    report.holds("accept: cancelled, ECANCELED without F_MORE", ended);
    report.holds("nothing comes after the last", lab.wait(1, QUIET)?.is_empty());
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    receive_ends(&mut report)?;
    accepts(&mut report)?;
    Ok(report.finish())
}
