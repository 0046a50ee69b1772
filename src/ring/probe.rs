//! What this kernel and what stands between us and it (seccomp, limits) really do, asked by trying.
//!
//! Owns the checks that a ring must pass before a core runs on it ([`check`]), and the trial of each feature
//! that the kernel may lack ([`features`]), for reports. Nothing here looks at a version number. It does not
//! turn an answer into advice: that is `runtime::error`'s.

use super::backend::{Backend, Wait};
use super::ends;
use super::opened::descriptor;
use super::uring::Uring;
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
/// How long a cancel is given before it is repeated.
const CANCEL_STEP: Duration = Duration::from_millis(10);
/// Bytes of the one buffer that a trial provides.
const BUFFER: u32 = 64;
/// How often it provides that: what it receives it does not read.
const PROVIDED: u16 = 4;
/// The group of that buffer. Not one of a core's (ring/group.rs), which may have its own on the same ring.
const GROUP: u16 = 2;

/// Why a ring that could be set up is no good.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// The kernel lacks these of the ops we use.
    Ops(&'static [&'static str]),
    /// Entering the ring is refused, or brings nothing.
    Enter(io::Error),
}

/// Checks that the kernel has all our ops (asked once per process), and that a fresh ring takes an op and
/// completes it. The first time in a process it tries how ends of streams are told, too (ring/ends.rs).
pub(crate) fn check(ring: &mut Uring) -> Result<(), Unfit> {
    static MISSING: OnceLock<Vec<&'static str>> = OnceLock::new();
    if MISSING.get().is_none() {
        let probe = ring.ask_ops().map_err(Unfit::Enter)?;
        let _ = MISSING.set(missing(|op| probe.is_supported(op)));
    }
    match MISSING.get() {
        Some(missing) if !missing.is_empty() => Err(Unfit::Ops(missing)),
        _ => completes(ring).and_then(|()| ends::find_out(ring)).map_err(Unfit::Enter),
    }
}

/// The names of the ops that we use and the kernel lacks.
fn missing(is_supported: impl Fn(u8) -> bool) -> Vec<&'static str> {
    opcode::USED.iter().filter(|(op, _)| !is_supported(*op)).map(|(_, name)| *name).collect()
}

/// Sends a NOP through: a filter that lets rings be made and not be used shows here.
fn completes(ring: &mut Uring) -> io::Result<()> {
    Trials::on(ring).first_completion(Sqe::new(opcode::NOP, -1)).map(drop)
}

/// What a kernel may lack although it gave us a ring. `None` could not be tried: no descriptors, no sockets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    /// Rings of provided buffers (5.19).
    pub(crate) provided_buffers: bool,
    /// A receive that stays armed and picks its buffers (6.0).
    pub(crate) multishot_recv: Option<bool>,
    /// An accept that stays armed (5.19).
    pub(crate) multishot_accept: Option<bool>,
    /// The end of a stream right behind its last bytes comes to a receive that stays armed (7.0).
    pub(crate) ends_told: Option<bool>,
}

/// Tries the features on a ring of the calling thread on which nothing else is in flight.
pub(crate) fn features(ring: &mut Uring) -> Features {
    let mut trials = Trials::on(ring);
    let provided_buffers = trials.provide().is_ok();
    let multishot_recv = if provided_buffers { trials.recv().ok() } else { None };
    let multishot_accept = trials.accept().ok();
    // The ring carries nothing that a straggler could be mistaken for.
    let _ = trials.end();
    Features { provided_buffers, multishot_recv, multishot_accept, ends_told: ends::known() }
}

/// Ops on a ring that carries nothing else.
pub(super) struct Trials<'a> {
    ring: &'a mut Uring,
    /// Names the ops in the order they were tried.
    last: u64,
    /// Those that have not had their final completion.
    in_flight: Vec<u64>,
    /// A ring of provided buffers, registered under [`GROUP`].
    provided: Option<Map>,
}

impl<'a> Trials<'a> {
    pub(super) fn on(ring: &'a mut Uring) -> Self {
        Self { ring, last: 0, in_flight: Vec::new(), provided: None }
    }

    /// Provides one buffer several times over. It lies behind the entries in the same map.
    pub(super) fn provide(&mut self) -> io::Result<()> {
        let entries_size = usize::from(PROVIDED) * size_of::<BufRingEntry>();
        let map = Map::new(entries_size + BUFFER as usize)?;
        self.ring.register_buffers(map.start(), PROVIDED, GROUP)?;
        let first = map.start().cast::<BufRingEntry>();
        for id in 0..PROVIDED {
            // SAFETY: the map is ours, aligned to a page and larger than all entries; the kernel reads them
            // once the tail says so.
            let entry = unsafe { first.add(id.into()).as_mut() };
            entry.set_addr(first.as_ptr().expose_provenance() as u64 + entries_size as u64);
            entry.set_len(BUFFER);
            entry.set_bid(id);
        }
        // SAFETY: the tail lies in the first entry, aligned to two bytes; the kernel reads it atomically.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(first.as_ptr()).cast_mut()) };
        tail.store(PROVIDED, Ordering::Release);
        self.provided = Some(map);
        Ok(())
    }

