//! The 64 bytes of a submission and the 16 of a completion, as the kernel defines them (`io_uring(7)`).
//!
//! Owns the layout and the opcode numbers we use. Ops fill a [`Sqe`] through its named constructors; the
//! backend turns it into the crate's entry at the wall. It knows nothing of who submits.

use std::io;
use std::os::fd::RawFd;

/// The opcodes ringwork uses (`enum io_uring_op`, stable ABI).
pub(crate) mod opcode {
    /// `IORING_OP_NOP` (5.1).
    pub(crate) const NOP: u8 = 0;
    /// `IORING_OP_FSYNC` (5.1).
    pub(crate) const FSYNC: u8 = 3;
    /// `IORING_OP_POLL_ADD` (5.1; multishot 5.13).
    pub(crate) const POLL_ADD: u8 = 6;
    /// `IORING_OP_SENDMSG` (5.3).
    pub(crate) const SENDMSG: u8 = 9;
    /// `IORING_OP_RECVMSG` (5.3).
    pub(crate) const RECVMSG: u8 = 10;
    /// `IORING_OP_ACCEPT` (5.5; multishot 5.19).
    pub(crate) const ACCEPT: u8 = 13;
    /// `IORING_OP_ASYNC_CANCEL` (5.5).
    pub(crate) const ASYNC_CANCEL: u8 = 14;
    /// `IORING_OP_CONNECT` (5.5).
    pub(crate) const CONNECT: u8 = 16;
    /// `IORING_OP_FALLOCATE` (5.6).
    pub(crate) const FALLOCATE: u8 = 17;
    /// `IORING_OP_STATX` (5.6).
    pub(crate) const STATX: u8 = 21;
    /// `IORING_OP_READ` (5.6).
    pub(crate) const READ: u8 = 22;
    /// `IORING_OP_WRITE` (5.6).
    pub(crate) const WRITE: u8 = 23;
    /// `IORING_OP_SEND` (5.6).
    pub(crate) const SEND: u8 = 26;
    /// `IORING_OP_RECV` (5.6; multishot 6.0).
    pub(crate) const RECV: u8 = 27;
    /// `IORING_OP_OPENAT2` (5.6).
    pub(crate) const OPENAT2: u8 = 28;
    /// `IORING_OP_RENAMEAT` (5.11).
    pub(crate) const RENAMEAT: u8 = 35;
    /// `IORING_OP_UNLINKAT` (5.11).
    pub(crate) const UNLINKAT: u8 = 36;
    /// `IORING_OP_MKDIRAT` (5.15).
    pub(crate) const MKDIRAT: u8 = 37;
    /// `IORING_OP_SYMLINKAT` (5.15).
    pub(crate) const SYMLINKAT: u8 = 38;
    /// `IORING_OP_LINKAT` (5.15).
    pub(crate) const LINKAT: u8 = 39;

    /// All of the above with their names: what a start-up probe asks for, and what a restriction list would
    /// allow.
    pub(crate) const USED: [(u8, &str); 20] = [
        (NOP, "NOP"),
        (FSYNC, "FSYNC"),
        (POLL_ADD, "POLL_ADD"),
        (SENDMSG, "SENDMSG"),
        (RECVMSG, "RECVMSG"),
        (ACCEPT, "ACCEPT"),
        (ASYNC_CANCEL, "ASYNC_CANCEL"),
        (CONNECT, "CONNECT"),
        (FALLOCATE, "FALLOCATE"),
        (STATX, "STATX"),
        (READ, "READ"),
        (WRITE, "WRITE"),
        (SEND, "SEND"),
        (RECV, "RECV"),
        (OPENAT2, "OPENAT2"),
        (RENAMEAT, "RENAMEAT"),
        (UNLINKAT, "UNLINKAT"),
        (MKDIRAT, "MKDIRAT"),
        (SYMLINKAT, "SYMLINKAT"),
        (LINKAT, "LINKAT"),
    ];
}

