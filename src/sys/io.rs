//! System calls that bypass the ring because they are faster on the spot or have no op.
//!
//! Owns their unsafe edges. A backend that simulates the kernel would answer these too. None of them may
//! block the core: each is non-blocking or works on memory the kernel already has. On file systems that may
//! have to ask somebody (of networks, FUSE) that does not hold for [`open_at`], [`stat_fd`] and
//! [`is_on_local_file_system`], and [`stat_in`] and [`send_file_now`] may wait for a disk: their callers say
//! so, or know that they do not.

use super::sqe::SQE_ASYNC;
use super::{bare_syscall, syscall};
use std::ffi::CStr;
use std::io::{self, IoSlice};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// `preadv2(2)` with `RWF_NOWAIT` (4.14): reads what the page cache holds, and answers EAGAIN, or a part,
/// where it would have to wait.
///
/// # Errors
/// The kernel's; EOPNOTSUPP from files that cannot tell.
///
/// # Safety
/// `len` bytes at `into` may be written.
pub(crate) unsafe fn read_now(file: RawFd, into: *mut u8, len: usize, offset: u64) -> io::Result<usize> {
    let part = libc::iovec { iov_base: into.cast(), iov_len: len };
    // SAFETY: the caller vouches for it.
    unsafe { read_now_into(file, std::slice::from_ref(&part), offset) }
}

/// The same into several parts, one behind the other.
///
/// # Errors
/// As there.
///
/// # Safety
/// All of the parts may be written.
#[inline]
pub(super) unsafe fn read_now_into(file: RawFd, parts: &[libc::iovec], offset: u64) -> io::Result<usize> {
    let at = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The offset goes in two halves; the kernel ignores the second where a register holds all of it
    // (`pos_from_hilo`).
    let (low, high) = (at as libc::c_long, (at >> 32) as libc::c_long);
    let read = bare_syscall!(SYS_preadv2(
        libc::c_long::from(file),
        parts.as_ptr(),
        parts.len(),
        low,
        high,
        libc::RWF_NOWAIT
    ));
    read.map(|n| n as usize)
}

/// Whether it is a file of tmpfs, which is in memory or swapped out. Of those the kernel tells the seals
/// (`F_GET_SEALS`, fcntl(2): memfd and other files of `mm/shmem.c`), and no file system is asked.
pub(crate) fn is_on_tmpfs(fd: RawFd) -> bool {
    syscall!(fcntl(fd, libc::F_GET_SEALS)).is_ok()
}

/// Whether the descriptor was opened with `O_DIRECT`; false where the kernel does not tell.
pub(crate) fn is_direct(fd: RawFd) -> bool {
    syscall!(fcntl(fd, libc::F_GETFL)).is_ok_and(|flags| flags & libc::O_DIRECT != 0)
}

/// Whether it is a pipe or FIFO (`F_GETPIPE_SZ` has no answer for others, `fcntl(2)`).
pub(crate) fn is_pipe(fd: RawFd) -> bool {
    syscall!(fcntl(fd, libc::F_GETPIPE_SZ)).is_ok()
}

/// Puts a socket into non-blocking mode: one call where `fcntl(2)` needs two.
///
/// # Errors
/// The kernel's.
pub(crate) fn set_nonblocking(socket: RawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    syscall!(ioctl(socket, libc::FIONBIO, &raw const on)).map(|_| ())
}

/// Resets a connection on the spot, as the close of a socket whose linger time is zero does: what is unsent
/// is dropped, and the peer is told that something is missing (`connect(2)` to no address, `tcp(7)`).
/// Sockets of other kinds answer EINVAL and stay as they are.
pub(crate) fn reset(socket: RawFd) -> io::Result<()> {
    let nowhere = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    let len = size_of::<libc::sockaddr>() as libc::socklen_t;
    syscall!(connect(socket, &raw const nowhere, len)).map(|_| ())
}

/// Whether the peer of a socket sends no more, or the connection has failed, at the latest after so many
/// milliseconds (`POLLRDHUP`, `poll(2)`). False if the kernel cannot say.
pub(crate) fn has_hung_up(socket: RawFd, patience: u8) -> bool {
    let mut wanted = libc::pollfd { fd: socket, events: libc::POLLRDHUP, revents: 0 };
    syscall!(poll(&raw mut wanted, 1, libc::c_int::from(patience))).is_ok_and(|found| found > 0)
}

/// Who is at the other end of a Unix socket (`SO_PEERCRED`, `unix(7)`).
///
/// # Errors
/// The kernel's.
pub(crate) fn peer_credentials(socket: RawFd) -> io::Result<libc::ucred> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let into = (&raw mut peer).cast();
    syscall!(getsockopt(socket, libc::SOL_SOCKET, libc::SO_PEERCRED, into, &raw mut len))?;
    Ok(peer)
}

