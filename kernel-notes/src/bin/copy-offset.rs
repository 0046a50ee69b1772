//! What a read from the page cache costs by where it lands: at the beginning of a page, as the bytes of the
//! file do, and behind it. It promises medians of reads, that each read brings the right bytes, and
//! where large vectors begin. It judges no timing: most CPUs show no difference.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use kernel_notes::{Outcome, Report, Scratch};

const PAGE: usize = 4096;
/// Bytes of a read.
const LEN: usize = 64 * 1024;
const BYTE: u8 = 7;
/// Reads of one measurement.
const READS: usize = 200;
/// Bytes behind the beginning of a page.
const OFFSETS: [usize; 9] = [0, 1, 16, 31, 32, 64, 256, 2048, PAGE - 16];
/// From here on glibc maps a vector by itself (`M_MMAP_THRESHOLD`, mallopt(3)).
const MAPPED: usize = 128 * 1024;

fn read(file: &File, into: &mut [u8]) -> io::Result<()> {
    // SAFETY: the bytes live over the call and are as many as it is told.
    match unsafe { libc::pread(file.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), 0) } {
        n if n == into.len() as isize => Ok(()),
        -1 => Err(io::Error::last_os_error()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The median of some reads into the same place.
fn time_of_read(file: &File, into: &mut [u8]) -> io::Result<Duration> {
    let mut times = Vec::with_capacity(READS);
    for _ in 0..READS {
        let begin = Instant::now();
        read(file, into)?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    Ok(times[READS / 2])
}

fn main() -> Outcome {
    let mut report = Report::new();
    let scratch = Scratch::new("copy-offset")?;
    let file = scratch.file("file", LEN, BYTE, 0)?;
    let mut bytes = vec![0; LEN + 2 * PAGE];
    let page = bytes.as_ptr().align_offset(PAGE);
    let mut whole = true;
    for offset in OFFSETS {
        let into = &mut bytes[page + offset..][..LEN];
        into.fill(0);
        let time = time_of_read(&file, into)?;
        whole &= into.iter().all(|byte| *byte == BYTE);
        report.saw(format_args!("{LEN} bytes to {offset:>4} behind a page: {:.1} us", micros(time)));
    }
    report.holds("all bytes are there, wherever they land", whole);
    let vectors: Vec<Vec<u8>> = (0..4).map(|_| Vec::with_capacity(MAPPED)).collect();
    let behind: Vec<usize> = vectors.iter().map(|vector| vector.as_ptr().addr() % PAGE).collect();
    report.saw(format_args!("vectors of {MAPPED} bytes begin {behind:?} behind a page"));
    Ok(report.finish())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
