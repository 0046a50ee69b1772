//! What a stream's handles, halves and cells share.
//!
//! Owns the descriptor, both lanes and the receive side. Cells in flight hold a reference, so the descriptor
//! closes when the last op is done and the last handle gone, and no SQE ever names a number that was reused.
//! Handles are counted apart from references: with the last *handle* whatever is still in flight is
//! cancelled, except bytes that a writer without a future was told are written (poll_write.rs).
//!
//! # The linger time
//! The close of a socket whose linger time is not zero waits up to that long for its peer, on whatever thread
//! the last reference goes, mostly a core; and that is all the time does (kernel-notes/linger-close.md). So
//! with the last handle it is taken back: the close does not wait, and what the socket has leaves behind it
//! as it would have. Known of are the times that were set through us, and the one that a socket had when it
//! was adopted. Who is given the stream's own descriptor (`into_std`, `release`) has the time with it, and
//! closing it is theirs; who has made another one (`as_fd`) finds the time gone when the stream is. Zero asks
//! for a reset and is left alone: it waits for nobody.
//!
//! # The mode
//! A system call that has no flag for it must not wait for the peer, so before it the socket is put into
//! non-blocking mode. The mode is the socket's and not this descriptor's: whoever has seen the descriptor, or
//! has another one, as a child of fork has, may change it at any time, and such a socket is put into it
//! before each call. One that nobody else has ever known stays as it was put.
#![forbid(unsafe_code)]

use super::in_vain::InVain;
use super::permit::Used;
use super::poll_write::{self, PollWrite};
use super::reader::Concerned;
use super::recv::RecvSide;
use super::turn::{Lists, Place, Receivers, Senders, Word};
use crate::base::guard;
use crate::base::rarely::Rarely;
use crate::ring::cell::CellRef;
use crate::sys;
use socket2::SockRef;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

/// Nothing is missing of what was taken to be sent.
const WHOLE: u8 = 0;
/// A message was lost of which nothing had left, and its failure is not told.
const LOST: u8 = 1;
/// A part of a message has left.
const CUT: u8 = 2;

/// The socket is in blocking mode, as far as we are concerned.
const BLOCKING: u8 = 0;
/// It is to be put back before somebody else gets it; a thread is about to put it into the other mode.
const CHANGING: u8 = 1;
/// It was put into non-blocking mode, and is to be put back.
const NONBLOCKING: u8 = 2;

/// The shared part of a stream.
///
/// In this order, so that what a message needs lies together: sent by an op with a future, or sent off, what
/// is before `lists`, within 40 bytes with the counts of the references, and received the turn and what is
/// behind `lists`. A write without a future takes the send side's lock as well. A server with a thousand
/// streams has none of them at hand when the next message comes.
#[repr(C)]
pub struct Shared {
    /// Closed before wakers that the turnstiles may hold are dropped.
    fd: OwnedFd,
    /// What a flush would have to wait for or to tell: written under the send side's lock, read without.
    pub(super) written: AtomicU8,
    /// A message that was sent off is in flight (send_off.rs).
    pub(super) off: AtomicBool,
    /// A send whose future was dropped, or one without a future, did not leave whole: nothing follows it. One
    /// of these: [`WHOLE`], [`LOST`], [`CUT`]. Written before the turn passes and read with the turn, so the
    /// turnstile orders it; back from `LOST` under the send side's lock.
    torn: AtomicU8,
    /// The send direction is to be closed once the send in flight is out.
    close_write: AtomicBool,
    /// What was done to the socket, so that it answers EAGAIN to system calls (file.rs, carry.rs): one of
    /// [`BLOCKING`], [`CHANGING`], [`NONBLOCKING`]. Changed with either turn, put back with the send turn or
    /// by who holds the only handle.
    mode: AtomicU8,
    /// Somebody else may know the socket. Never taken back.
    is_known: AtomicBool,
    /// The socket has a linger time, and not zero.
    lingers: AtomicBool,
    /// The order of senders.
    sending: Word,
    /// The order of receivers.
    receiving: Word,
    /// What [`sys::fork::count`] said when the socket came: children that came later know it.
    forks: u32,
    handles: AtomicU32,
    /// Of both orders.
    lists: Lists,
    /// Who polls for bytes and has nothing to do but wait.
    in_vain: InVain,
    recv: Mutex<RecvSide>,
    /// Made when something is first noted there: a stream that only sends messages never needs it.
    send: Rarely<Mutex<SendSide>>,
    /// Behind `fd`: given back when that is closed.
    _permit: Option<Used>,
}

