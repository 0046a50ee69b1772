//! How often a send with MSG_WAITALL may find its socket full before it goes to a worker thread, and what
//! becomes of it there. It promises where the messages go that it names, and measures no speed.

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;

use kernel_notes::{LONG, Lab, Outcome, QUIET, Report, set_option, tcp_pair, threads_of_io_wq};

const SEND: u64 = 1;
/// What ringwork puts into one op.
const PART: usize = 128 << 10;

/// Sets the buffers of both ends; zero leaves them as they are.
fn narrow<S: AsRawFd>(pair: io::Result<(S, S)>, size: i32) -> io::Result<(S, S)> {
    let (near, far) = pair?;
    if size > 0 {
        set_option(&near, libc::SOL_SOCKET, libc::SO_SNDBUF, size)?;
        set_option(&far, libc::SOL_SOCKET, libc::SO_RCVBUF, size)?;
    }
    Ok((near, far))
}

/// Sends `len` bytes in one op to a peer that reads `step` bytes at a time: what the op said, and how many
/// workers it had.
fn run<S>(pair: (S, S), len: usize, step: usize) -> io::Result<(i32, usize)>
where
    S: AsRawFd + Read + Send + 'static,
{
    // On a thread of its own: the workers are its.
    let sender = thread::spawn(move || -> io::Result<(i32, usize)> {
        let (near, mut far) = pair;
        let reader = thread::spawn(move || {
            let mut piece = vec![0; step];
            while far.read(&mut piece).is_ok_and(|count| count > 0) {}
        });
        let mut lab = Lab::new(8, 64)?;
        lab.send(&near, &vec![7; len], libc::MSG_WAITALL, SEND)?;
        let cqe = lab.next(4 * LONG)?;
        let workers = threads_of_io_wq().len();
        drop(near);
        reader.join().expect("the reader does not panic");
        Ok((cqe.res, workers))
    });
    sender.join().expect("the sender returns errors")
}

/// The workers of a send that is to send all.
fn workers<S>(pair: (S, S), len: usize, step: usize) -> io::Result<usize>
where
    S: AsRawFd + Read + Send + 'static,
{
    let (res, workers) = run(pair, len, step)?;
    assert_eq!(res, len as i32, "the op sends all");
    Ok(workers)
}

/// Who waits in a worker, with a peer that has stopped reading half-way.
fn stops_half_way(report: &mut Report) -> io::Result<()> {
    let (near, far) = UnixStream::pair()?;
    let mut lab = Lab::new(8, 64)?;
    lab.send(&near, &vec![7; 64 << 20], libc::MSG_WAITALL, SEND)?;
    lab.submit()?;
    let reader = thread::spawn(move || -> io::Result<UnixStream> {
        (&far).read_exact(&mut vec![0; 32 << 20])?;
        Ok(far)
    });
    let early = lab.wait(1, 3 * QUIET)?;
    let far = reader.join().expect("the reader returns errors")?;
    report.saw(format_args!("half read: {} completions, {} worker", early.len(), threads_of_io_wq().len()));
    report.holds("it waits in a worker for the rest", early.is_empty() && threads_of_io_wq().len() == 1);
    drop(far);
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    stops_half_way(&mut report)?;
    let sizes = [(1, "the smallest"), (8 << 10, "16 KiB"), (32 << 10, "64 KiB"), (0, "as they come")];
    for (size, name) in sizes {
        let tcp = workers(narrow(tcp_pair(), size)?, PART, 4096)?;
        let unix = workers(narrow(UnixStream::pair(), size)?, PART, 4096)?;
        report.holds(format_args!("128 KiB, buffers {name}: no worker"), tcp + unix == 0);
    }
    let tcp = workers(narrow(tcp_pair(), 32 << 10)?, 64 << 20, 64 << 10)?;
    let unix = workers(narrow(UnixStream::pair(), 32 << 10)?, 64 << 20, 64 << 10)?;
    report.saw(format_args!("64 MiB, buffers 64 KiB: workers TCP {tcp}, Unix {unix}"));
    for len in [512 << 10, 2 << 20] {
        let unix = workers(narrow(UnixStream::pair(), 1)?, len, 4096)?;
        report.saw(format_args!("{} KiB, buffers the smallest: workers Unix {unix}", len >> 10));
    }
    let tiny = workers(narrow(UnixStream::pair(), 1)?, PART, 100)?;
    report.holds("128 KiB, the smallest buffers, a reader in steps of 100 bytes: no worker", tiny == 0);
    Ok(report.finish())
}
