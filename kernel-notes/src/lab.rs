//! A ring to experiment on, set up as ringwork sets up its own. It owns all memory that its ops lend to the
//! kernel, provided buffers included, and keeps it until every op has had its last completion; if that does
//! not come when it is dropped, it leaks the lot. It is not fast, and it takes raw descriptors on trust: only
//! numbers are at risk there.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use io_uring::types::{BufRingEntry, CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{Builder, IoUring, Submitter, cqueue, opcode, squeue};

use crate::{LONG, Pages, code, errno_name};

/// The tag of the cancel that `Lab` sends when it is dropped.
const TAG_OF_DROP: u64 = u64::MAX;

/// One completion.
#[derive(Clone, Copy, Debug)]
pub struct Cqe {
    /// The `user_data` of the op.
    pub tag: u64,
    /// The result: a count, or an error number with its sign turned.
    pub res: i32,
    /// The flags of the completion.
    pub flags: u32,
}

impl Cqe {
    /// Whether more completions of this op follow.
    pub fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The provided buffer this completion hands over.
    pub fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// Whether this is the last completion of an op that failed with `errno`.
    pub fn ended_with(&self, errno: i32) -> bool {
        self.res == -errno && !self.more()
    }
}

impl fmt::Display for Cqe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.res {
            res if res < 0 => write!(f, "{}", errno_name(-res))?,
            res => write!(f, "{res}")?,
        }
        let more = if self.more() { "+" } else { "-" };
        write!(f, " {more}MORE")?;
        if let Some(bid) = self.buffer() {
            write!(f, " buffer {bid}")?;
        }
        if cqueue::sock_nonempty(self.flags) {
            write!(f, " SOCK_NONEMPTY")?;
        }
        Ok(())
    }
}

/// The set-up that ringwork wants first: every step of the ladder.
pub fn full_flags(cq: u32) -> Builder {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_submit_all();
    builder.setup_no_sqarray().setup_cqsize(cq).dontfork();
    builder
}

