//! MSG_TRUNC, of datagrams and of a stream: what is answered, and what is copied. It promises both.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use kernel_notes::{Outcome, Report, set_option, tcp_pair};

/// What memory holds where nothing was copied.
const UNTOUCHED: u8 = 0xee;

/// Receives into 32 bytes, of which `room` are offered: the answer, and how many were written.
fn receive(socket: &impl AsRawFd, room: usize, flags: i32) -> io::Result<(usize, usize)> {
    let mut bytes = [UNTOUCHED; 32];
    // SAFETY: `room` bytes of a live array may be written.
    let answer = unsafe { libc::recv(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), room, flags) };
    match usize::try_from(answer) {
        Ok(answer) => Ok((answer, bytes.iter().take_while(|byte| **byte != UNTOUCHED).count())),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

fn main() -> Outcome {
    let mut report = Report::new();
    let near = UdpSocket::bind("127.0.0.1:0")?;
    let far = UdpSocket::bind("127.0.0.1:0")?;
    far.connect(near.local_addr()?)?;
    far.send(b"0123456789")?;
    let found = receive(&near, 4, libc::MSG_TRUNC)?;
    report.holds("of a datagram of 10 into room for 4: 10 are answered, 4 copied", found == (10, 4));

    set_option(&near, libc::SOL_SOCKET, libc::SO_PEEK_OFF, 6i32)?;
    far.send(b"0123456789")?;
    let found = receive(&near, 32, libc::MSG_PEEK | libc::MSG_TRUNC)?;
    report.holds("looked at from its 6th byte on (SO_PEEK_OFF): 10 are answered, 4 copied", found == (10, 4));
    let found = receive(&near, 32, libc::MSG_TRUNC)?;
    report.holds("taken, the offset does not count: 10 are answered, 10 copied", found == (10, 10));

    let (near, far) = tcp_pair()?;
    let mut sent: &[u8] = b"0123456789";
    io::copy(&mut sent, &mut &far)?;
    let found = receive(&near, 32, libc::MSG_TRUNC)?;
    report.holds("of a stream of 10 bytes: 10 are answered, none copied", found == (10, 0));
    Ok(report.finish())
}
