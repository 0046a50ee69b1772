//! The end of a stream that comes right behind its last bytes: whether a multishot receive tells of it.
//! It promises what ringwork leans on; what a kernel may lose is only seen.

use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use kernel_notes::{Cqe, LONG, Lab, Outcome, QUIET, Report, set_option, tcp_pair};

const GROUP: u16 = 0;
const RECV: u64 = 1;

/// When the bytes and the end come.
#[derive(Clone, Copy)]
enum When {
    /// The receive waits for them, and its core looks once both have come.
    Behind,
    /// Both are there when the receive is armed.
    Before,
    /// The same, and the receive is armed with POLL_FIRST.
    BeforePollFirst,
}

/// Sends bytes, and right behind them the end.
type Finish<F> = fn(F) -> io::Result<()>;

fn close<F: Write>(mut far: F) -> io::Result<()> {
    far.write_all(b"bytes")
}

fn reset(mut far: TcpStream) -> io::Result<()> {
    far.write_all(b"bytes")?;
    set_option(&far, libc::SOL_SOCKET, libc::SO_LINGER, libc::linger { l_onoff: 1, l_linger: 0 })
}

/// Waits until the end has come.
fn hung_up(near: &impl AsRawFd) -> io::Result<()> {
    let mut poll = libc::pollfd { fd: near.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: the call writes to the one live element that it is given.
    match unsafe { libc::poll(&raw mut poll, 1, LONG.as_millis() as i32) } {
        1 => Ok(()),
        _ => Err(io::Error::other("the end did not come")),
    }
}

/// What a receive completes with.
fn received<N: AsRawFd, F>(near: &N, far: F, finish: Finish<F>, when: When) -> io::Result<Vec<Cqe>> {
    let mut lab = Lab::new(4, 64)?;
    lab.add_pool(GROUP, 8, 64)?;
    for bid in 0..8 {
        lab.give(GROUP, bid);
    }
    match when {
        When::Behind => {
            lab.recv_multi(near, GROUP, RECV)?;
            lab.wait(1, QUIET)?;
            finish(far)?;
            hung_up(near)?;
        }
        When::Before => {
            finish(far)?;
            hung_up(near)?;
            lab.recv_multi(near, GROUP, RECV)?;
        }
        When::BeforePollFirst => {
            finish(far)?;
            hung_up(near)?;
            lab.recv_multi_poll_first(near, GROUP, RECV)?;
        }
    }
    lab.wait(2, QUIET)
}

/// Shows all three; whether each told of the end.
fn told<N: AsRawFd, F>(
    report: &mut Report,
    what: &str,
    pair: impl Fn() -> io::Result<(N, F)>,
    finish: Finish<F>,
) -> io::Result<[bool; 3]> {
    let mut told = [false; 3];
    let whens = [
        (When::Behind, "while it waits"),
        (When::Before, "before it is armed"),
        (When::BeforePollFirst, "before it is armed, POLL_FIRST"),
    ];
    for (told, (when, name)) in told.iter_mut().zip(whens) {
        let (near, far) = pair()?;
        let cqes = received(&near, far, finish, when)?;
        let all: Vec<_> = cqes.iter().map(Cqe::to_string).collect();
        report.saw(format_args!("{what} {name}: {}", all.join(", then ")));
        *told = cqes.last().is_some_and(|cqe| !cqe.more());
    }
    Ok(told)
}

fn main() -> Outcome {
    let mut report = Report::new();
    let tcp = told(&mut report, "TCP, closed", tcp_pair, close)?;
    report.holds("TCP, closed: always told", tcp == [true; 3]);
    told(&mut report, "TCP, reset", tcp_pair, reset)?;
    told(&mut report, "Unix, closed", UnixStream::pair, close)?;
    Ok(report.finish())
}
