//! A file into a socket.
//!
//! Owns the choice between two ways, piece by piece: `sendfile(2)` on the spot when the page cache holds
//! the piece and the ring (read, then send) otherwise, so that a core does not wait for a disk, as far as
//! that can be told beforehand (sys/page_cache.rs). `sendfile` has no flag that keeps it from waiting for
//! the peer, so the socket is made non-blocking before it and stays so until somebody else gets it
//! (shared.rs, *The mode*); ops of the ring wait all the same (kernel-notes/nonblocking-socket.md).
//! Splice is not used: its op always runs on a kernel helper thread (kernel-notes/io-wq-punts.md).
//!
//! A head that is sent with the file goes the same way: if the first piece is cached it is sent on the spot
//! with `MSG_MORE`, so that the kernel puts both into the same packets. Should the file turn out to end
//! there, the head leaves with the next send or a fifth of a second later (`tcp(7)`).
#![forbid(unsafe_code)]

use super::ops::SendPiece;
use super::ready::Ready;
use super::shared::Shared;
use super::turn::SendTurn;
use crate::base::coop;
use crate::buf::{IoBuf, IoBufMut, Slice, SpareBuf};
use crate::io::{FileSource, Read};
use crate::ring::lease::Use;
use crate::ring::op::Op;
use crate::ring::transfer::{Inward, Outward, is_of_the_moment};
use crate::sys::{self, fork};
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Bytes per `sendfile` call: some tens of microseconds on the core.
const INLINE_PIECE: u64 = 256 * 1024;
/// Bytes per check of the page cache, which counts that much in a few microseconds.
const CHECKED: u64 = 4 * INLINE_PIECE;
/// Bytes per read when the page cache does not hold the piece: bounds the memory of a connection.
const RING_PIECE: usize = 128 * 1024;
/// Bytes land as far behind a multiple of it as they come from. On some CPUs a copy that lands a few bytes
/// further into its page takes ten times as long (kernel-notes/copy-offset.md), and a vector of that size
/// from glibc is 16 bytes further. Reads past the page cache begin and end with one (`open(2)`, *O_DIRECT*;
/// no device is known that asks for more).
const PAGE: usize = 4096;

/// The turn of who may send.
async fn take_turn(shared: &Arc<Shared>) -> io::Result<SendTurn<'_>> {
    let turn = SendTurn::take(shared).await?;
    // System calls on the spot need no ring to do what is for the parent to do.
    fork::check()?;
    shared.check_whole()?;
    Ok(turn)
}

/// Sends `len` bytes of `file` from `offset`; fewer if the file ends before.
pub(super) async fn send_file(
    shared: &Arc<Shared>,
    file: &impl FileSource,
    offset: u64,
    len: u64,
) -> io::Result<u64> {
    let mut turn = take_turn(shared).await?;
    pieces(&mut turn, file, (offset, len), false, Known::default()).await
}

/// The same behind `head`, which comes back.
pub(super) async fn send_file_with_head<B: IoBuf>(
    shared: &Arc<Shared>,
    head: B,
    file: &impl FileSource,
    offset: u64,
    len: u64,
) -> (io::Result<u64>, B) {
    let mut turn = match take_turn(shared).await {
        Ok(turn) => turn,
        Err(error) => return (Err(error), head),
    };
    // Asked once: of a buffer of the user's, whose answers may differ, and which may panic.
    let length = head.len();
    let first = len.min(INLINE_PIECE);
    // Then the first piece follows in this very poll, and both leave together. Where the disk is asked
    // first, the peer has the head meanwhile.
    let follows = first > 0 && file.page_cache().holds(file.descriptor().as_raw_fd(), offset, first);
    let gone = match follows.then(|| sys::io::send_head_now(shared.fd(), head.as_slice())) {
        Some(Ok(gone)) => gone,
        Some(Err(error)) if !is_of_the_moment(&error) => return (Err(error), head),
        _ => 0,
    };
    let is_gone = gone >= length;
    let head = if is_gone {
        head
    } else {
        let all = length - gone;
        let cut = (gone > 0).then(|| Cut(shared));
        let piece = Piece::new(&mut turn, head.slice(gone..), gone > 0);
        std::mem::forget(cut);
        let (sent, rest) = piece.await;
        let head = rest.into_inner();
        match sent {
            Ok(n) if n == all => head,
            Ok(_) => return (Err(io::ErrorKind::WriteZero.into()), head),
            Err(error) => return (Err(error), head),
        }
    };
    let has_head = length > 0;
    let cached_to = if follows && is_gone { offset + first } else { 0 };
    let known = Known { cached_to, ..Known::default() };
    (pieces(&mut turn, file, (offset, len), has_head, known).await, head)
}

/// A head of which a part has left, and whose rest nobody sends yet. Forgotten once somebody does.
struct Cut<'a>(&'a Shared);

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        self.0.note_cut();
    }
}

/// What was found out a moment ago, and is taken to be so still: for one poll, and for [`CHECKED`] bytes.
/// The kernel and who has the file may change it in the meantime, as they may between two system calls.
#[derive(Default)]
struct Known {
    /// The page cache was seen to hold the file from where it is read up to here.
    cached_to: u64,
    /// Up to here it is no use to ask for more than a piece. Not forgotten: it is only about what is cheaper.
    narrow_to: u64,
}

impl Known {
    /// Whether the page cache holds the next `piece` of the `left` that are to be sent.
    fn holds(&mut self, file: &impl FileSource, at: u64, piece: u64, left: u64) -> bool {
        let Some(end) = at.checked_add(piece) else { return false };
        if end <= self.cached_to {
            return true;
        }
        self.forget();
        let (page_cache, fd) = (file.page_cache(), file.descriptor().as_raw_fd());
        let wide = left.min(CHECKED);
        if wide > piece && at >= self.narrow_to && page_cache.counts() {
            if page_cache.holds(fd, at, wide) {
                self.cached_to = at.saturating_add(wide);
                return true;
            }
            self.narrow_to = at.saturating_add(wide);
        }
        page_cache.holds(fd, at, piece)
    }