/// `IOSQE_ASYNC`: not tried on the core, given to a helper thread at once, which may wait.
pub(crate) const SQE_ASYNC: u8 = 1 << 4;
/// `IOSQE_BUFFER_SELECT`: the kernel picks a buffer of the group when data is there.
pub(crate) const SQE_BUFFER_SELECT: u8 = 1 << 5;
/// `IOSQE_CQE_SKIP_SUCCESS` (5.17): no CQE unless the op fails.
pub(crate) const SQE_SKIP_SUCCESS: u8 = 1 << 6;
/// `IORING_RECV_MULTISHOT` (6.0).
pub(crate) const RECV_MULTISHOT: u16 = 1 << 1;
/// `IORING_RECVSEND_POLL_FIRST` (5.19): do not try before the socket is ready
/// (kernel-notes/recv-poll-first.md).
pub(crate) const RECV_POLL_FIRST: u16 = 1 << 0;
/// `IORING_ACCEPT_MULTISHOT` (5.19).
pub(crate) const ACCEPT_MULTISHOT: u16 = 1 << 0;
/// `IORING_POLL_ADD_MULTI` (5.13).
pub(crate) const POLL_ADD_MULTI: u32 = 1 << 0;
/// `IORING_FSYNC_DATASYNC`.
pub(crate) const FSYNC_DATASYNC: u32 = 1 << 0;

/// A submission entry: `struct io_uring_sqe`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Sqe {
    /// The operation.
    pub(crate) opcode: u8,
    /// `IOSQE_*`.
    pub(crate) flags: u8,
    /// Priority, or the flags of receive, send and accept.
    pub(crate) ioprio: u16,
    /// The descriptor.
    pub(crate) fd: RawFd,
    /// Offset, or a second address.
    pub(crate) off: u64,
    /// Buffer or structure.
    pub(crate) addr: u64,
    /// Length in bytes, or a mode.
    pub(crate) len: u32,
    /// The flags of the operation itself.
    pub(crate) op_flags: u32,
    /// Comes back in the CQE.
    pub(crate) user_data: u64,
    /// Registered buffer index, or the buffer group.
    pub(crate) buf_index: u16,
    /// Registered credentials.
    pub(crate) personality: u16,
    /// Direct descriptor slot.
    pub(crate) file_index: u32,
    /// A third address.
    pub(crate) addr3: u64,
    pad: u64,
}

const _: () = assert!(size_of::<Sqe>() == 64, "the kernel reads 64 bytes");

impl Sqe {
    /// A poll for `events` (`POLL*` of `poll(2)`).
    pub(crate) const fn poll(fd: RawFd, events: libc::c_short) -> Self {
        let events = events as u16 as u32;
        // The kernel reads `poll32_events` with its halves swapped on big-endian (`io_poll_parse_events`).
        let events = if cfg!(target_endian = "big") { events.rotate_left(16) } else { events };
        Self::new(opcode::POLL_ADD, fd).op_flags(events)
    }

    /// An entry that does nothing yet.
    pub(crate) const fn new(opcode: u8, fd: RawFd) -> Self {
        Self {
            opcode,
            flags: 0,
            ioprio: 0,
            fd,
            off: 0,
            addr: 0,
            len: 0,
            op_flags: 0,
            user_data: 0,
            buf_index: 0,
            personality: 0,
            file_index: 0,
            addr3: 0,
            pad: 0,
        }
    }

    /// With `IOSQE_*`.
    #[inline]
    pub(crate) const fn flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    /// With a buffer or structure of `len` bytes at `addr`.
    #[inline]
    pub(crate) fn at(mut self, addr: *const u8, len: u32) -> Self {
        self.addr = addr.expose_provenance() as u64;
        self.len = len;
        self
    }

