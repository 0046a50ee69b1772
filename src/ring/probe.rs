//! What this kernel and what stands between us and it (seccomp, limits) really do, asked by trying.
//!
//! Owns the checks that a ring must pass before a core runs on it ([`check`]), and the trial of each feature that the
//! kernel may lack ([`features`]), for reports. Nothing here looks at a version number. It does not turn an answer
//! into advice: that is `runtime::error`'s.

use super::backend::{Backend, Wait};
use super::pool::GROUP;
use super::uring::Uring;
use crate::sys::io::adopt;
use crate::sys::map::Map;
use crate::sys::sqe::{ACCEPT_MULTISHOT, Cqe, RECV_MULTISHOT, SQE_BUFFER_SELECT, Sqe, opcode};
use io_uring::types::BufRingEntry;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a trial waits for its completion. It is there at once, or it never comes.
const PATIENCE: Duration = Duration::from_secs(2);
/// Marks the completions of trials.
const TAG: u64 = 0x7269;
/// The one buffer that a trial provides.
const BUFFER: u32 = 64;

/// Why a ring that could be set up is no good.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// The kernel lacks these of the ops we use.
    Ops(&'static [&'static str]),
    /// Entering the ring is refused, or brings nothing.
    Enter(io::Error),
}

/// Checks that the kernel has all our ops (asked once per process), and that a fresh ring takes an op and completes it.
pub(crate) fn check(ring: &mut Uring) -> Result<(), Unfit> {
    static MISSING: OnceLock<Vec<&'static str>> = OnceLock::new();
    if MISSING.get().is_none() {
        let probe = ring.ask_ops().map_err(Unfit::Enter)?;
        let _ = MISSING.set(missing(|op| probe.is_supported(op)));
    }
    match MISSING.get() {
        Some(missing) if !missing.is_empty() => Err(Unfit::Ops(missing)),
        _ => completes(ring).map_err(Unfit::Enter),
    }
}

/// The names of the ops that we use and the kernel lacks.
fn missing(is_supported: impl Fn(u8) -> bool) -> Vec<&'static str> {
    opcode::USED.iter().filter(|(op, _)| !is_supported(*op)).map(|(_, name)| *name).collect()
}

/// Sends a NOP through: a filter that lets rings be made and not be used shows here.
fn completes(ring: &mut Uring) -> io::Result<()> {
    first_completion(ring, Sqe::new(opcode::NOP, -1)).map(drop)
}

/// What a kernel may lack without being useless.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    /// Rings of provided buffers (5.19).
    pub(crate) provided_buffers: bool,
    /// A receive that stays armed and picks its buffers (6.0).
    pub(crate) multishot_recv: bool,
    /// An accept that stays armed (5.19).
    pub(crate) multishot_accept: bool,
}

/// Tries the features on a ring of the calling thread on which nothing else is in flight.
pub(crate) fn features(ring: &mut Uring) -> Features {
    let provided = provide_one(ring).ok();
    let multishot_recv = provided.is_some() && try_recv(ring).is_ok_and(Cqe::more);
    let multishot_accept = try_accept(ring).is_ok_and(Cqe::more);
    let features = Features { provided_buffers: provided.is_some(), multishot_recv, multishot_accept };
    if !settle(ring) {
        // The kernel may still write into it: it is never unmapped.
        provided.into_iter().for_each(std::mem::forget);
    }
    features
}

/// Registers a ring of one provided buffer. The buffer lies behind its entry in the same map.
fn provide_one(ring: &mut Uring) -> io::Result<Map> {
    let entry_size = size_of::<BufRingEntry>();
    let map = Map::new(entry_size + BUFFER as usize)?;
    ring.register_buffers(map.start(), 1, GROUP)?;
    let first = map.start().cast::<BufRingEntry>();
    // SAFETY: the map is ours, aligned to a page and larger than the entry; the kernel reads it once the tail says so.
    let entry = unsafe { &mut *first.as_ptr() };
    entry.set_addr(first.as_ptr().expose_provenance() as u64 + entry_size as u64);
    entry.set_len(BUFFER);
    entry.set_bid(0);
    // SAFETY: the tail lies in the first entry, aligned to two bytes; the kernel reads it atomically.
    let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(first.as_ptr()).cast_mut()) };
    tail.store(1, Ordering::Release);
    Ok(map)
}

/// A multishot receive of one byte. The sender closes, so the receive ends.
fn try_recv(ring: &mut Uring) -> io::Result<Cqe> {
    let (receiver, mut sender) = UnixStream::pair()?;
    sender.write_all(b"!")?;
    let mut sqe = Sqe::new(opcode::RECV, receiver.as_raw_fd());
    sqe.ioprio = RECV_MULTISHOT;
    sqe.flags = SQE_BUFFER_SELECT;
    sqe.buf_index = GROUP;
    first_completion(ring, sqe)
}

/// A multishot accept of one connection, on a socket that no file system and no network sees.
fn try_accept(ring: &mut Uring) -> io::Result<Cqe> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("ringwork-probe-{}-{count}", std::process::id());
    let address = SocketAddr::from_abstract_name(name)?;
    let listener = UnixListener::bind_addr(&address)?;
    let _client = UnixStream::connect_addr(&address)?;
    let mut sqe = Sqe::new(opcode::ACCEPT, listener.as_raw_fd());
    sqe.ioprio = ACCEPT_MULTISHOT;
    let cqe = first_completion(ring, sqe.op_flags(libc::SOCK_CLOEXEC as u32))?;
    // SAFETY: the kernel made this descriptor for this one connection; no other completion brings it.
    drop(unsafe { adopt(cqe.res) });
    Ok(cqe)
}

/// Submits an op and waits for its first completion, which must be a success.
fn first_completion(ring: &mut Uring, mut sqe: Sqe) -> io::Result<Cqe> {
    sqe.user_data = TAG;
    if !ring.push(&sqe) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let until = Instant::now() + PATIENCE;
    let mut cqes = Vec::new();
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        match ring.enter(Wait::Until(Some(left))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => ring.reap(&mut cqes),
        }
        // What an earlier trial left behind may come first: it is final, ours is not or is the only one.
        if let Some(cqe) = cqes.iter().find(|cqe| cqe.user_data == TAG) {
            return cqe.result().map(|_| *cqe);
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Ends what the trials have left in flight. False if the kernel has not confirmed it in time.
fn settle(ring: &mut Uring) -> bool {
    // Completions come in order: those of the trials lie before that of a NOP once all has been cancelled.
    ring.cancel_all().is_ok() && completes(ring).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::setup::Sizes;

    #[test]
    fn a_missing_op_is_named() {
        assert_eq!(missing(|op| op != opcode::OPENAT2 && op != opcode::SEND), ["SEND", "OPENAT2"]);
        assert!(missing(|_| true).is_empty());
    }

    #[test]
    fn a_fresh_ring_passes_and_is_left_as_it_was() {
        let mut ring = Uring::new(Sizes::MIN).unwrap();
        check(&mut ring).unwrap();
        let features = features(&mut ring);
        // All of them are older than the oldest kernel that gives us a ring.
        assert!(features.provided_buffers && features.multishot_recv && features.multishot_accept);
        check(&mut ring).unwrap();
        assert_eq!(ring.queued(), 0);
    }
}