/// Connections that wait to be accepted at a listening TCP socket: `tcpi_unacked` of `TCP_INFO` is that there
/// (`tcp_get_info` in `net/ipv4/tcp.c`).
///
/// # Errors
/// The kernel's.
pub(crate) fn accept_queue(listener: RawFd) -> io::Result<usize> {
    const END: usize = std::mem::offset_of!(libc::tcp_info, tcpi_unacked) + size_of::<u32>();
    let mut info = [0u32; END / size_of::<u32>()];
    let mut len = END as libc::socklen_t;
    let into = info.as_mut_ptr().cast();
    syscall!(getsockopt(listener, libc::IPPROTO_TCP, libc::TCP_INFO, into, &raw mut len))?;
    Ok(info.last().map_or(0, |waiting| *waiting as usize))
}

/// `accept4(2)` from a listener that is in non-blocking mode, which answers EAGAIN if nobody waits. The
/// socket it gives is in blocking mode.
///
/// # Errors
/// The kernel's.
pub(crate) fn accept_now(listener: RawFd) -> io::Result<OwnedFd> {
    let nobody = ptr::null_mut::<libc::sockaddr>();
    let length = ptr::null_mut::<libc::socklen_t>();
    let fd = syscall!(accept4(listener, nobody, length, libc::SOCK_CLOEXEC))?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `send(2)` of what more follows at once (`MSG_MORE`), which answers EAGAIN instead of waiting for the peer.
///
/// # Errors
/// The kernel's.
pub(crate) fn send_head_now(socket: RawFd, bytes: &[u8]) -> io::Result<usize> {
    send_with(socket, bytes, libc::MSG_MORE)
}

/// `send(2)`, which takes a part, or answers EAGAIN, instead of waiting for the peer
/// (kernel-notes/send-now.md).
///
/// # Errors
/// The kernel's.
#[inline]
pub(crate) fn send_now(socket: RawFd, bytes: &[u8]) -> io::Result<usize> {
    send_with(socket, bytes, 0)
}

#[inline]
fn send_with(socket: RawFd, bytes: &[u8], flags: i32) -> io::Result<usize> {
    let flags = flags | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let nobody = ptr::null::<libc::sockaddr>();
    let sent = bare_syscall!(SYS_sendto(socket, bytes.as_ptr(), bytes.len(), flags, nobody, 0usize));
    sent.map(|n| n as usize)
}

/// `sendmsg(2)` of several buffers, as [`send_now`].
///
/// # Errors
/// The kernel's.
pub(crate) fn send_several_now(socket: RawFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: an all-zero message header is an empty one.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    // An `IoSlice` is an iovec, and a send only reads them.
    header.msg_iov = parts.as_ptr().cast_mut().cast();
    header.msg_iovlen = parts.len() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    bare_syscall!(SYS_sendmsg(socket, &raw const header, flags)).map(|n| n as usize)
}

/// `sendfile(2)`. The socket is in non-blocking mode, so that it answers EAGAIN instead of waiting for the
/// peer: the call has no flag for that.
///
/// # Errors
/// The kernel's.
pub(crate) fn send_file_now(socket: RawFd, file: RawFd, offset: u64, len: usize) -> io::Result<usize> {
    let mut at = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    syscall!(sendfile(socket, file, &raw mut at, len)).map(|n| n as usize)
}

/// `openat2(2)` with `RESOLVE_*` flags (5.6).
///
/// # Errors
/// The kernel's: EAGAIN if `RESOLVE_CACHED` was asked for and the path is not cached, EXDEV on an escape.
pub(crate) fn open_at(dir: RawFd, path: &CStr, how: &libc::open_how) -> io::Result<OwnedFd> {
    // SAFETY: the path is NUL-terminated and `how` is the kernel's structure of the size given.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            dir,
            path.as_ptr(),
            std::ptr::from_ref(how),
            size_of::<libc::open_how>(),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Reads names of a folder, as many as `into` holds: how many bytes of `struct linux_dirent64`, 0 at the end
/// (`getdents64(2)`). Goes on where the descriptor stands. May wait for the disk: for the blocking pool.
///
/// # Errors
/// The kernel's; ENOENT if the folder has been removed.
pub(crate) fn read_names(folder: RawFd, into: &mut [u8]) -> io::Result<usize> {
    syscall!(syscall(libc::SYS_getdents64, folder, into.as_mut_ptr(), into.len())).map(|n| n as usize)
}

/// What an `openat2` asks for.
pub(crate) fn open_how(flags: i32, mode: u32, resolve: u64) -> libc::open_how {
    // SAFETY: an all-zero `open_how` is a valid one.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = flags as u64;
    how.mode = u64::from(mode);
    how.resolve = resolve;
    how
}

/// `statx(2)` on an open descriptor: no path is walked, so it does not wait.
///
/// # Errors
/// The kernel's.
pub(crate) fn stat_fd(fd: RawFd) -> io::Result<libc::statx> {
    let mut stat = empty_stat();
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    syscall!(statx(fd, c"".as_ptr(), libc::AT_EMPTY_PATH, mask, &raw mut stat))?;
    Ok(stat)
}

/// What there is to know of a file before it is read or written. As a number it has the bits of the flags
/// that its reads and writes have as ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// It gives the same bytes to whoever reads them again, as regular files and block devices do.
    GivesAgain = 0,
    /// It gives each byte once.
    GivesOnce = 1,
    /// Likewise, and an op that is not to wait may do so: its driver, like that of a terminal or a serial
    /// line, looks at the mode of the descriptor alone (kernel-notes/io-wq-punts.md).
    Waits = SQE_ASYNC,
}

/// The kind of a file. That has the kernel in memory, whatever the file system. [`Kind::GivesOnce`] where it
/// does not tell.
pub(crate) fn kind_of(fd: RawFd) -> Kind {
    let mut stat = empty_stat();
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    if syscall!(statx(fd, c"".as_ptr(), flags, libc::STATX_TYPE, &raw mut stat)).is_err() {
        return Kind::GivesOnce;
    }
    match libc::mode_t::from(stat.stx_mode) & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFBLK => Kind::GivesAgain,
        // Those of memory (`/dev/null`, `/dev/zero`, `/dev/urandom`) and tun heed it.
        libc::S_IFCHR if !matches!((stat.stx_rdev_major, stat.stx_rdev_minor), (1, _) | (10, 200)) => {
            Kind::Waits
        }
        _ => Kind::GivesOnce,
    }
}

