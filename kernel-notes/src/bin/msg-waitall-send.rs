//! A stream send with MSG_WAITALL: one completion for the whole message, however slow the reader.
//! It promises to count completions and bytes, also of a send that is cancelled half way. It measures no
//! speed.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use io_uring::types::CancelBuilder;
use kernel_notes::{LONG, Lab, Outcome, QUIET, Report, set_option, tcp_pair};

/// Many times what the socket buffers hold.
const LEN: usize = 16 << 20;
const SEND: u64 = 1;

/// A pair whose near end has a small send buffer.
fn narrow_pair() -> io::Result<(TcpStream, TcpStream)> {
    let (near, far) = tcp_pair()?;
    set_option(&near, libc::SOL_SOCKET, libc::SO_SNDBUF, 64 << 10)?;
    Ok((near, far))
}

/// Reads to the end in pieces with pauses, and returns the bytes.
fn slow_reader(mut far: TcpStream) -> JoinHandle<io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let (mut all, mut piece) = (Vec::new(), vec![0; 256 << 10]);
        loop {
            match far.read(&mut piece)? {
                0 => return Ok(all),
                count => all.extend_from_slice(&piece[..count]),
            }
            thread::sleep(Duration::from_millis(1));
        }
    })
}

fn pattern() -> Vec<u8> {
    (0..LEN).map(|at| (at / 1000) as u8).collect()
}

fn whole(report: &mut Report, flags: i32) -> io::Result<usize> {
    let mut lab = Lab::new(8, 64)?;
    let (near, far) = narrow_pair()?;
    let (reader, message) = (slow_reader(far), pattern());
    lab.send(&near, &message, flags, SEND)?;
    let cqe = lab.next(LONG)?;
    let sent = cqe.res.max(0) as usize;
    let none_after = lab.wait(1, QUIET)?.is_empty();
    near.shutdown(Shutdown::Write)?;
    let got = reader.join().expect("the reader returns errors")?;
    report
        .holds("one completion, and the reader has exactly its bytes", none_after && got == message[..sent]);
    Ok(sent)
}

fn cancelled(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    let (near, mut far) = narrow_pair()?;
    let message = pattern();
    lab.send(&near, &message, libc::MSG_WAITALL, SEND)?;
    lab.submit()?;
    let mut got = vec![0; 1 << 20];
    let reader = thread::spawn(move || -> io::Result<(Vec<u8>, TcpStream)> {
        far.read_exact(&mut got)?;
        Ok((got, far))
    });
    // The send goes on while the first MiB is read, then the socket fills up and it waits.
    let early = lab.wait(1, 3 * QUIET)?;
    let (mut got, mut far) = reader.join().expect("the reader returns errors")?;
    report.holds("the reader stopped after 1 MiB: no completion yet", early.is_empty());
    lab.cancel(CancelBuilder::user_data(SEND), 2)?;
    let pair = lab.wait(2, LONG)?;
    let res = |tag| pair.iter().find(|cqe| cqe.tag == tag).map(|cqe| cqe.res);
    report.saw(format_args!("cancel: {:?}, send: {:?} of {LEN} bytes", res(2), res(SEND)));
    near.shutdown(Shutdown::Write)?;
    far.read_to_end(&mut got)?;
    let sent = res(SEND).unwrap_or(0).max(0) as usize;
    report.holds("the send's completion is a count, not ECANCELED", sent > 0 && sent < LEN);
    report.holds("the count is what the reader got", got.len() == sent && got == message[..sent]);
    let (near, _far) = narrow_pair()?;
    let mut filler = &near;
    near.set_nonblocking(true)?;
    while io::Write::write(&mut filler, &message).is_ok() {}
    lab.send(&near, b"behind a full socket", libc::MSG_WAITALL, SEND)?;
    lab.submit()?;
    lab.cancel(CancelBuilder::user_data(SEND), 2)?;
    let none = lab.wait(2, LONG)?.iter().any(|cqe| cqe.tag == SEND && cqe.ended_with(libc::ECANCELED));
    report.holds("cancelled before its first byte: ECANCELED", none);
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    let short = whole(&mut report, 0)?;
    report.saw(format_args!("without MSG_WAITALL: {short} of {LEN} bytes"));
    report.holds("without it the message is cut", short < LEN);
    let full = whole(&mut report, libc::MSG_WAITALL)?;
    report.saw(format_args!("with MSG_WAITALL: {full} of {LEN} bytes"));
    report.holds("with it the message is whole", full == LEN);
    cancelled(&mut report)?;
    Ok(report.finish())
}