/// Builds a ring, and tries again for a while where locked memory is short: what earlier rings were charged
/// comes back some time after they are closed.
pub fn build(builder: &Builder, entries: u32) -> io::Result<IoUring> {
    let start = Instant::now();
    loop {
        match builder.build(entries) {
            Err(error) if code(&error) == libc::ENOMEM && start.elapsed() < LONG => {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

/// One group of provided buffers: a page or more of entries, and the buffers themselves.
struct Pool {
    group: u16,
    entries: Pages,
    buffers: Pages,
    count: u16,
    size: usize,
    tail: u16,
}

/// The ring, and everything its ops point at.
pub struct Lab {
    // Dropped by hand, before the memory below: the kernel must be gone first.
    ring: ManuallyDrop<IoUring>,
    lent: ManuallyDrop<Vec<(u64, Pages)>>,
    pools: ManuallyDrop<Vec<Pool>>,
    arrived: VecDeque<Cqe>,
    in_flight: usize,
}

impl Lab {
    /// A ring with the full flags; NO_SQARRAY is left out where the kernel does not know it.
    pub fn new(sq: u32, cq: u32) -> io::Result<Lab> {
        let ring = build(&full_flags(cq), sq).or_else(|_| {
            let mut builder = IoUring::builder();
            builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_submit_all();
            build(builder.setup_cqsize(cq).dontfork(), sq)
        })?;
        Ok(Lab::over(ring))
    }

    /// A lab over a ring made elsewhere.
    pub fn over(ring: IoUring) -> Lab {
        Lab {
            ring: ManuallyDrop::new(ring),
            lent: ManuallyDrop::new(Vec::new()),
            pools: ManuallyDrop::new(Vec::new()),
            arrived: VecDeque::new(),
            in_flight: 0,
        }
    }

    /// Puts one entry on the queue and submits the queue first if it is full.
    ///
    /// # Safety
    /// Whatever the entry points at must stay alive and unmoved until its last completion.
    pub unsafe fn push(&mut self, entry: squeue::Entry) -> io::Result<()> {
        if self.ring.submission().is_full() {
            self.ring.submit()?;
        }
        // SAFETY: the caller vouches for what the entry points at.
        unsafe { self.ring.submission().push(&entry) }.map_err(io::Error::other)?;
        self.in_flight += 1;
        Ok(())
    }

    fn push_plain(&mut self, entry: squeue::Entry, tag: u64) -> io::Result<()> {
        // SAFETY: only called with entries that hold no address.
        unsafe { self.push(entry.user_data(tag)) }
    }

    fn push_lending(&mut self, entry: squeue::Entry, pages: Pages, tag: u64) -> io::Result<()> {
        self.lent.push((tag, pages));
        // SAFETY: the entry points into the pages just stored, which are kept until the ring is drained.
        unsafe { self.push(entry.user_data(tag)) }
    }

    /// An op that does nothing.
    pub fn nop(&mut self, tag: u64) -> io::Result<()> {
        self.push_plain(opcode::Nop::new().build(), tag)
    }

    /// A multishot poll for reading.
    pub fn poll_multi(&mut self, fd: &impl AsRawFd, tag: u64) -> io::Result<()> {
        let poll = opcode::PollAdd::new(Fd(fd.as_raw_fd()), libc::POLLIN as u32).multi(true);
        self.push_plain(poll.build(), tag)
    }

    /// A poll for reading that completes once.
    pub fn poll(&mut self, fd: &impl AsRawFd, tag: u64) -> io::Result<()> {
        self.push_plain(opcode::PollAdd::new(Fd(fd.as_raw_fd()), libc::POLLIN as u32).build(), tag)
    }

    /// An accept of one connection, without the address of the peer.
    pub fn accept(&mut self, fd: &impl AsRawFd, tag: u64) -> io::Result<()> {
        let none = std::ptr::null_mut;
        self.push_plain(opcode::Accept::new(Fd(fd.as_raw_fd()), none(), none().cast()).build(), tag)
    }

    /// A multishot accept.
    pub fn accept_multi(&mut self, fd: &impl AsRawFd, tag: u64) -> io::Result<()> {
        self.push_plain(opcode::AcceptMulti::new(Fd(fd.as_raw_fd())).build(), tag)
    }

    /// A multishot receive into the buffers of a group.
    pub fn recv_multi(&mut self, fd: &impl AsRawFd, group: u16, tag: u64) -> io::Result<()> {
        self.push_plain(opcode::RecvMulti::new(Fd(fd.as_raw_fd()), group).build(), tag)
    }

    /// The same, waiting for readiness before it looks for a buffer.
    pub fn recv_multi_poll_first(&mut self, fd: &impl AsRawFd, group: u16, tag: u64) -> io::Result<()> {
        const POLL_FIRST: u16 = 1 << 0;
        const RECV_MULTISHOT: u16 = 1 << 1;
        // The crate's multishot receive has no room for the first bit, its one-shot receive for both.
        self.recv_picked(fd, group, POLL_FIRST | RECV_MULTISHOT, tag)
    }

    /// A one-shot receive into a buffer that the kernel picks.
    pub fn recv_once(&mut self, fd: &impl AsRawFd, group: u16, tag: u64) -> io::Result<()> {
        self.recv_picked(fd, group, 0, tag)
    }

    fn recv_picked(&mut self, fd: &impl AsRawFd, group: u16, ioprio: u16, tag: u64) -> io::Result<()> {
        let recv = opcode::Recv::new(Fd(fd.as_raw_fd()), std::ptr::null_mut(), 0);
        let recv = recv.ioprio(ioprio).buf_group(group).build();
        self.push_plain(recv.flags(squeue::Flags::BUFFER_SELECT), tag)
    }

    /// A cancel of what `which` selects.
    pub fn cancel(&mut self, which: CancelBuilder, tag: u64) -> io::Result<()> {
        self.push_plain(opcode::AsyncCancel2::new(which).build(), tag)
    }

    /// A receive into memory of its own, with `ioprio` and message flags as given.
    pub fn recv(&mut self, fd: &impl AsRawFd, len: usize, how: (u16, i32), tag: u64) -> io::Result<()> {
        let pages = Pages::new(len)?;
        let recv = opcode::Recv::new(Fd(fd.as_raw_fd()), pages.start(), len as u32);
        self.push_lending(recv.ioprio(how.0).flags(how.1).build(), pages, tag)
    }

    /// A send of a copy of `bytes`.
    pub fn send(&mut self, fd: &impl AsRawFd, bytes: &[u8], flags: i32, tag: u64) -> io::Result<()> {
        let pages = Pages::holding(bytes)?;
        let send = opcode::Send::new(Fd(fd.as_raw_fd()), pages.start(), bytes.len() as u32);
        self.push_lending(send.flags(flags).build(), pages, tag)
    }

    /// A read of a file into pages of its own.
    pub fn read(&mut self, fd: &impl AsRawFd, len: usize, offset: u64, tag: u64) -> io::Result<()> {
        let pages = Pages::new(len)?;
        let read = opcode::Read::new(Fd(fd.as_raw_fd()), pages.start(), len as u32).offset(offset);
        self.push_lending(read.build(), pages, tag)
    }

    /// A write of `len` bytes of `byte`, page-aligned in memory.
    pub fn write(&mut self, fd: &impl AsRawFd, len: usize, byte: u8, at: u64, tag: u64) -> io::Result<()> {
        let pages = Pages::new(len)?;
        pages.fill(byte);
        let write = opcode::Write::new(Fd(fd.as_raw_fd()), pages.start(), len as u32).offset(at);
        self.push_lending(write.build(), pages, tag)
    }

    /// A copy of the first `len` bytes of the memory lent to the newest op with this tag.
    pub fn bytes(&self, tag: u64, len: usize) -> Vec<u8> {
        let found = self.lent.iter().rev().find(|(owner, _)| *owner == tag);
        found.map(|(_, pages)| pages.copy_out(0, len)).unwrap_or_default()
    }

    /// Registers a group of `count` buffers of `size` bytes; `count` is a power of two. None is given yet.
    pub fn add_pool(&mut self, group: u16, count: u16, size: usize) -> io::Result<()> {
        let entries = Pages::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let buffers = Pages::new(usize::from(count) * size)?;
        let address = entries.start() as u64;
        // SAFETY: the pages hold `count` entries and are kept until the ring is gone.
        unsafe { self.ring.submitter().register_buf_ring_with_flags(address, count, group, 0)? };
        self.pools.push(Pool { group, entries, buffers, count, size, tail: 0 });
        Ok(())
    }

    fn pool(&mut self, group: u16) -> &mut Pool {
        self.pools.iter_mut().find(|pool| pool.group == group).expect("a group that was added")
    }

    /// Gives buffer `bid` of a group to the kernel.
    pub fn give(&mut self, group: u16, bid: u16) {
        let pool = self.pool(group);
        assert!(bid < pool.count, "no such buffer");
        let base: *mut BufRingEntry = pool.entries.start().cast();
        // SAFETY: the index is below `count`, so both addresses lie in the pages of entries and buffers.
        let (entry, buffer) = unsafe {
            let entry = &mut *base.add(usize::from(pool.tail & (pool.count - 1)));
            (entry, pool.buffers.start().add(usize::from(bid) * pool.size))
        };
        entry.set_addr(buffer as u64);
        entry.set_len(pool.size as u32);
        entry.set_bid(bid);
        pool.tail = pool.tail.wrapping_add(1);
        // SAFETY: the tail is the first entry's spare field: aligned, and written by this thread alone.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        tail.store(pool.tail, Ordering::Release);
    }

    /// A copy of the first `len` bytes of buffer `bid` of a group.
    pub fn provided(&mut self, group: u16, bid: u16, len: usize) -> Vec<u8> {
        let pool = self.pool(group);
        pool.buffers.copy_out(usize::from(bid) * pool.size, len)
    }

    /// How many buffers of a group the kernel has taken since it was registered (needs Linux 6.8).
    pub fn taken(&self, group: u16) -> io::Result<u32> {
        const IORING_REGISTER_PBUF_STATUS: u32 = 26;
        let mut status = [0u32; 10];
        status[0] = u32::from(group);
        let (fd, argument) = (self.ring.as_raw_fd(), status.as_mut_ptr());
        // SAFETY: the argument has the size of `io_uring_buf_status`, and the call keeps no pointer to it.
        unsafe { crate::register(fd, IORING_REGISTER_PBUF_STATUS, argument, 1)? };
        Ok(status[1])
    }

    /// The ring's register and enter calls.
    pub fn submitter(&self) -> Submitter<'_> {
        self.ring.submitter()
    }

    /// Submits what is queued, and runs completions only if the kernel says that there are some.
    pub fn submit(&mut self) -> io::Result<usize> {
        self.ring.submit()
    }

    /// Whether the kernel has completions to run at the next enter.
    pub fn taskrun(&mut self) -> bool {
        self.ring.submission().taskrun()
    }

    /// Whether completions wait outside the queue because it was full.
    pub fn overflowed(&mut self) -> bool {
        self.ring.submission().cq_overflow()
    }

    /// How many completions the kernel has lost for good.
    pub fn lost(&mut self) -> u32 {
        self.ring.completion().overflow()
    }

    /// How many completions are in the queue now.
    pub fn ready(&mut self) -> usize {
        self.ring.completion().len()
    }

    /// One enter that submits and waits for `want` completions or until `limit` has passed.
    pub fn park(&mut self, want: usize, limit: Duration) -> io::Result<usize> {
        let limit = Timespec::new().sec(limit.as_secs()).nsec(limit.subsec_nanos());
        self.ring.submitter().submit_with_args(want, &SubmitArgs::new().timespec(&limit))
    }

    /// Takes what is in the queue, without a call into the kernel.
    pub fn reap(&mut self) -> Vec<Cqe> {
        let cqes: Vec<Cqe> = self
            .ring
            .completion()
            .map(|cqe| Cqe { tag: cqe.user_data(), res: cqe.result(), flags: cqe.flags() })
            .collect();
        self.in_flight -= cqes.iter().filter(|cqe| !cqe.more()).count();
        cqes
    }

    /// Submits, and waits until `count` completions have come or `limit` has passed. Returns at most `count`.
    pub fn wait(&mut self, count: usize, limit: Duration) -> io::Result<Vec<Cqe>> {
        let until = Instant::now() + limit;
        self.ring.submit()?;
        loop {
            let new = self.reap();
            self.arrived.extend(new);
            let left = until.saturating_duration_since(Instant::now());
            if self.arrived.len() >= count || left.is_zero() {
                let count = count.min(self.arrived.len());
                return Ok(self.arrived.drain(..count).collect());
            }
            match self.park(1, left) {
                Err(error) if ![libc::ETIME, libc::EINTR].contains(&code(&error)) => {
                    return Err(error);
                }
                _ => {}
            }
        }
    }

    /// Waits for one completion; none in `limit` is an error.
    pub fn next(&mut self, limit: Duration) -> io::Result<Cqe> {
        let one = self.wait(1, limit)?.pop();
        one.ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, "no completion came"))
    }

    fn drain(&mut self) -> io::Result<()> {
        let until = Instant::now() + Duration::from_secs(2);
        if self.in_flight > 0 {
            self.cancel(CancelBuilder::any().all(), TAG_OF_DROP)?;
        }
        while self.in_flight > 0 && Instant::now() < until {
            self.wait(1, QUIET_TURN)?;
        }
        Ok(())
    }
}

impl AsRawFd for Lab {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

/// How long one turn of the last drain waits.
const QUIET_TURN: Duration = Duration::from_millis(50);

impl Drop for Lab {
    fn drop(&mut self) {
        let drained = self.drain().is_ok() && self.in_flight == 0;
        if !drained {
            // Ring, pages and pools stay as they are: the kernel may still write.
            return;
        }
        // SAFETY: each is dropped once, here; nothing is in flight, so the kernel holds no address of ours.
        unsafe {
            ManuallyDrop::drop(&mut self.ring);
            ManuallyDrop::drop(&mut self.lent);
            ManuallyDrop::drop(&mut self.pools);
        }
    }
}
