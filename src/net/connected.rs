//! What connected stream sockets have in common, whatever their addresses are.
//!
//! Owns [`Connected`], by which the rooms above reach the machinery of a stream (`shared.rs` and what it
//! holds) without knowing its kind, and `stream_calls!`, the calls that are the same for all kinds. The
//! machinery itself names no kind. What only some kinds can do is said where it is tried: limits of
//! `tcp(7)` on an abandoned stream, and its reset (poll_write.rs).
#![forbid(unsafe_code)]

use super::poll_write;
use super::receive::Recv;
use super::shared::{Handle, Shared};
use super::turn::SendTurn;
use crate::buf::{self, IoBufMut, Slice};
use crate::sys::fork;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// A stream socket with the machinery of this room.
pub(crate) trait Connected: AsFd + Sized {
    /// A stream of this kind.
    fn from_handle(handle: Handle) -> Self;

    /// The stream's own handle.
    fn handle(&self) -> &Handle;

    /// What its handles share.
    fn shared(&self) -> &Arc<Shared> {
        self.handle().shared()
    }
}

/// Receives until the buffer is full.
pub(super) async fn recv_exact<B: IoBufMut>(shared: &Arc<Shared>, buf: B) -> (io::Result<()>, B) {
    if let Some(answer) = buf::without_room(&buf) {
        return (answer.map(drop), buf);
    }
    let begin = buf.fill_from();
    let end = buf.capacity();
    let (mut buf, mut at) = (buf, begin);
    while at < end {
        let (received, part): (io::Result<usize>, Slice<B>) = Recv::new(shared, buf.slice_mut(at..end)).await;
        buf = part.into_inner();
        match received {
            Ok(0) => return (Err(io::ErrorKind::UnexpectedEof.into()), buf),
            Ok(n) => at += n,
            Err(error) => return (Err(error), buf),
        }
    }
    (Ok(()), buf)
}

/// Ends what is in flight, and takes the socket and the unread bytes out.
pub(super) async fn release(stream: impl Connected) -> io::Result<(OwnedFd, Vec<u8>)> {
    // The connection is the parent's, and so is what has come.
    fork::check()?;
    let shared = Arc::clone(stream.shared());
    let turn = SendTurn::take(&shared).await?;
    poll_fn(|cx| shared.poll_disarmed(cx.waker())).await;
    let failure = poll_write::take_failure(&shared).or_else(|| shared.recv().take_failure());
    let mode = shared.set_blocking();
    drop(turn);
    if let Some(failure) = failure {
        return Err(failure);
    }
    mode?;
    shared.leave_linger();
    let unread = shared.recv().unread();
    drop(stream);
    let fd = match shared.try_into_fd() {
        Ok(fd) => fd,
        Err(shared) => shared.duplicate()?,
    };
    Ok((fd, unread))
}

/// Another descriptor of a socket whose stream has nothing in flight, armed, unread or untold.
pub(super) fn settled(stream: &impl Connected) -> Option<OwnedFd> {
    let shared = stream.shared();
    let is_settled = shared.send_turn().is_free() && !poll_write::is_unsettled(shared);
    if !stream.handle().is_only() || !shared.recv().is_settled() || !is_settled {
        return None;
    }
    shared.set_blocking().ok()?;
    // The duplicate outlives the cell that may just be being freed.
    let fd = shared.duplicate().ok()?;
    shared.leave_linger();
    Some(fd)
}

