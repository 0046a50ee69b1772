//! From socket to socket through a pipe, by `splice(2)`: who waits for what, and what becomes of bytes that
//! are in the pipe. It promises to show what each call answers. It measures no speed.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use kernel_notes::{Outcome, Report, set_option, tcp_pair};

/// Many times what socket buffers and pipes hold.
const LEN: usize = 8 << 20;
/// How long a receive that waits, waits at most (`SO_RCVTIMEO`).
const PATIENCE: Duration = Duration::from_millis(200);

fn splice(from: &impl AsRawFd, to: &impl AsRawFd, len: usize) -> Result<usize, io::ErrorKind> {
    let (from, to, none) = (from.as_raw_fd(), to.as_raw_fd(), std::ptr::null_mut());
    // SAFETY: two descriptors that are open, and no pointer but null ones.
    match unsafe { libc::splice(from, none, to, none, len, libc::SPLICE_F_NONBLOCK) } {
        -1 => Err(io::Error::last_os_error().kind()),
        count => Ok(count as usize),
    }
}

fn nothing_there(report: &mut Report) -> io::Result<()> {
    let ((near, _far), (_reader, writer)) = (tcp_pair()?, io::pipe()?);
    near.set_read_timeout(Some(PATIENCE))?;
    let start = Instant::now();
    let answer = splice(&near, &writer, LEN);
    let waited = start.elapsed() >= PATIENCE;
    report.holds("SPLICE_F_NONBLOCK, nothing received: it waits all the same", answer.is_err() && waited);
    near.set_nonblocking(true)?;
    let start = Instant::now();
    let answer = splice(&near, &writer, LEN);
    report.holds("the socket in non-blocking mode: EAGAIN", answer == Err(io::ErrorKind::WouldBlock));
    report.holds("at once", start.elapsed() < PATIENCE);
    Ok(())
}

/// A pipe with `len` bytes that came through a socket.
fn filled_pipe(len: usize) -> io::Result<(PipeReader, PipeWriter)> {
    let ((near, mut far), (reader, writer)) = (tcp_pair()?, io::pipe()?);
    far.write_all(&vec![7; len])?;
    let mut held = 0;
    while held < len {
        held += splice(&near, &writer, len - held).map_err(io::Error::from)?;
    }
    Ok((reader, writer))
}

fn full_socket(report: &mut Report) -> io::Result<()> {
    let (near, _far) = tcp_pair()?;
    set_option(&near, libc::SOL_SOCKET, libc::SO_SNDBUF, 64 << 10)?;
    near.set_nonblocking(true)?;
    while (&near).write(&[0; 4096]).is_ok() {}
    let (mut reader, _writer) = filled_pipe(10_000)?;
    let answer = splice(&reader, &near, 10_000);
    report.holds("to a socket that is full: EAGAIN", answer == Err(io::ErrorKind::WouldBlock));
    let mut back = vec![0; 10_000];
    reader.read_exact(&mut back)?;
    report.holds("and the bytes are still in the pipe", back.iter().all(|byte| *byte == 7));
    Ok(())
}

fn full_pipe(report: &mut Report) -> io::Result<()> {
    let ((near, far), (_reader, writer)) = (tcp_pair()?, io::pipe()?);
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    let write = |mut to: &TcpStream| while to.write(&[1; 65536]).is_ok() {};
    write(&far);
    let mut held = 0;
    let end = loop {
        match splice(&near, &writer, LEN) {
            Ok(count) => held += count,
            Err(kind) => break kind,
        }
        write(&far);
    };
    report.saw(format_args!("a pipe as it comes takes {held} bytes"));
    report.holds("a full pipe answers EAGAIN like an empty socket", end == io::ErrorKind::WouldBlock);
    // SAFETY: changes a number of the pipe, no pointers.
    let size = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 256 << 10) };
    report.saw(format_args!("F_SETPIPE_SZ of 256 KiB: {size}"));
    Ok(())
}

fn end(report: &mut Report) -> io::Result<()> {
    let ((near, mut far), (_reader, writer)) = (tcp_pair()?, io::pipe()?);
    far.write_all(b"last")?;
    far.shutdown(Shutdown::Write)?;
    report.holds("what came before the end", splice(&near, &writer, LEN) == Ok(4));
    report.holds("then the end: 0", splice(&near, &writer, LEN) == Ok(0));
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    nothing_there(&mut report)?;
    full_socket(&mut report)?;
    full_pipe(&mut report)?;
    end(&mut report)?;
    Ok(report.finish())
}
