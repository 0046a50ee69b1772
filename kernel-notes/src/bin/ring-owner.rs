//! Which thread may use a SINGLE_ISSUER | DEFER_TASKRUN ring, and when its completions become visible.
//! It promises to name every call that another thread is refused. It measures no speed.

use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;

use kernel_notes::{LONG, Lab, Outcome, Report, build, enter, failed_with, full_flags, register, shown};

const GETEVENTS: u32 = 1;
const REGISTER_PROBE: u32 = 8;
const ENABLE_RINGS: u32 = 12;

fn probe(fd: i32) -> io::Result<u32> {
    let mut room = [0u64; 2 + 256];
    // SAFETY: the room of `io_uring_probe` with 256 entries, zeroed as asked; no pointer to it is kept.
    unsafe { register(fd, REGISTER_PROBE, room.as_mut_ptr(), 256) }
}

fn other_threads(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    let fd = lab.as_raw_fd();
    lab.nop(1)?;
    let calls = move || [enter(&fd, 1, 0, 0), enter(&fd, 0, 1, GETEVENTS), probe(fd), enter(&fd, 0, 0, 0)];
    let foreign = thread::spawn(calls).join().expect("the thread only makes calls");
    let names = ["submit", "wait for events", "register", "an enter that asks for nothing"];
    for (name, result) in names.iter().zip(&foreign) {
        report.saw(format_args!("another thread, {name}: {}", shown(result)));
    }
    let refused = foreign[..3].iter().all(|result| failed_with(result, libc::EEXIST));
    report.holds("another thread may not submit, wait or register: EEXIST", refused);
    let res = lab.next(LONG)?.res;
    report.holds("what it failed to submit is still there for the owner", res == 0);
    Ok(())
}

/// A ring made on one thread and enabled on another belongs to the second.
fn disabled_then_enabled(report: &mut Report) -> io::Result<()> {
    let ring = build(full_flags(64).setup_r_disabled(), 8)?;
    let fd = ring.as_raw_fd();
    let early = enter(&fd, 0, 0, GETEVENTS);
    report.holds("R_DISABLED: enter is EBADFD", failed_with(&early, libc::EBADFD));
    report.holds("R_DISABLED: its maker may register", probe(fd).is_ok());
    let owner = thread::spawn(move || -> io::Result<(i32, bool, Lab)> {
        let mut lab = Lab::over(ring);
        let registered = probe(fd).is_ok();
        // SAFETY: the opcode takes no argument.
        unsafe { register::<u8>(fd, ENABLE_RINGS, std::ptr::null_mut(), 0)? };
        lab.nop(1)?;
        Ok((lab.next(LONG)?.res, registered, lab))
    });
    let (res, registered, lab) = owner.join().expect("the owner returns errors")?;
    report.holds("R_DISABLED: so may any other thread", registered);
    report.holds("the thread that enabled it submits and waits", res == 0);
    let maker = enter(&fd, 0, 1, GETEVENTS);
    report.holds("the thread that made it is a stranger: EEXIST", failed_with(&maker, libc::EEXIST));
    drop(lab);
    Ok(())
}

/// Deferred completions: nothing appears until an enter asks for events.
fn deferred(report: &mut Report) -> io::Result<()> {
    let mut lab = Lab::new(8, 64)?;
    let (near, mut far) = UnixStream::pair()?;
    lab.recv(&near, 64, (0, 0), 1)?;
    lab.submit()?;
    report.holds("TASKRUN is clear while nothing happened", !lab.taskrun());
    far.write_all(b"hello")?;
    let announced = lab.taskrun() && lab.ready() == 0;
    report.holds("data came: TASKRUN is set, the CQ is empty", announced);
    enter(&lab, 0, 0, 0)?;
    let untouched = lab.taskrun() && lab.ready() == 0;
    report.holds("an enter without GETEVENTS changes nothing", untouched);
    enter(&lab, 0, 0, GETEVENTS)?;
    report.holds("an enter with GETEVENTS fills the CQ", !lab.taskrun() && lab.ready() == 1);
    lab.wait(1, LONG)?;
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    other_threads(&mut report)?;
    disabled_then_enabled(&mut report)?;
    deferred(&mut report)?;
    Ok(report.finish())
}