/// The calls of a stream that are the same for all kinds: `$stream` is one field, `handle`, and `$std` is the
/// std stream of the same kind.
macro_rules! stream_calls {
    ($stream:ident, $std:ty) => {
        impl $crate::net::Connected for $stream {
            fn from_handle(handle: $crate::net::shared::Handle) -> Self {
                Self { handle }
            }

            fn handle(&self) -> &$crate::net::shared::Handle {
                &self.handle
            }
        }

        impl $crate::net::forward::sealed::Sealed for $stream {
            fn target(&self) -> &std::sync::Arc<$crate::net::shared::Shared> {
                self.shared()
            }
        }

        impl $crate::net::ForwardTarget for $stream {}

        impl $stream {
            fn socket(&self) -> socket2::SockRef<'_> {
                self.shared().socket()
            }

            /// Receives once, behind what the buffer holds; `Ok(0)` is the end of the stream (or a buffer of
            /// no capacity). A `Vec` is appended to, so give one `with_capacity`; an array is overwritten.
            ///
            /// Bytes that a pooled receive has read ahead come first. If the future is dropped, bytes that
            /// had arrived stay with the stream.
            ///
            /// # Errors
            /// The kernel's, for example ECONNRESET; each is reported once. [`io::ErrorKind::InvalidInput`]
            /// if the buffer is full, as `vec![0; n]` is.
            pub fn recv<B: IoBufMut>(&self, buf: B) -> Recv<'_, B> {
                Recv::new(self.shared(), buf)
            }

            /// Receives until the buffer is full: a `Vec` to its capacity, which may be more than was asked
            /// of it (`slice_mut(..n)` of it receives `n` bytes).
            ///
            /// Not cancel-safe: bytes received before the future is dropped are gone with the buffer.
            ///
            /// # Errors
            /// [`io::ErrorKind::UnexpectedEof`] if the stream ends before; as [`recv`](Self::recv).
            pub async fn recv_exact<B: IoBufMut>(&self, buf: B) -> (io::Result<()>, B) {
                $crate::net::connected::recv_exact(self.shared(), buf).await
            }

            /// Receives into a buffer the runtime picks when data is there; an empty one is the end of the
            /// stream.
            ///
            /// An idle connection that waits here holds no buffer. The buffer can be sent as it is.
            ///
            /// # Errors
            /// As [`recv`](Self::recv).
            pub fn recv_pooled(&self) -> RecvPooled<'_> {
                RecvPooled::new(self.shared())
            }

            /// Waits for bytes and copies those that come first, behind what the buffer holds, without taking
            /// them: the next receive gets them again. `Ok(0)` is the end of the stream (or a buffer without
            /// room).
            ///
            /// It may show fewer bytes than have arrived, and shows the same until something is received.
            /// They are in the stream from then on, and no longer in the socket, also if it may not
            /// [read ahead](Self::read_ahead); [`release`](Self::release) hands them over. Dropping the
            /// future loses no byte.
            ///
            /// # Errors
            /// As [`recv`](Self::recv).
            pub fn peek<B: IoBufMut>(&self, buf: B) -> $crate::net::Peek<'_, B> {
                $crate::net::Peek::new(self.shared(), buf)
            }

            /// Sends the whole buffer as one message of the lane; the number is short only if an error or a
            /// cancel cut it.
            ///
            /// If the future is dropped while the message waits behind others, it does not leave; afterwards
            /// it leaves whole. Should it be cut all the same, because the runtime ends or by an error,
            /// nothing follows it: each later send fails. If nothing of it has left, they fail until what
            /// became of it is told ([`all_sent`](Self::all_sent)).
            ///
            /// # Errors
            /// The kernel's, for example EPIPE or ECONNRESET. SIGPIPE is not raised.
            /// [`io::ErrorKind::BrokenPipe`] as well behind a message that was cut when nobody waited for it.
            pub fn send<B: IoBuf>(&self, buf: B) -> Send<'_, B> {
                Send::new(self.shared(), buf)
            }

            /// Sends the whole buffer or fails; a part may have left then.
            ///
            /// # Errors
            /// As [`send`](Self::send), also if a part had left before.
            pub fn send_all<B: IoBuf>(&self, buf: B) -> SendAll<'_, B> {
                SendAll::new(self.shared(), buf)
            }

            /// Sends the whole buffer off: ready when the stream has taken the message, and not when that has
            /// left.
            ///
            /// For servers that answer and go on to read: who awaits [`send_all`](Self::send_all) is woken
            /// and polled once more for each answer. One such message is in flight at most, and the next one
            /// waits for it, so a peer that does not read holds its sender up. The buffer is dropped when the
            /// kernel has all of it; one whose memory is used again is a [`SpareBuf`](crate::buf::SpareBuf).
            ///
            /// Dropping the future before it is ready sends nothing. What was taken leaves without another
            /// call, also if the stream is dropped next: then it closes behind the message, unless the peer
            /// takes nothing for 100 s (TCP) or the linger time is zero. A runtime that goes down waits
            /// half of its time for it.
            ///
            /// # Errors
            /// What has become of messages sent off before, once; this message is not sent then, and none
            /// that comes behind a message that was cut ([`io::ErrorKind::BrokenPipe`]). The same is told by
            /// [`all_sent`](Self::all_sent), to be awaited where nothing is sent any more and it matters, by
            /// [`release`](Self::release) and by the poll-shaped writes; not by [`send`](Self::send),
            /// [`send_all`](Self::send_all), `send_file` or `shutdown_write`, which tell what becomes of
            /// themselves, or that they are behind a message that was lost.
            ///
            /// # Panics
            /// On a thread that is no core and has entered no runtime.
            pub fn send_off<B: IoBuf>(&self, buf: B) -> $crate::net::SendOff<'_, B> {
                $crate::net::SendOff::new(self.shared(), buf)
            }

            /// Waits until all that was sent or sent off before has been handed to the kernel.
            ///
            /// Dropping the future gives its place behind them up, and nothing else.
            ///
            /// # Errors
            /// What has become of messages sent off, and of sends whose future was dropped, once.
            pub async fn all_sent(&self) -> io::Result<()> {
                $crate::net::send_off::all_sent(self.shared()).await
            }

            /// Sends several buffers as one message.
            ///
            /// # Errors
            /// As [`send`](Self::send).
            pub fn send_vectored<B: IoBuf>(&self, bufs: Vec<B>) -> SendVectored<'_, B> {
                SendVectored::new(self.shared(), bufs)
            }

            /// Sends on to `to` whatever comes, until this stream's end; how many bytes that was.
            ///
            /// For proxies: one call for each direction. Messages are received into the runtime's buffers and
            /// these are sent off, most of them without a poll of this future: while it waits on the core
            /// that receives, it is polled for one message of 16 in a row. Bulk passes through a pipe,
            /// without being copied (`splice(2)`). While `to` takes nothing, no more is received than for
            /// somebody who does not read (`recv_pooled`). The end is
            /// not passed on: that is [`shutdown_write`](Self::shutdown_write), if it is to be. What was
            /// forwarded is on its way then, and [`all_sent`](Self::all_sent) of `to` says when the kernel
            /// has it.
            ///
            /// Dropping the future loses no byte: what was received and not sent stays with this stream.
            ///
            /// A pipe is two descriptors while bytes are in it, also while a peer of `to` does not read them;
            /// a thread keeps two for the next. The process has 256 at most, and no more than an eighth of
            /// the descriptors it may have. If there is none to be had, bulk goes through buffers. Both
            /// sockets are in non-blocking mode afterwards, as after [`send_file`](Self::send_file).
            ///
            /// ```
            /// use ringwork::net::{TcpListener, TcpStream};
            ///
            /// # #[ringwork::main(cores = 1)]
            /// # async fn main() -> std::io::Result<()> {
            /// # async fn pair() -> std::io::Result<(TcpStream, TcpStream)> {
            /// #     let listener = TcpListener::bind("127.0.0.1:0").await?;
            /// #     let one = TcpStream::connect(listener.local_addr()?).await?;
            /// #     Ok((one, listener.accept().await?.0))
            /// # }
            /// # let ((user, client), (upstream, server)) = (pair().await?, pair().await?);
            /// user.send_all("a question").await.0?;
            /// user.shutdown_write().await?;
            /// // The proxy between them.
            /// assert_eq!(client.forward_to(&upstream).await?, 10);
            /// upstream.shutdown_write().await?;
            /// assert_eq!(server.recv_exact([0; 10]).await.1, *b"a question");
            /// # Ok(())
            /// # }
            /// ```
            ///
            /// A peer of `to` that is gone makes the kernel send SIGPIPE, as with `splice(2)` and
            /// `sendfile(2)` everywhere: Rust's `main` ignores it, and who takes that back is ended by it.
            ///
            /// # Errors
            /// Which side has failed, how, and how many bytes had been sent on at most.
            pub async fn forward_to(
                &self,
                to: &impl $crate::net::ForwardTarget,
            ) -> Result<u64, $crate::net::ForwardError> {
                $crate::net::forward::forward(self.shared(), to.target()).await
            }

            /// Sends `len` bytes of a file from `offset`; the number is short if the file ends before.
            ///
            /// Other sends wait until all of it is out. Dropping the future stops it within a piece; how much
            /// was sent is then unknown to the caller, and if that has cut an op of the ring, later sends
            /// fail.
            ///
            /// What the kernel has in its cache leaves by `sendfile(2)` on the spot. The rest is read and
            /// sent through the ring, and so is all of a file that is opened with `O_DIRECT` or lies on a
            /// file system that cannot tell what is cached: overlayfs, FUSE, those of networks
            /// (kernel-notes/cachestat.md).
            ///
            /// The socket is in non-blocking mode afterwards, which only system calls beside the runtime
            /// notice; [`release`](Self::release) and [`into_std`](Self::into_std) end it. It is put into
            /// that once; if others may know the socket (its descriptor was asked for, it came by
            /// [`from_std`](Self::from_std), the process has forked), before each piece, by a system call. A
            /// peer that is gone makes the kernel send SIGPIPE, which Rust's `main` ignores.
            ///
            /// # Errors
            /// The file's and the socket's.
            pub async fn send_file(&self, file: &impl FileSource, offset: u64, len: u64) -> io::Result<u64> {
                $crate::net::file::send_file(self.shared(), file, offset, len).await
            }

            /// Sends `head` and then `len` bytes of a file from `offset`, as [`send_file`](Self::send_file)
            /// does, and gives `head` back. The number is that of the file's bytes.
            ///
            /// If the kernel is known to have the file in its cache both leave together, by a system call
            /// each and without another turn of the core: for answers that begin with a header.
            ///
            /// Dropping the future before it has the turn sends nothing; afterwards it stops as that of
            /// `send_file` does, and the head may be cut.
            ///
            /// # Errors
            /// [`io::ErrorKind::WriteZero`] if only a part of the head could be sent; the file's and the
            /// socket's.
            pub async fn send_file_with_head<B: IoBuf>(
                &self,
                head: B,
                file: &impl FileSource,
                offset: u64,
                len: u64,
            ) -> (io::Result<u64>, B) {
                $crate::net::file::send_file_with_head(self.shared(), head, file, offset, len).await
            }

            /// Closes the send direction behind all sends before it; the peer reads the end of the stream.
            ///
            /// # Errors
            /// ENOTCONN if the connection is gone. [`io::ErrorKind::BrokenPipe`] if a message before was cut
            /// when nobody waited for it: the end would say that this was all. Dropping the stream closes it
            /// all the same.
            pub async fn shutdown_write(&self) -> io::Result<()> {
                let _turn = $crate::net::turn::SendTurn::take(self.shared()).await?;
                self.shared().end_sending()
            }

            /// Two halves that borrow the stream.
            pub fn split(&self) -> (RecvHalf<'_, Self>, SendHalf<'_, Self>) {
                (RecvHalf::new(self), SendHalf::new(self))
            }

            /// Two halves that own the stream; dropping the send half closes the send direction.
            pub fn into_split(self) -> (OwnedRecvHalf<Self>, OwnedSendHalf<Self>) {
                let other = Self { handle: self.handle.clone() };
                (OwnedRecvHalf::new(self), OwnedSendHalf::new(other))
            }

            /// Whether the stream may receive ahead of what is asked for (the default).
            ///
            /// With `false`, receives are one-shot and take no more than the buffer given has room for: for
            /// handshakes, protocol upgrades and handing the socket on. Bytes already read ahead still come
            /// first.
            pub fn read_ahead(&self, ahead: bool) {
                self.shared().recv().set_one_shot_only(!ahead);
            }

            /// Takes the socket out of the runtime: ends the receive in flight, waits for its final
            /// completion and for sends before this call, and hands over the descriptor, in blocking mode,
            /// and the bytes received and not read.
            ///
            /// # Errors
            /// - What became of bytes sent off, of those written through the traits of
            ///   `compat` and of sends whose future was dropped, if no call was told; a
            ///   reset that was received and of which no call told, because the socket does not tell it
            ///   again. The connection is closed then, and unread bytes are gone with it.
            /// - EMFILE if other handles keep the descriptor in use and it cannot be duplicated.
            pub async fn release(self) -> io::Result<(OwnedFd, Vec<u8>)> {
                $crate::net::connected::release(self).await
            }

            /// The socket as a std stream, if nothing is in flight, armed, unread or untold; it is in
            /// blocking mode.
            ///
            /// # Errors
            /// Gives the stream back otherwise: use [`release`](Self::release).
            pub fn into_std(self) -> Result<$std, Self> {
                match $crate::net::connected::settled(&self) {
                    Some(fd) => Ok(fd.into()),
                    None => Err(self),
                }
            }

            /// Takes a connected std stream over; it is put into blocking mode.
            ///
            /// # Errors
            /// If the mode cannot be changed.
            pub fn from_std(stream: $std) -> io::Result<Self> {
                stream.set_nonblocking(false)?;
                let handle = Handle::new(stream.into(), None);
                handle.shared().make_known();
                handle.shared().find_linger()?;
                Ok(Self::from_handle(handle))
            }

            /// The error pending on the socket, which is cleared (`SO_ERROR`).
            ///
            /// # Errors
            /// The kernel's.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                self.socket().take_error()
            }
        }

        impl AsFd for $stream {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.shared().show()
            }
        }

        impl AsRawFd for $stream {
            /// The number, for options and diagnostics. Reading or writing it behind the runtime's back
            /// breaks the order of the stream; see [`release`](Self::release).
            fn as_raw_fd(&self) -> RawFd {
                self.shared().show().as_raw_fd()
            }
        }
    };
}
pub(super) use stream_calls;
