//! What `send(2)` with `MSG_DONTWAIT` takes, tells and spares. It promises to show that a part is a short
//! count, that an error is told once, and how often an answer enters the kernel. What an enter costs is not
//! measured.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use kernel_notes::{LONG, Lab, Outcome, Report, code, set_option, tcp_pair};

const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
const ASK: u64 = 1;
const ANSWER: u64 = 2;

fn send_now(socket: &impl AsRawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the bytes live for the call.
    let sent = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), FLAGS) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// On a socket in blocking mode.
fn parts(report: &mut Report) -> io::Result<()> {
    let (near, mut far) = tcp_pair()?;
    set_option(&near, libc::SOL_SOCKET, libc::SO_SNDBUF, 16 << 10)?;
    let bytes = vec![7; 8 << 20];
    let first = send_now(&near, &bytes)?;
    report.saw(format_args!("a peer that does not read: {first} of {} bytes", bytes.len()));
    report.holds("what does not fit is a short count, at once", first > 0 && first < bytes.len());
    let mut gone = first;
    let end = loop {
        match send_now(&near, &bytes) {
            Ok(count) => gone += count,
            Err(error) => break code(&error),
        }
    };
    report.holds("a full socket: EAGAIN", end == libc::EAGAIN);
    drop(near);
    let mut came = Vec::new();
    far.read_to_end(&mut came)?;
    report.holds("the peer gets the sum of the counts", came.len() == gone);
    Ok(())
}

/// A connection that the peer has reset.
fn errors(report: &mut Report) -> io::Result<()> {
    let (near, far) = tcp_pair()?;
    set_option(&far, libc::SOL_SOCKET, libc::SO_LINGER, libc::linger { l_onoff: 1, l_linger: 0 })?;
    drop(far);
    let told = [(); 2].map(|()| send_now(&near, b"x").map_err(|error| code(&error)));
    report.holds("a reset is told once: ECONNRESET", told[0] == Err(libc::ECONNRESET));
    report.holds("and then EPIPE", told[1] == Err(libc::EPIPE));
    Ok(())
}

/// Enters until the next message is there, for one that is answered at once.
fn enters(lab: &mut Lab, far: &mut TcpStream) -> io::Result<usize> {
    let mut enters = 0;
    loop {
        lab.park(1, LONG)?;
        enters += 1;
        for cqe in lab.reap() {
            match cqe.tag {
                ANSWER => far.write_all(b"the next message")?,
                _ => return Ok(enters),
            }
        }
    }
}

fn spares(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    lab.add_pool(0, 4, 64)?;
    (0..4).for_each(|bid| lab.give(0, bid));
    let (near, mut far) = tcp_pair()?;
    lab.recv_multi(&near, 0, ASK)?;
    far.write_all(b"a message")?;
    lab.park(1, LONG)?;
    report.holds("a message has come", lab.reap().len() == 1);
    lab.send(&near, b"answer", libc::MSG_WAITALL, ANSWER)?;
    report.holds("answered by an op, the next is there after two enters", enters(&mut lab, &mut far)? == 2);
    send_now(&near, b"answer")?;
    far.write_all(b"the next message")?;
    report.holds("answered by a call, after one", enters(&mut lab, &mut far)? == 1);
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    parts(&mut report)?;
    errors(&mut report)?;
    spares(&mut report)?;
    Ok(report.finish())
}
