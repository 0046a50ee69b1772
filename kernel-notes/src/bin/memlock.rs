//! How many bytes of RLIMIT_MEMLOCK a ring and a ring of provided buffers cost a user who is not root.
//! It promises to find the smallest limit each fits in, by trying, in children of their own; where it may,
//! each child runs as a user that nobody else is, because the charge is kept per user. Registered buffers are
//! not its subject.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use io_uring::IoUring;
use kernel_notes::{Lab, Outcome, Report, code, fork_run, full_flags};

const PAGE: u64 = 4096;
/// As many pages as a search tries at most.
const PAGES_MAX: u64 = 256;
/// The limit that many systems without systemd give to every user.
const SMALL_LIMIT: u64 = 64 << 10;

fn is_root() -> bool {
    // SAFETY: asks for a number, no arguments.
    unsafe { libc::geteuid() == 0 }
}

/// The most that this process may set its limit to; root may set any.
fn hard_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is live; the call fills it.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    if is_root() { u64::MAX } else { limit.rlim_max }
}

/// In a child: sets the limit, and becomes a user that nobody else is.
fn become_limited(bytes: u64, number: u32) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    let uid = 2_000_000_000 + (std::process::id() % 1_000_000) * 1_000 + number;
    // SAFETY: the limit is a live structure; the other calls take numbers.
    let done = unsafe {
        libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) == 0
            && (!is_root() || (libc::setgid(uid) == 0 && libc::setuid(uid) == 0))
    };
    assert!(done, "limit and user are set");
}

/// Runs `work` in a limited child and returns its exit code.
fn limited(bytes: u64, number: &mut u32, work: &dyn Fn() -> i32) -> io::Result<i32> {
    *number += 1;
    let own = *number;
    let result = fork_run(|| {
        become_limited(bytes, own);
        work()
    });
    if !is_root() {
        // The same user every time: the charge of the attempt before comes back late.
        thread::sleep(Duration::from_millis(150));
    }
    result
}

/// Whether `work` succeeds in this many pages, or hits ENOMEM.
fn fits(pages: u64, number: &mut u32, work: &dyn Fn() -> io::Result<()>) -> io::Result<bool> {
    let attempt = || match work() {
        Ok(()) => 0,
        Err(error) if code(&error) == libc::ENOMEM => 1,
        Err(_) => 2,
    };
    match limited(pages * PAGE, number, &attempt)? {
        0 => Ok(true),
        1 => Ok(false),
        other => Err(io::Error::other(format!("the attempt ended with {other}"))),
    }
}

/// The smallest number of pages in which `work` succeeds.
fn smallest(number: &mut u32, work: &dyn Fn() -> io::Result<()>) -> io::Result<u64> {
    let (mut low, mut high) = (0, PAGES_MAX);
    while low < high {
        let middle = (low + high) / 2;
        if fits(middle, number, work)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

fn ring(sq: u32, cq: u32) -> io::Result<IoUring> {
    full_flags(cq).build(sq)
}

fn rings(report: &mut Report, number: &mut u32) -> io::Result<()> {
    for (sq, cq) in [(8, 16), (32, 256), (64, 512), (128, 1024), (256, 2048), (1024, 4096)] {
        let pages = smallest(number, &|| ring(sq, cq).map(drop))?;
        let memory = (sq * 64).div_ceil(4096) + (64 + cq * 16).div_ceil(4096);
        report.saw(format_args!("ring SQ {sq} CQ {cq}: {} KiB", pages * 4));
        report.holds("no less than its own queues", pages >= u64::from(memory));
    }
    Ok(())
}

fn pools(report: &mut Report, number: &mut u32) -> io::Result<()> {
    let base = smallest(number, &|| Lab::new(8, 16).map(drop))?;
    for count in [64, 256, 1024, 4096] {
        let with_pool = || {
            let mut lab = Lab::new(8, 16)?;
            lab.add_pool(0, count, 64)
        };
        let pages = smallest(number, &with_pool)? - base;
        report.saw(format_args!("ring of {count} provided buffers: {} KiB", pages * 4));
        let entries = (u64::from(count) * 16).div_ceil(PAGE);
        report.holds("its entries are charged, the buffers are not", pages == entries);
    }
    Ok(())
}

/// How many rings of one shape a user has at once within the small limit.
fn how_many(report: &Report, number: &mut u32) -> io::Result<()> {
    for (sq, cq) in [(32, 256), (64, 512), (128, 1024)] {
        let pile = || {
            let mut kept = Vec::new();
            while let Ok(one) = ring(sq, cq) {
                kept.push(one);
            }
            kept.len() as i32
        };
        let count = limited(SMALL_LIMIT, number, &pile)?;
        report.saw(format_args!("64 KiB hold {count} ring(s) of SQ {sq} CQ {cq} at once"));
    }
    Ok(())
}

/// The second ring right after the first was closed: the charge comes back late.
fn late_return(report: &mut Report, number: &mut u32) -> io::Result<()> {
    let pages = smallest(number, &|| ring(64, 512).map(drop))?;
    let one_by_one = || {
        let (mut refused, mut longest) = (0, Duration::ZERO);
        for _ in 0..20 {
            let start = Instant::now();
            while ring(64, 512).is_err() {
                refused += 1;
                if start.elapsed() > Duration::from_secs(2) {
                    return 1;
                }
                thread::sleep(Duration::from_millis(1));
            }
            longest = longest.max(start.elapsed());
        }
        let ms = longest.as_millis();
        println!("saw    20 rings one after the other in room for one: ENOMEM {refused} times");
        println!("saw    the longest wait for the room: {ms} ms");
        0
    };
    let result = limited(pages * PAGE, number, &one_by_one)?;
    report.holds("the room comes back within 2 s", result == 0);
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    let mut number = 0;
    if hard_limit() < PAGES_MAX * PAGE {
        return Ok(report.skip("needs a hard limit of locked memory of 1 MiB to search below"));
    }
    if limited(0, &mut number, &|| i32::from(ring(8, 16).is_err()))? == 0 {
        return Ok(report.skip("a ring costs nothing here: CAP_IPC_LOCK, or this kernel charges none"));
    }
    rings(&mut report, &mut number)?;
    pools(&mut report, &mut number)?;
    how_many(&report, &mut number)?;
    late_return(&mut report, &mut number)?;
    Ok(report.finish())
}
