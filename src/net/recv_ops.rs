//! The ops by which a stream receives, as the ring sees them.
//!
//! Owns what each puts into its SQE and what becomes of its result with and without a future. When which of
//! them may be in flight is the table in recv.rs.
#![forbid(unsafe_code)]

use super::flow::{Picked, Start};
use super::relay::Completed;
use super::shared::Shared;
use crate::base::guard::contained;
use crate::buf::{IoBuf, IoBufMut, PooledBuf};
use crate::ring::Ring;
use crate::ring::ends::tells_ends;
use crate::ring::multi::Handler;
use crate::ring::op::Operation;
use crate::ring::transfer::{Inward, was_interrupted};
use crate::sys;
use crate::sys::sqe::{self, Cqe, Sqe, opcode};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

/// A one-shot receive into a buffer.
pub(crate) struct RecvOne<B> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) into: Inward<B>,
    pub(crate) start: Start,
}

impl<B: IoBufMut> Operation for RecvOne<B> {
    const OPCODE: u8 = opcode::RECV;
    type Output = (io::Result<usize>, B);

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        self.start.put_into(self.into.describe(Sqe::new(Self::OPCODE, self.shared.fd())))
    }

    fn goes_on(&mut self, cqe: Cqe) -> bool {
        was_interrupted(cqe)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        let Self { shared, into, .. } = self;
        // The buffer first: if it panics, the receive is over by the drop of its future.
        let taken = Taken { shared: &shared, cqe };
        let output = into.finish(cqe);
        std::mem::forget(taken);
        shared.change_recv(|side| side.single_done(cqe));
        output
    }

    fn orphaned(self, cqe: Cqe) {
        let Self { shared, into, .. } = self;
        let mut kept = None;
        // The buffer may be foreign code, and nobody but this says that the receive is over.
        contained(|| {
            let (asked, start) = (into.room(), into.lands_at());
            let (result, buf) = into.finish(cqe);
            let read = result.ok().filter(|n| *n > 0);
            kept = Some((read.map(|n| PooledBuf::copied(&buf.as_slice()[start..start + n])), asked));
        });
        shared.change_recv(|side| {
            match kept {
                Some((bytes, asked)) => {
                    bytes.into_iter().for_each(|bytes| side.keep(bytes));
                    side.keep_end(cqe, asked);
                }
                // Its bytes are lost.
                None if cqe.res > 0 => side.keep_end(Cqe::made_up(-libc::EFAULT), 0),
                None => side.keep_end(cqe, 0),
            }
            side.single_done(cqe)
        });
    }
}

/// Bytes that have come into a buffer which may panic: forgotten once it has not.
struct Taken<'a> {
    shared: &'a Shared,
    cqe: Cqe,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        // Its bytes are lost, and whoever receives next must not take what follows for what is next.
        if self.cqe.res > 0 {
            self.shared.recv().keep_end(Cqe::made_up(-libc::EFAULT), 0);
        }
    }
}

/// A one-shot receive that belongs to the stream and to no future: its bytes go to the queue.
pub(super) struct RecvAhead {
    pub(super) shared: Arc<Shared>,
    pub(super) into: Inward<PooledBuf>,
    pub(super) start: Start,
}

impl Operation for RecvAhead {
    const OPCODE: u8 = opcode::RECV;
    type Output = ();

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        self.start.put_into(self.into.describe(Sqe::new(Self::OPCODE, self.shared.fd())))
    }

    fn finish(self, cqe: Cqe) {
        self.orphaned(cqe);
    }

    fn orphaned(self, cqe: Cqe) {
        let asked = self.into.room();
        let (_, bytes) = self.into.finish(cqe);
        self.shared.change_recv(|side| side.ahead_done(cqe, asked, bytes));
    }
}

/// A receive of the stream's own into buffers that the kernel picks.
pub(crate) struct RecvPicked {
    shared: Arc<Shared>,
    how: Picked,
    /// Once it has emptied the socket the stream's end is looked for. The home core's alone.
    looks: AtomicBool,
}

impl RecvPicked {
    pub(super) fn new(shared: &Arc<Shared>, how: Picked) -> Self {
        Self { shared: Arc::clone(shared), how, looks: AtomicBool::new(true) }
    }

    /// Looks whether the stream has ended behind the bytes that emptied the socket, and if it has, ends the
    /// receive, which might never tell (kernel-notes/multishot-end.md); the next one begins with the end.
    ///
    /// Once for each receive, for what had come by the time it was armed. What comes while it waits it
    /// tells, on a kernel that tells ends.
    #[cold]
    fn look_for_end(&self) {
        self.looks.store(!tells_ends(), Ordering::Relaxed);
        if sys::io::has_hung_up(self.shared.fd(), 0) {
            self.shared.recv().disarm();
        }
    }
}

impl Handler for RecvPicked {
    const OPCODE: u8 = opcode::RECV;

    fn describe(&self, _ring: &Ring) -> Sqe {
        let mut sqe = Sqe::new(Self::OPCODE, self.shared.fd());
        sqe.flags = sqe::SQE_BUFFER_SELECT;
        sqe.buf_index = self.how.group as u16;
        sqe.ioprio = if self.how.once { 0 } else { sqe::RECV_MULTISHOT };
        if self.how.poll_first {
            sqe.ioprio |= sqe::RECV_POLL_FIRST;
        }
        sqe
    }

    fn complete(&self, cqe: Cqe, ring: &Ring, wakers: &mut Vec<Waker>) {
        if cqe.res == -libc::ENOBUFS {
            ring.note_starved(self.how.group);
        }
        let chunk = cqe.buffer().map(|id| ring.picked(self.how.group, id, cqe.res.max(0) as u32));
        let chunk = chunk.filter(|chunk| !chunk.is_empty());
        let may_pass = || ring.refusal().is_none() && !self.shared.recv_turn().is_wanted();
        let completed = self.shared.recv().completed(cqe, chunk, self.how.group, may_pass);
        match completed {
            Completed::Concerns(concerned) => concerned.each(|waker| wakers.push(waker)),
            Completed::Onward(onward) => onward.go(&self.shared, wakers),
        }
        if self.looks.load(Ordering::Relaxed) && cqe.more() && !cqe.sock_nonempty() {
            self.look_for_end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{cell, multi};

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_cell_of_a_receive_that_the_stream_makes_is_one_cache_line() {
        assert!(multi::memory_of::<RecvPicked>() <= cell::ALIGN);
    }
}