/// The send side of one stream, under its lock.
#[derive(Default)]
pub(super) struct SendSide {
    /// A send whose future was dropped: it goes on unless the last handle goes.
    orphan: Option<CellRef>,
    /// What poll-shaped sending needs.
    pub(super) polled: PollWrite,
}

impl Shared {
    fn new(forks: u32, fd: OwnedFd, permit: Option<Used>) -> Self {
        Self {
            fd,
            written: AtomicU8::new(poll_write::SETTLED),
            off: AtomicBool::new(false),
            torn: AtomicU8::new(WHOLE),
            close_write: AtomicBool::new(false),
            mode: AtomicU8::new(BLOCKING),
            is_known: AtomicBool::new(false),
            forks,
            lingers: AtomicBool::new(false),
            sending: Word::default(),
            receiving: Word::default(),
            handles: AtomicU32::new(1),
            lists: Lists::default(),
            in_vain: InVain::default(),
            recv: Mutex::default(),
            send: Rarely::default(),
            _permit: permit,
        }
    }

    /// The socket's number, for an SQE or a system call made while `self` is held.
    pub(crate) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// The order of senders.
    #[inline]
    pub(crate) fn send_turn(&self) -> Senders<'_> {
        self.lists.of_senders(&self.sending)
    }

    /// The order of receivers.
    #[inline]
    pub(crate) fn recv_turn(&self) -> Receivers<'_> {
        self.lists.of_receivers(&self.receiving)
    }

    /// The receive side. Held for a few instructions only.
    pub(crate) fn recv(&self) -> MutexGuard<'_, RecvSide> {
        let side = self.recv.lock().unwrap_or_else(PoisonError::into_inner);
        self.in_vain.ends();
        side
    }

    /// See [`InVain`].
    pub(super) fn in_vain(&self) -> &InVain {
        &self.in_vain
    }

    /// Changes the receive side and wakes whom the change concerns, once the lock is gone.
    pub(crate) fn change_recv(&self, change: impl FnOnce(&mut RecvSide) -> Concerned) {
        let concerned = change(&mut self.recv());
        concerned.wake();
    }

    /// Ends a receive in flight and waits until it is over. For who has the turn, or the only handle.
    pub(super) fn poll_disarmed(&self, waker: &Waker) -> Poll<()> {
        let (disarmed, replaced) = self.recv().poll_disarmed(waker);
        replaced.into_iter().for_each(guard::wake);
        if disarmed { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Wakes who waits for bytes, for another reason than bytes.
    pub(super) fn wake_readers(&self) {
        self.change_recv(RecvSide::concerned);
    }

    /// The send side. Held for a few instructions and a copy only.
    pub(super) fn send_side(&self) -> MutexGuard<'_, SendSide> {
        self.send.get_or_make().lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, if anything was ever noted there.
    pub(super) fn send_side_if_any(&self) -> Option<MutexGuard<'_, SendSide>> {
        Some(self.send.get()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take_orphan(&self) -> Option<CellRef> {
        self.send_side_if_any()?.orphan.take()
    }

    /// A send's future was dropped while the send is in flight.
    pub(crate) fn note_orphan(&self, cell: CellRef) {
        if self.handles.load(Ordering::SeqCst) == 0 {
            cell.cancel();
        }
        self.send_side().orphan = Some(cell);
        // The last handle may have gone between the check and the note. If it has found no send side, that
        // was made afterwards, and this look sees that it has gone (rarely.rs).
        if self.handles.load(Ordering::SeqCst) == 0 {
            self.cancel_orphan();
        }
    }

    /// An op of the send lane is over: the turn passes on.
    pub(crate) fn sent(&self) {
        self.send_turn().pass();
        self.close_write_if_asked();
    }

    /// A caller leaves the send lane with nothing in flight.
    pub(crate) fn leave_send(&self, place: Place) {
        self.send_turn().leave(place);
        self.close_write_if_asked();
    }

    /// As [`Shared::sent`], for an op whose future is gone.
    pub(crate) fn orphan_sent(&self) {
        drop(self.take_orphan());
        self.sent();
    }

    /// A part of a message has left, and the rest will not, with nobody there to be told. Before its turn
    /// passes.
    pub(super) fn note_cut(&self) {
        self.torn.store(CUT, Ordering::Relaxed);
    }

    /// The failure of a message that did not leave whole is kept. Under the send side's lock, before its turn
    /// passes.
    pub(super) fn note_lost(&self) {
        let _ = self.torn.compare_exchange(WHOLE, LOST, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// It was told: something may follow if nothing was cut. Under the send side's lock.
    pub(super) fn note_told(&self) {
        let _ = self.torn.compare_exchange(LOST, WHOLE, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether a message before was cut, or lost, with nobody there to be told. For who has the turn.
    #[inline]
    pub(super) fn is_torn(&self) -> bool {
        self.torn.load(Ordering::Relaxed) != WHOLE
    }

    /// Before something is sent, by who has the turn.
    ///
    /// # Errors
    /// If it would follow a message that was cut, which the peer would take for whole.
    #[inline]
    pub(super) fn check_whole(&self) -> io::Result<()> {
        if self.is_torn() { Err(follows_a_cut()) } else { Ok(()) }
    }

    /// Closes the send direction. For who has the turn.
    ///
    /// # Errors
    /// As [`check_whole`](Self::check_whole): the end would say that this was all. In a child of fork,
    /// because the direction is the parent's, too. ENOTCONN if there is no connection any more.
    pub(super) fn end_sending(&self) -> io::Result<()> {
        sys::fork::check()?;
        if self.is_torn() && self.takes_more() {
            return Err(follows_a_cut());
        }
        SockRef::from(&self.fd).shutdown(Shutdown::Write)
    }

    /// Whether its end has still to be told: a direction that takes nothing more has been closed, or is gone
    /// with the connection. Asked in this order, an error that the socket has to tell stays with it.
    fn takes_more(&self) -> bool {
        SockRef::from(&self.fd).peer_addr().is_ok() && sys::io::send_now(self.fd(), &[]).is_ok()
    }

    /// Closes the send direction, behind the send in flight if there is one.
    pub(crate) fn close_write(&self) {
        self.close_write.store(true, Ordering::SeqCst);
        self.close_write_if_asked();
    }

    /// What comes after a turn was passed on.
    pub(super) fn close_write_if_asked(&self) {
        // In a child of fork the direction is the parent's, too.
        if self.close_write.load(Ordering::SeqCst) && self.send_turn().is_free() && !sys::fork::is_child() {
            // The end must not say that a part of a message was all. One that has been told says nothing new,
            // and a reset would take what the peer has sent before it went. A Unix socket cannot be reset.
            if self.is_torn() && self.takes_more() && sys::io::reset(self.fd()).is_ok() {
                return;
            }
            // A connection that is gone already has no direction to close.
            let _ = SockRef::from(&self.fd).shutdown(Shutdown::Write);
        }
    }

    fn cancel_orphan(&self) {
        if let Some(cell) = self.take_orphan() {
            cell.cancel();
        }
    }

    /// Lets the next system call, if it has no flag for it, answer EAGAIN instead of waiting. Ops of the ring
    /// go on as before: they do not look at the mode (kernel-notes/nonblocking-socket.md).
    ///
    /// Both turns may do this at once. Only who has seen `NONBLOCKING` may go without the system call: it is
    /// written behind that (release: the call comes before what another core does), and `CHANGING` before it,
    /// so that the socket is put back in any case.
    pub(super) fn set_nonblocking(&self) -> io::Result<()> {
        if self.mode.load(Ordering::Acquire) == NONBLOCKING && !self.may_be_known() {
            return Ok(());
        }
        self.mode.store(CHANGING, Ordering::Relaxed);
        sys::io::set_nonblocking(self.fd())?;
        self.mode.store(NONBLOCKING, Ordering::Release);
        Ok(())
    }

    pub(super) fn may_be_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed) || self.forks != sys::fork::count()
    }

    /// Puts the socket back, before somebody else gets it.
    pub(super) fn set_blocking(&self) -> io::Result<()> {
        // First: whoever is about to set the mode again does not take it for set later.
        self.make_known();
        if self.mode.swap(BLOCKING, Ordering::Relaxed) != BLOCKING {
            SockRef::from(&self.fd).set_nonblocking(false)?;
        }
        Ok(())
    }

    /// Somebody else is about to know the socket, or has known it before.
    pub(super) fn make_known(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    /// The descriptor, for somebody else.
    pub(super) fn show(&self) -> BorrowedFd<'_> {
        self.make_known();
        self.fd.as_fd()
    }

    /// The socket, for options and questions of our own.
    pub(super) fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.fd)
    }

    /// What a close does with bytes that are unsent.
    pub(super) fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        SockRef::from(&self.fd).set_linger(linger)?;
        self.note_linger(linger);
        Ok(())
    }

    /// Asks for the linger time that a socket from elsewhere has.
    pub(super) fn find_linger(&self) -> io::Result<()> {
        self.note_linger(SockRef::from(&self.fd).linger()?);
        Ok(())
    }

    fn note_linger(&self, linger: Option<Duration>) {
        // The kernel counts seconds.
        self.lingers.store(linger.is_some_and(|time| time.as_secs() > 0), Ordering::Relaxed);
    }

    /// The socket goes to somebody else, with its linger time.
    pub(super) fn leave_linger(&self) {
        self.lingers.store(false, Ordering::Relaxed);
    }

    /// The last handle is gone: the close is to wait for nobody.
    fn end_linger(&self) {
        // In a child of fork the socket is the parent's, too, and the close not the last.
        if self.lingers.load(Ordering::Relaxed) && !sys::fork::is_child() {
            let _ = SockRef::from(&self.fd).set_linger(None);
        }
    }

    /// Gives the descriptor out, if nobody else holds the stream.
    pub(crate) fn try_into_fd(self: Arc<Self>) -> Result<OwnedFd, Arc<Self>> {
        Arc::try_unwrap(self).map(|shared| shared.fd)
    }

    /// Another descriptor of the same socket.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }
}

/// What is told to who would send behind a message that was cut.
#[cold]
pub(super) fn follows_a_cut() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "an earlier message was cut and nothing can follow it")
}

