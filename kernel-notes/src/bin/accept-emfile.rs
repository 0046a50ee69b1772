//! A multishot accept meets the limit of open descriptors.
//! It promises to show when it ends, what becomes of the connection, and how it goes on. When to arm again is
//! not its subject.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use kernel_notes::{Cqe, LONG, Lab, Outcome, QUIET, Report};

/// Sets the limit and returns the one before.
fn limit_of_descriptors(count: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is live; the call fills it.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let new = libc::rlimit { rlim_cur: count, ..limit };
    // SAFETY: the structure is live; the call reads it.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &new) } {
        0 => Ok(limit.rlim_cur),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets a limit under which exactly `free` more descriptors can be made; returns the limit before.
fn leave_free(free: usize) -> io::Result<u64> {
    let probes = (0..free + 1).map(|_| File::open("/dev/null")).collect::<io::Result<Vec<_>>>()?;
    limit_of_descriptors(probes[free].as_raw_fd() as u64)
}

/// The descriptor a successful accept handed over.
fn taken(cqe: &Cqe) -> io::Result<TcpStream> {
    match cqe.res {
        res if res < 0 => Err(io::Error::from_raw_os_error(-res)),
        // SAFETY: the kernel has just made this descriptor for us and nobody else owns it.
        fd => Ok(TcpStream::from(unsafe { OwnedFd::from_raw_fd(fd) })),
    }
}

fn full_table(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let to = listener.local_addr()?;
    let (mut first, mut second) = (TcpStream::connect(to)?, TcpStream::connect(to)?);
    let before = leave_free(1)?;
    lab.accept_multi(&listener, 1)?;
    let cqes = lab.wait(2, LONG)?;
    for cqe in &cqes {
        let what = if cqe.res >= 0 { "accepted".to_owned() } else { cqe.to_string() };
        report.saw(format_args!("room for 1 descriptor, 2 connections: {what}"));
    }
    report.holds("the first is accepted, F_MORE is set", cqes[0].res >= 0 && cqes[0].more());
    report.holds("then EMFILE without F_MORE", cqes[1].ended_with(libc::EMFILE));
    let mut server = taken(&cqes[0])?;
    lab.accept_multi(&listener, 2)?;
    let again = lab.next(LONG)?;
    report.holds("armed again without room: EMFILE at once", again.ended_with(libc::EMFILE));
    second.write_all(b"kept")?;
    limit_of_descriptors(before)?;
    lab.accept_multi(&listener, 3)?;
    let kept = lab.next(LONG)?;
    report.holds("armed with room: the connection had waited", kept.res >= 0 && kept.more());
    let mut late = taken(&kept)?;
    let mut bytes = [0; 4];
    late.read_exact(&mut bytes)?;
    report.holds("with the bytes its client had sent", &bytes == b"kept");
    first.write_all(b"also")?;
    server.read_exact(&mut bytes)?;
    report.holds("the connection accepted before is well", &bytes == b"also");
    Ok(())
}

/// Does an accept end when it is armed without room, and when it takes the last descriptor?
fn idle_listener(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let before = leave_free(0)?;
    lab.accept_multi(&listener, 1)?;
    let armed = lab.next(LONG)?;
    report.holds("no room, no connection: EMFILE at once", armed.ended_with(libc::EMFILE));
    limit_of_descriptors(before)?;
    let _client = TcpStream::connect(listener.local_addr()?)?;
    leave_free(1)?;
    lab.accept_multi(&listener, 2)?;
    let _server = taken(&lab.next(LONG)?)?;
    let fills = lab.wait(1, QUIET)?;
    let says = fills.first().map_or("still armed".to_owned(), ToString::to_string);
    report.saw(format_args!("the only connection took the last descriptor: {says}"));
    limit_of_descriptors(before).map(drop)
}

/// The limit is read when the accept is armed, not when a connection comes.
fn limit_of_the_armed(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    lab.accept_multi(&listener, 1)?;
    lab.submit()?;
    let before = leave_free(1)?;
    let _client = TcpStream::connect(listener.local_addr()?)?;
    let cqe = lab.next(LONG)?;
    limit_of_descriptors(before)?;
    report.holds("armed with room, the limit has fallen since: accepted", cqe.res >= 0);
    taken(&cqe).map(drop)
}

fn main() -> Outcome {
    let mut report = Report::new();
    full_table(&mut report)?;
    idle_listener(&mut report)?;
    limit_of_the_armed(&mut report)?;
    Ok(report.finish())
}
