//! What `O_NONBLOCK` on a socket changes for ops of the ring, and for `sendfile(2)`. It promises to show for
//! each op whether it still waits. What the call that sets the mode costs is not measured.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;

use kernel_notes::{LONG, Lab, Outcome, QUIET, Report, Scratch, set_option, tcp_pair};

/// Many times what the socket buffers hold.
const LEN: usize = 8 << 20;

/// A pair whose near end answers system calls instead of waiting.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let (near, far) = tcp_pair()?;
    set_option(&near, libc::SOL_SOCKET, libc::SO_SNDBUF, 64 << 10)?;
    near.set_nonblocking(true)?;
    Ok((near, far))
}

fn receives(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    let (near, mut far) = pair()?;
    lab.recv(&near, 64, (0, 0), 1)?;
    report.holds("a receive with nothing there waits", lab.wait(1, QUIET)?.is_empty());
    far.write_all(b"bytes")?;
    report.holds("and completes when bytes come", lab.next(LONG)?.res == 5);
    lab.add_pool(0, 4, 64)?;
    (0..4).for_each(|bid| lab.give(0, bid));
    lab.recv_multi(&near, 0, 2)?;
    report.holds("a multishot receive with nothing there waits", lab.wait(1, QUIET)?.is_empty());
    let mut stays = true;
    for _ in 0..3 {
        far.write_all(b"bytes")?;
        let cqe = lab.next(LONG)?;
        stays &= cqe.res == 5 && cqe.more();
    }
    report.holds("and stays armed", stays && lab.wait(1, QUIET)?.is_empty());
    Ok(())
}

fn send(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    let (near, mut far) = pair()?;
    lab.send(&near, &vec![7; LEN], libc::MSG_WAITALL, 1)?;
    report.holds("a send that finds the socket full waits", lab.wait(1, QUIET)?.is_empty());
    let reader = thread::spawn(move || far.read_exact(&mut vec![0; LEN]));
    report.holds("and one completion says that all has left", lab.next(LONG)?.res == LEN as i32);
    reader.join().expect("the reader returns errors")
}

fn send_file(report: &mut Report) -> io::Result<()> {
    let (near, _far) = pair()?;
    let scratch = Scratch::new("nonblocking-socket")?;
    let file = scratch.file("body", LEN, 7, 0)?;
    let sent = |file: &File| {
        let (to, from) = (near.as_raw_fd(), file.as_raw_fd());
        // SAFETY: two descriptors that are open, and no pointer but the null one.
        match unsafe { libc::sendfile(to, from, std::ptr::null_mut(), LEN) } {
            -1 => Err(io::Error::last_os_error().kind()),
            count => Ok(count),
        }
    };
    let mut gone = 0;
    let end = loop {
        match sent(&file) {
            Ok(count) => gone += count,
            Err(kind) => break kind,
        }
    };
    report.saw(format_args!("sendfile(2) to a peer that does not read: {gone} of {LEN} bytes"));
    report.holds("and then EAGAIN, at once", end == io::ErrorKind::WouldBlock && gone < LEN as isize);
    Ok(())
}

/// A read of a socket, and an accept.
fn others(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    let (near, mut far) = pair()?;
    lab.read(&near, 64, 0, 1)?;
    report.holds("OP_READ with nothing there waits", lab.wait(1, QUIET)?.is_empty());
    far.write_all(b"bytes")?;
    report.holds("and completes when bytes come", lab.next(LONG)?.res == 5);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    lab.accept(&listener, 2)?;
    report.holds("an accept with nobody there waits", lab.wait(1, QUIET)?.is_empty());
    let _peer = TcpStream::connect(listener.local_addr()?)?;
    report.holds("and completes when somebody comes", lab.next(LONG)?.res >= 0);
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    receives(&mut report)?;
    send(&mut report)?;
    send_file(&mut report)?;
    others(&mut report)?;
    Ok(report.finish())
}
