//! POLL_FIRST skips the first try of a receive; F_SOCK_NONEMPTY says when that try would be worth it.
//! It promises to show both by what completes. What the skipped try costs is not measured.

use std::io::{self, Write};
use std::net::TcpStream;

use kernel_notes::{LONG, Lab, Outcome, Report, enter, tcp_pair};

const POLL_FIRST: u16 = 1 << 0;
const SOCK_NONEMPTY: u32 = 1 << 2;

/// Submits one receive without running deferred completions; says whether it is done, and whether work waits.
fn submitted(lab: &mut Lab, near: &TcpStream, how: u16, tag: u64) -> io::Result<(bool, bool)> {
    lab.recv(near, 64, (how, 0), tag)?;
    enter(lab, 1, 0, 0)?;
    Ok((lab.ready() == 1, lab.taskrun()))
}

fn poll_first(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    let (near, mut far) = tcp_pair()?;
    far.write_all(b"early")?;
    near.peek(&mut [0])?;
    let plain = submitted(&mut lab, &near, 0, 1)?;
    report.holds("bytes there, no flag: done inside the submit", plain == (true, false));
    lab.wait(1, LONG)?;
    far.write_all(b"early")?;
    near.peek(&mut [0])?;
    let flagged = submitted(&mut lab, &near, POLL_FIRST, 2)?;
    report.holds("bytes there, POLL_FIRST: not tried, work is queued", flagged == (false, true));
    report.holds("the next enter does it: nothing is lost", lab.next(LONG)?.res == 5);
    let waiting = submitted(&mut lab, &near, POLL_FIRST, 3)?;
    report.holds("no bytes, POLL_FIRST: waits", waiting == (false, false));
    far.write_all(b"late")?;
    report.holds("and completes when bytes come", lab.next(LONG)?.res == 4);
    lab.recv(&near, 64, (POLL_FIRST, libc::MSG_DONTWAIT), 4)?;
    let cqe = lab.next(LONG)?;
    report.holds("no bytes, POLL_FIRST and MSG_DONTWAIT: EAGAIN, no wait", cqe.ended_with(libc::EAGAIN));
    Ok(())
}

fn nonempty(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    let (near, mut far) = tcp_pair()?;
    far.write_all(b"0123456789")?;
    let mut says = Vec::new();
    for len in [4, 4, 2] {
        lab.recv(&near, len, (0, 0), 1)?;
        let cqe = lab.next(LONG)?;
        report.saw(format_args!("receive of {len}: {cqe}"));
        says.push(cqe.flags & SOCK_NONEMPTY != 0);
    }
    report.holds("10 bytes in pieces of 4, 4, 2: set, set, clear", says == [true, true, false]);
    far.write_all(b"last")?;
    drop(far);
    for len in [4, 4] {
        lab.recv(&near, len, (0, 0), 1)?;
        report.saw(format_args!("receive of {len}, peer has closed: {}", lab.next(LONG)?));
    }
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    poll_first(&mut report)?;
    nonempty(&mut report)?;
    Ok(report.finish())
}