    /// With an offset in a file. One that no file can have becomes one the kernel refuses with EINVAL: all
    /// ones would mean "where the descriptor stands".
    pub(crate) const fn file_offset(self, off: u64) -> Self {
        self.offset(if off > i64::MAX as u64 { 1 << 63 } else { off })
    }

    /// With the second address field.
    pub(crate) const fn offset(mut self, off: u64) -> Self {
        self.off = off;
        self
    }

    /// With the operation's own flags.
    pub(crate) const fn op_flags(mut self, flags: u32) -> Self {
        self.op_flags = flags;
        self
    }
}

/// `IORING_CQE_F_BUFFER`: the upper half of the flags is the id of the buffer used.
const CQE_BUFFER: u32 = 1 << 0;
/// `IORING_CQE_F_MORE`: this op will post more.
pub(crate) const CQE_MORE: u32 = 1 << 1;
/// `IORING_CQE_F_SOCK_NONEMPTY`: the socket had more to read.
pub(crate) const CQE_SOCK_NONEMPTY: u32 = 1 << 2;

/// Made up by us: the op was started in a forked child.
pub(crate) const RES_FORKED: i32 = -10_000;
/// Made up by us: the runtime the op would have run on is gone.
pub(crate) const RES_GONE: i32 = -10_001;

/// What an op answers when its runtime has shut down.
pub(crate) fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the ringwork runtime behind this has shut down")
}

/// A completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cqe {
    /// What the submission carried.
    pub(crate) user_data: u64,
    /// The result, or a negative errno.
    pub(crate) res: i32,
    /// `IORING_CQE_F_*`.
    pub(crate) flags: u32,
}

impl Cqe {
    /// A completion we make ourselves, for an op that never reached the kernel.
    pub(crate) const fn made_up(res: i32) -> Self {
        Self { user_data: 0, res, flags: 0 }
    }

    /// The error that a failed op's result stands for.
    pub(crate) fn error(res: i32) -> io::Error {
        debug_assert!(res < 0, "only negative results are errors");
        match Self::made_up(res).result() {
            Err(error) => error,
            Ok(_) => io::Error::from_raw_os_error(libc::EINVAL),
        }
    }

    /// Whether the op stays in flight. Only a CQE without it is final.
    pub(crate) const fn more(self) -> bool {
        self.flags & CQE_MORE != 0
    }

    /// The provided buffer the kernel picked.
    pub(crate) const fn buffer(self) -> Option<u16> {
        if self.flags & CQE_BUFFER != 0 { Some((self.flags >> 16) as u16) } else { None }
    }

    /// Whether the socket had more to read when this was posted.
    pub(crate) const fn sock_nonempty(self) -> bool {
        self.flags & CQE_SOCK_NONEMPTY != 0
    }

    /// The result as `io::Result`, errno kept.
    #[inline]
    pub(crate) fn result(self) -> io::Result<usize> {
        match self.res {
            RES_FORKED => Err(super::fork::error()),
            RES_GONE => Err(gone()),
            // ERESTARTSYS, which the kernel means to keep to itself, comes out of ops cancelled on a helper
            // thread (kernel-notes/cancel-and-close.md).
            -512 => Err(io::Error::from_raw_os_error(libc::EINTR)),
            res if res < 0 => Err(io::Error::from_raw_os_error(-res)),
            res => Ok(res as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sqe;
    use std::mem::offset_of;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(offset_of!(Sqe, fd), 4);
        assert_eq!(offset_of!(Sqe, off), 8);
        assert_eq!(offset_of!(Sqe, addr), 16);
        assert_eq!(offset_of!(Sqe, len), 24);
        assert_eq!(offset_of!(Sqe, op_flags), 28);
        assert_eq!(offset_of!(Sqe, user_data), 32);
        assert_eq!(offset_of!(Sqe, buf_index), 40);
        assert_eq!(offset_of!(Sqe, file_index), 44);
        assert_eq!(offset_of!(Sqe, addr3), 48);
    }
}
