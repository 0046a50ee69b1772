//! Provided buffers: the kernel picks one when bytes are there, and none before.
//! It promises to show who picks, what ENOBUFS ends, and that bytes wait in the socket. It measures no speed.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

use kernel_notes::{LONG, Lab, Outcome, QUIET, Report};

const SMALL: u16 = 1;
const OTHER: u16 = 2;
const SIZE: usize = 16;

fn picks(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    lab.add_pool(SMALL, 4, SIZE)?;
    for bid in [2, 0] {
        lab.give(SMALL, bid);
    }
    let (near, mut far) = UnixStream::pair()?;
    lab.recv_multi(&near, SMALL, 1)?;
    report.holds("armed and idle: nothing completes", lab.wait(1, QUIET)?.is_empty());
    far.write_all(b"twenty-four bytes in one")?;
    let cqes = lab.wait(2, LONG)?;
    for cqe in &cqes {
        report.saw(format_args!("24 bytes into buffers of 16: {cqe}"));
    }
    let order: Vec<_> = cqes.iter().map(|cqe| (cqe.buffer(), cqe.res)).collect();
    let expected = [(Some(2), 16), (Some(0), 8)];
    report.holds("buffers are taken in the order they were given: 2, then 0", order == expected);
    let bytes = [lab.provided(SMALL, 2, 16), lab.provided(SMALL, 0, 8)].concat();
    report.holds("the bytes are in them", bytes == b"twenty-four bytes in one");
    Ok(())
}

fn runs_dry(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    lab.add_pool(SMALL, 4, SIZE)?;
    lab.give(SMALL, 0);
    let (near, mut far) = UnixStream::pair()?;
    lab.recv_multi(&near, SMALL, 1)?;
    far.write_all(b"0123456789abcdefGHIJ")?;
    let cqes = lab.wait(2, LONG)?;
    for cqe in &cqes {
        report.saw(format_args!("20 bytes, one buffer of 16: {cqe}"));
    }
    report.holds("the pool ran dry: ENOBUFS without F_MORE", cqes[1].ended_with(libc::ENOBUFS));
    lab.give(SMALL, 3);
    report.holds("a buffer given later wakes nothing by itself", lab.wait(1, QUIET)?.is_empty());
    lab.recv_multi(&near, SMALL, 2)?;
    let rest = lab.next(LONG)?;
    report.saw(format_args!("armed again: {rest}"));
    let bytes = lab.provided(SMALL, 3, 4);
    report.holds("the bytes had stayed in the socket", rest.res == 4 && bytes == b"GHIJ");
    lab.wait(1, QUIET)?;
    Ok(())
}

/// An empty pool ends a receive when it is armed, bytes or not; POLL_FIRST puts that off until bytes come.
fn empty_pool(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    lab.add_pool(SMALL, 4, SIZE)?;
    lab.add_pool(OTHER, 4, SIZE)?;
    lab.give(OTHER, 1);
    let (near, mut far) = UnixStream::pair()?;
    lab.recv_multi(&near, SMALL, 1)?;
    let early = lab.next(LONG)?;
    report.holds("group 1 empty, group 2 not, idle socket: ENOBUFS", early.ended_with(libc::ENOBUFS));
    lab.recv_multi_poll_first(&near, SMALL, 2)?;
    report.holds("the same with POLL_FIRST: it waits", lab.wait(1, QUIET)?.is_empty());
    far.write_all(b"x")?;
    report.holds("ENOBUFS when a byte comes", lab.next(LONG)?.ended_with(libc::ENOBUFS));
    lab.recv_multi(&near, 77, 3)?;
    let unknown = lab.next(LONG)?;
    report.holds("a group nobody registered: ENOBUFS", unknown.ended_with(libc::ENOBUFS));
    let mut second = Lab::new(8, 64)?;
    second.recv_multi(&near, OTHER, 4)?;
    let foreign = second.next(LONG)?;
    report.holds("group 2 means nothing to another ring: ENOBUFS", foreign.ended_with(libc::ENOBUFS));
    lab.recv_multi(&near, OTHER, 5)?;
    let served = lab.next(LONG)?;
    report.holds("group 2 serves the byte", served.res == 1 && served.buffer() == Some(1));
    Ok(())
}

/// Armed receives hold no buffer: the pool is as full with 200 of them as with none.
fn idle(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(256, 1024)?;
    lab.add_pool(SMALL, 4, SIZE)?;
    for bid in 0..4 {
        lab.give(SMALL, bid);
    }
    if lab.taken(SMALL).is_err() {
        report.saw("buffers taken: not told by kernels before 6.8");
        return Ok(());
    }
    let mut pairs = (0..200).map(|_| UnixStream::pair()).collect::<io::Result<Vec<_>>>()?;
    for (tag, pair) in pairs.iter().enumerate() {
        lab.recv_multi(&pair.0, SMALL, tag as u64)?;
    }
    lab.submit()?;
    report.holds("200 armed receives have taken 0 buffers", lab.taken(SMALL)? == 0);
    pairs[150].1.write_all(b"hi")?;
    let cqe = lab.next(LONG)?;
    let one = cqe.tag == 150 && lab.taken(SMALL)? == 1;
    report.holds("one of them got bytes: 1 buffer is taken", one);
    Ok(())
}

/// A one-shot receive takes a buffer with its bytes, and none to wait or to learn of the end.
fn once(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    lab.add_pool(SMALL, 4, SIZE)?;
    let (near, mut far) = UnixStream::pair()?;
    lab.recv_once(&near, SMALL, 1)?;
    let idle = lab.next(LONG)?.ended_with(libc::ENOBUFS);
    report.holds("one-shot, empty group, idle socket: ENOBUFS", idle);
    lab.give(SMALL, 3);
    lab.recv_once(&near, SMALL, 2)?;
    report.holds("with a buffer there it waits", lab.wait(1, QUIET)?.is_empty());
    match lab.taken(SMALL) {
        Ok(taken) => report.holds("and has taken none", taken == 0),
        Err(_) => report.saw("buffers taken: not told by kernels before 6.8"),
    }
    far.write_all(b"hi")?;
    let came = lab.next(LONG)?;
    let whole = came.res == 2 && came.buffer() == Some(3) && !came.more();
    report.holds("its bytes come with one, without F_MORE", whole);
    far.write_all(b"!")?;
    lab.recv_once(&near, SMALL, 3)?;
    report.holds("no buffer, a byte: ENOBUFS", lab.next(LONG)?.ended_with(libc::ENOBUFS));
    lab.give(SMALL, 1);
    lab.recv_once(&near, SMALL, 4)?;
    report.holds("the byte had stayed in the socket", lab.next(LONG)?.res == 1);
    lab.give(SMALL, 2);
    drop(far);
    lab.recv_once(&near, SMALL, 5)?;
    let end = lab.next(LONG)?;
    report.holds("the end comes without a buffer", end.res == 0 && end.buffer().is_none());
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    picks(&mut report)?;
    runs_dry(&mut report)?;
    empty_pool(&mut report)?;
    idle(&mut report)?;
    once(&mut report)?;
    Ok(report.finish())
}