/// One handle to a stream: the stream itself, a half, a poll-shaped wrapper.
pub(crate) struct Handle(Arc<Shared>);

impl Handle {
    /// The first handle of a socket that has just come.
    pub(crate) fn new(fd: OwnedFd, permit: Option<Used>) -> Self {
        Self::known_since(sys::fork::count(), fd, permit)
    }

    /// The first handle of a socket that has waited for it, in which time there may have been forks: when it
    /// came, or before, [`sys::fork::count`] said `forks`.
    pub(crate) fn known_since(forks: u32, fd: OwnedFd, permit: Option<Used>) -> Self {
        Self(Arc::new(Shared::new(forks, fd, permit)))
    }

    /// The shared part.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// Whether two handles belong to one stream.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether this is the only handle.
    pub(crate) fn is_only(&self) -> bool {
        self.0.handles.load(Ordering::SeqCst) == 1
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        self.0.handles.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.0.handles.fetch_sub(1, Ordering::SeqCst) == 1 {
            // A relay is left only by a forwarding that was forgotten.
            let relay = {
                let mut side = self.0.recv();
                side.disarm();
                side.end_relay()
            };
            drop(relay);
            self.0.cancel_orphan();
            poll_write::abandoned(&self.0);
            self.0.end_linger();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn what_a_send_needs_lies_together_and_a_stream_is_small() {
        assert!(offset_of!(Shared, lists) <= 24);
        assert!(size_of::<Shared>() <= 152, "{}", size_of::<Shared>());
    }

    #[test]
    fn the_mode_of_a_socket_is_set_once_until_somebody_else_knows_it_and_then_each_time() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let handle = Handle::new(one.into(), None);
        let shared = handle.shared();
        let is_nonblocking = || SockRef::from(&shared.fd).nonblocking().unwrap();
        shared.set_nonblocking().unwrap();
        assert!(is_nonblocking());
        // As nobody could who does not know it: so the next line is seen to ask nobody.
        SockRef::from(&shared.fd).set_nonblocking(false).unwrap();
        shared.set_nonblocking().unwrap();
        assert!(!is_nonblocking());
        let _ = shared.show();
        for _ in 0..2 {
            shared.set_nonblocking().unwrap();
            assert!(is_nonblocking());
            SockRef::from(&shared.fd).set_nonblocking(false).unwrap();
        }
    }

    #[test]
    fn a_socket_that_is_put_back_is_known_from_then_on() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let handle = Handle::new(one.into(), None);
        let shared = handle.shared();
        shared.set_nonblocking().unwrap();
        shared.set_blocking().unwrap();
        assert!(!SockRef::from(&shared.fd).nonblocking().unwrap());
        shared.set_nonblocking().unwrap();
        SockRef::from(&shared.fd).set_nonblocking(false).unwrap();
        shared.set_nonblocking().unwrap();
        assert!(SockRef::from(&shared.fd).nonblocking().unwrap());
    }
}
