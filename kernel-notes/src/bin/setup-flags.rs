//! Which set-up flags hang together, how a ladder steps down, and what SUBMIT_ALL changes.
//! It promises to try each set, not to ask for a version. Who may use the ring is `ring-owner`'s.

use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Instant;

use io_uring::{IoUring, opcode, squeue};
use kernel_notes::{LONG, Lab, Outcome, Params, Report, build, code, errno_name, failed_with, setup};

const SQPOLL: u32 = 1 << 1;
const CQSIZE: u32 = 1 << 3;
const SUBMIT_ALL: u32 = 1 << 7;
const TASKRUN_FLAG: u32 = 1 << 9;
const SINGLE_ISSUER: u32 = 1 << 12;
const DEFER_TASKRUN: u32 = 1 << 13;
const NO_SQARRAY: u32 = 1 << 16;
/// A bit that no kernel has given a meaning yet: stands for a flag that is too new.
const FROM_THE_FUTURE: u32 = 1 << 31;

/// `setup`, again for a while where memory is short: earlier rings give theirs back late.
fn patient(entries: u32, params: &mut Params) -> io::Result<OwnedFd> {
    let start = Instant::now();
    loop {
        let made = setup(entries, params);
        if !failed_with(&made, libc::ENOMEM) || start.elapsed() > LONG {
            return made;
        }
        thread::yield_now();
    }
}

/// Steps down: what is left after each step is a set that an older kernel knows.
fn ladder(report: &mut Report) {
    let base = SINGLE_ISSUER | DEFER_TASKRUN | TASKRUN_FLAG | SUBMIT_ALL | CQSIZE;
    let future = base | NO_SQARRAY | FROM_THE_FUTURE;
    let mut chosen = false;
    for (name, flags) in [
        ("all, and one flag from the future", future),
        ("all", base | NO_SQARRAY),
        ("all but NO_SQARRAY", base),
    ] {
        let mut params = Params::new(flags, 64);
        let made = patient(8, &mut params);
        let size = (params.sq_entries, params.cq_entries);
        match &made {
            Ok(_) => report.saw(format_args!("{name}: SQ {} CQ {}", size.0, size.1)),
            Err(error) => report.saw(format_args!("{name}: {}", errno_name(code(error)))),
        }
        chosen |= made.is_ok();
        if flags == future {
            let refused = failed_with(&made, libc::EINVAL);
            report.holds("a flag the kernel does not know is EINVAL", refused);
        }
    }
    report.holds("a step that Linux 6.1 knows gives a ring", chosen);
}

fn refused_sets(report: &mut Report) {
    for (name, flags, entries, cq) in [
        ("DEFER_TASKRUN without SINGLE_ISSUER", DEFER_TASKRUN, 8, 0),
        ("TASKRUN_FLAG without DEFER or COOP", TASKRUN_FLAG, 8, 0),
        ("DEFER_TASKRUN with SQPOLL", DEFER_TASKRUN | SINGLE_ISSUER | SQPOLL, 8, 0),
        ("a CQ smaller than the SQ", CQSIZE, 64, 8),
        ("no entries", 0, 0, 0),
        ("32,769 entries without CLAMP", 0, 32_769, 0),
    ] {
        let made = setup(entries, &mut Params::new(flags, cq));
        report.holds(format_args!("EINVAL: {name}"), failed_with(&made, libc::EINVAL));
    }
}

/// SUBMIT_ALL: a bad entry in the middle does not stop the rest of the batch.
fn bad_entry(report: &mut Report, submit_all: bool) -> io::Result<()> {
    let mut builder = IoUring::builder();
    if submit_all {
        builder.setup_submit_all();
    }
    let mut lab = Lab::over(build(&builder, 8)?);
    let nop = opcode::Nop::new().build();
    let bad = nop.clone().flags(squeue::Flags::BUFFER_SELECT);
    for (tag, entry) in [(1, nop.clone()), (2, bad), (3, nop)] {
        // SAFETY: none of the three holds an address. The flag is an error on an op that takes no buffer.
        unsafe { lab.push(entry.user_data(tag))? };
    }
    let taken = lab.submit()?;
    let (name, expected) = if submit_all { ("with", 3) } else { ("without", 2) };
    report.holds(format_args!("{name} SUBMIT_ALL: {taken} of 3 entries taken"), taken == expected);
    let results = lab.wait(3, LONG)?;
    let named = results.iter().any(|cqe| cqe.tag == 2 && cqe.ended_with(libc::EOPNOTSUPP));
    report.holds("the bad entry has a completion of its own: EOPNOTSUPP", named);
    report.holds("the next enter takes what was left", results.len() == 3);
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    ladder(&mut report);
    refused_sets(&mut report);
    bad_entry(&mut report, true)?;
    bad_entry(&mut report, false)?;
    Ok(report.finish())
}