/// Whether it is of [`Kind::GivesAgain`].
pub(crate) fn gives_again(fd: RawFd) -> bool {
    kind_of(fd) == Kind::GivesAgain
}

/// Writes all of it at `offset` (`pwrite(2)`), and waits for that.
///
/// # Errors
/// The kernel's.
pub(crate) fn write_all_at(fd: RawFd, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let at = libc::off64_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        match syscall!(pwrite64(fd, bytes.as_ptr().cast(), bytes.len(), at)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = &bytes[n as usize..];
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the descriptor has a position that may be moved: pipes, FIFOs, sockets and terminals have none
/// (`lseek(2)`). It is not moved by that.
#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
pub(crate) fn has_position(fd: RawFd) -> bool {
    !syscall!(lseek(fd, 0, libc::SEEK_CUR)).is_err_and(|error| error.raw_os_error() == Some(libc::ESPIPE))
}

/// Bytes of a block device (`BLKGETSIZE64`), which `statx(2)` does not tell. The descriptor's own position,
/// which others may share, is not moved.
///
/// # Errors
/// The kernel's.
#[cfg(any(feature = "tokio-io", feature = "futures-io"))]
pub(crate) fn device_len(fd: RawFd) -> io::Result<u64> {
    // `_IOR(0x12, 114, size_t)` of `linux/fs.h`; libc has no name for it. As on x86, arm and riscv.
    const BLKGETSIZE64: libc::Ioctl = 0x8000_1272 | (size_of::<usize>() as libc::Ioctl) << 16;
    let mut len = 0_u64;
    syscall!(ioctl(fd, BLKGETSIZE64, &raw mut len))?;
    Ok(len)
}

/// `statx(2)` of a name in a folder; a link is not followed. May wait for the disk.
///
/// # Errors
/// The kernel's.
pub(crate) fn stat_in(folder: RawFd, name: &CStr) -> io::Result<libc::statx> {
    let mut stat = empty_stat();
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    syscall!(statx(folder, name.as_ptr(), libc::AT_SYMLINK_NOFOLLOW, mask, &raw mut stat))?;
    Ok(stat)
}

/// Whether the file is on a file system that has what `statx(2)` tells in memory: on others, those of
/// networks and of FUSE among them, the call may wait for somebody (`statfs(2)`). So may this one there: it
/// is the file system that answers.
pub(crate) fn is_on_local_file_system(fd: RawFd) -> bool {
    // SAFETY: an all-zero `statfs` is a valid value.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    let known = [
        libc::BTRFS_SUPER_MAGIC,
        libc::EXT4_SUPER_MAGIC,
        libc::OVERLAYFS_SUPER_MAGIC,
        libc::PROC_SUPER_MAGIC,
        libc::SYSFS_MAGIC,
        libc::TMPFS_MAGIC,
        libc::XFS_SUPER_MAGIC,
    ];
    syscall!(fstatfs(fd, &raw mut about)).is_ok() && known.contains(&about.f_type)
}

/// A `statx` to be filled in.
pub(crate) fn empty_stat() -> libc::statx {
    // SAFETY: an all-zero `statx` is a valid value.
    unsafe { std::mem::zeroed() }
}

/// Takes `O_NONBLOCK` off a file and leaves its other flags: ring reads on it must be allowed to wait for the
/// disk.
///
/// # Errors
/// The kernel's.
pub(crate) fn clear_nonblock(fd: RawFd) -> io::Result<()> {
    let on: libc::c_int = 0;
    syscall!(ioctl(fd, libc::FIONBIO, &raw const on)).map(|_| ())
}

/// Takes the descriptor that a completion carries.
///
/// # Safety
/// `fd` is the fresh descriptor of an op's result, seen once.
pub(crate) unsafe fn adopt(fd: i32) -> OwnedFd {
    // SAFETY: the caller vouches for it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