    /// A multishot receive of one byte; whether it works. An error if it could not be tried.
    fn recv(&mut self) -> io::Result<bool> {
        let (receiver, mut sender) = UnixStream::pair()?;
        sender.write_all(b"!")?;
        Ok(self.first_of_many(recv_multi(&receiver))?.is_some_and(Cqe::more))
    }

    /// A multishot accept of one connection, on a socket that no file system and no network sees; otherwise
    /// as [`recv`](Self::recv).
    fn accept(&mut self) -> io::Result<bool> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringwork-probe-{}-{count}", std::process::id());
        let address = SocketAddr::from_abstract_name(name)?;
        let listener = UnixListener::bind_addr(&address)?;
        let _client = UnixStream::connect_addr(&address)?;
        let mut sqe = Sqe::new(opcode::ACCEPT, listener.as_raw_fd());
        sqe.ioprio = ACCEPT_MULTISHOT;
        let accepted = self.first_of_many(sqe.op_flags(libc::SOCK_CLOEXEC as u32))?;
        drop(accepted.map(descriptor));
        Ok(accepted.is_some_and(Cqe::more))
    }

    /// The first completion of a multishot; `None` if the kernel does not know such a thing.
    fn first_of_many(&mut self, sqe: Sqe) -> io::Result<Option<Cqe>> {
        match self.first_completion(sqe) {
            Ok(cqe) => Ok(Some(cqe)),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn push(&mut self, mut sqe: Sqe) -> io::Result<()> {
        self.last += 1;
        sqe.user_data = self.last;
        if !self.ring.push(&sqe) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.in_flight.push(self.last);
        Ok(())
    }

    /// Submits an op and does `meanwhile`, and only then has the ring look: what has completed by then.
    pub(super) fn completions_after(
        &mut self,
        sqe: Sqe,
        meanwhile: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Vec<Cqe>> {
        self.push(sqe)?;
        self.ring.enter(Wait::SubmitOnly)?;
        meanwhile()?;
        self.wait(Duration::ZERO)
    }

    /// Submits an op and waits for its first completion, which must be a success.
    pub(super) fn first_completion(&mut self, sqe: Sqe) -> io::Result<Cqe> {
        self.push(sqe)?;
        let until = Instant::now() + PATIENCE;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let mine = self.wait(left)?.into_iter().find(|cqe| cqe.user_data == self.last);
            if let Some(cqe) = mine {
                return cqe.result().map(|_| cqe);
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    fn wait(&mut self, patience: Duration) -> io::Result<Vec<Cqe>> {
        match self.ring.enter(Wait::Until(Some(patience))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let mut cqes = Vec::new();
        self.ring.reap(&mut cqes);
        let is_final = |op: u64| cqes.iter().any(|cqe| cqe.user_data == op && !cqe.more());
        self.in_flight.retain(|&op| !is_final(op));
        Ok(cqes)
    }

    /// Ends what is still in flight, and takes the buffers back.
    ///
    /// # Errors
    /// If the kernel has not confirmed that in time: something may still complete on this ring.
    pub(super) fn end(mut self) -> io::Result<()> {
        let ended = self.ended();
        if let Some(provided) = self.provided.take() {
            let is_back = ended.is_ok() && self.ring.unregister_buffers(GROUP).is_ok();
            if !is_back {
                // The kernel may still write into it: it is never unmapped.
                std::mem::forget(provided);
            }
        }
        ended
    }

    fn ended(&mut self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        while !self.in_flight.is_empty() {
            if Instant::now() >= until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.ring.cancel_all()?;
            self.wait(CANCEL_STEP)?;
        }
        Ok(())
    }
}

/// A multishot receive into the buffer of a trial.
pub(super) fn recv_multi(receiver: &impl AsRawFd) -> Sqe {
    let mut sqe = Sqe::new(opcode::RECV, receiver.as_raw_fd());
    sqe.ioprio = RECV_MULTISHOT;
    sqe.flags = SQE_BUFFER_SELECT;
    sqe.buf_index = GROUP;
    sqe
}

/// A one-shot receive of one byte into that buffer.
pub(super) fn recv_byte(receiver: &impl AsRawFd) -> Sqe {
    let mut sqe = recv_multi(receiver);
    sqe.ioprio = 0;
    sqe.len = 1;
    sqe
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
        assert!(features.provided_buffers);
        assert_eq!((features.multishot_recv, features.multishot_accept), (Some(true), Some(true)));
        check(&mut ring).unwrap();
        assert_eq!(ring.queued(), 0);
    }
}