    /// Others have run, or may have.
    fn forget(&mut self) {
        self.cached_to = 0;
    }
}

/// Sends piece by piece, behind a head or not; `known` is what the caller has found out just now.
async fn pieces(
    turn: &mut SendTurn<'_>,
    file: &impl FileSource,
    (offset, len): (u64, u64),
    has_head: bool,
    mut known: Known,
) -> io::Result<u64> {
    let mut sent = 0;
    while sent < len {
        let at = offset.saturating_add(sent);
        let piece = (len - sent).min(INLINE_PIECE);
        let n = if known.holds(file, at, piece, len - sent) {
            let Some(n) = inline(turn, file.descriptor(), at, piece, &mut known).await? else { continue };
            n
        } else {
            // What was known has been forgotten: it was not enough.
            through_the_ring(turn, file, at, piece as usize, has_head || sent > 0).await?
        };
        if n == 0 {
            break;
        }
        sent += n;
        if coop::consume_for(n).await {
            known.forget();
        }
    }
    Ok(sent)
}

/// Sends a cached piece, or as much of it as the socket takes. `None`: it took nothing, and now it will; what
/// the page cache holds may be something else by then.
async fn inline(
    turn: &SendTurn<'_>,
    file: &OwnedFd,
    at: u64,
    piece: u64,
    known: &mut Known,
) -> io::Result<Option<u64>> {
    loop {
        fork::check()?;
        turn.shared().set_nonblocking()?;
        match sys::io::send_file_now(turn.shared().fd(), file.as_raw_fd(), at, piece as usize) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                known.forget();
                Op::new(Ready::to_send(turn.shared())).await?;
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done.map(|n| Some(n as u64)),
        }
    }
}

async fn through_the_ring(
    turn: &mut SendTurn<'_>,
    file: &impl FileSource,
    at: u64,
    piece: usize,
    begun: bool,
) -> io::Result<u64> {
    // What is in front of the piece in its page has to be read with it, if it must be a whole page.
    let (ahead, len) = if file.page_cache().wants_whole_pages(file.descriptor().as_raw_fd()) {
        let ahead = at as usize % PAGE;
        (ahead, (ahead + piece).next_multiple_of(PAGE))
    } else {
        (0, piece)
    };
    let offset = at - ahead as u64;
    let into = Inward::new(room_for(offset, len.min(RING_PIECE)));
    let (fd, flags) = (Use::counted(file.descriptor()), file.op_flags());
    let (read, bytes) = Op::new(Read { fd, into, offset, flags }).await;
    let all = read?.saturating_sub(ahead).min(piece);
    if all == 0 {
        return Ok(0);
    }
    let (sent, _) = Piece::new(turn, bytes.slice(ahead..ahead + all), begun).await;
    match sent? {
        n if n == all => Ok(n as u64),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Memory for `len` bytes of a file, as far behind the beginning of a page as `offset` is.
fn room_for(offset: u64, len: usize) -> Slice<SpareBuf> {
    let mut bytes = SpareBuf::new();
    bytes.reserve_exact(len + PAGE);
    let begin = (offset as usize).wrapping_sub(bytes.as_ptr().addr()) % PAGE;
    bytes.resize(begin, 0);
    bytes.slice_mut(begin..begin + len)
}

/// Sends one piece; dropped in flight, it leaves the turn to the op.
struct Piece<'a, 't, B: IoBuf> {
    turn: &'a mut SendTurn<'t>,
    op: Op<SendPiece<B>>,
    /// Something of the whole has left, or is about to, and this is not over.
    begun: bool,
}

impl<'a, 't, B: IoBuf> Piece<'a, 't, B> {
    /// `begun` says that a part of the whole has left.
    fn new(turn: &'a mut SendTurn<'t>, buf: B, begun: bool) -> Self {
        let op = Op::new(SendPiece { shared: Arc::clone(turn.shared()), from: Outward::new(buf), begun });
        Self { turn, op, begun }
    }
}

impl<B: IoBuf> Future for Piece<'_, '_, B> {
    type Output = (io::Result<usize>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // If it panics with its cell gone, in a foreign buffer, the op is over.
        self.begun |= self.op.cell().is_some();
        let result = ready!(Pin::new(&mut self.op).poll(cx));
        self.begun = false;
        Poll::Ready(result)
    }
}

impl<B: IoBuf> Drop for Piece<'_, '_, B> {
    fn drop(&mut self) {
        // The op is dropped after this and cancels itself; its final completion passes the turn.
        if self.op.cell().is_some() {
            self.turn.leave_to_op();
        } else if self.begun {
            // It panicked before it had a cell, in a foreign waker, or when it had none any more.
            self.turn.shared().note_cut();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_lands_as_far_into_a_page_as_it_comes_from_and_its_memory_is_used_again() {
        let place = |offset: u64, len: usize| {
            let room = room_for(offset, len);
            assert_eq!(room.capacity(), len);
            let place = IoBuf::as_ptr(&room).addr();
            assert_eq!(place % PAGE, offset as usize % PAGE);
            place - room.begin()
        };
        let first = place(0, RING_PIECE);
        for (offset, len) in [(1, 1), (40, 1000), (4095, RING_PIECE), (1 << 40, RING_PIECE)] {
            assert_eq!(place(offset, len), first, "{len} bytes at {offset}");
        }
    }
}
