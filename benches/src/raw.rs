//! A ring as the floor programs and the load generator use it: split once, entered once per turn, and a
//! pool of provided buffers beside it. It owns set-up and the unsafe code around both. It is not a
//! runtime: no cells, no wakers, no cancelling; whoever pushes an op keeps its memory alive.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use io_uring::types::BufRingEntry;
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue, types};

const PAGE: usize = 4096;

static WAITS: AtomicU64 = AtomicU64::new(0);

/// Counts a call that waits for the kernel.
pub(crate) fn note_wait() {
    WAITS.fetch_add(1, Ordering::Relaxed);
}

/// How often this process has entered a ring of this file, or an epoll loop of ours; none if it has none.
pub(crate) fn waits() -> Option<u64> {
    Some(WAITS.load(Ordering::Relaxed)).filter(|waits| *waits > 0)
}

/// Both queues of one ring and the way to enter it. The ring lives as long as the process.
pub(crate) struct Lanes {
    submitter: Submitter<'static>,
    sq: SubmissionQueue<'static>,
    cq: CompletionQueue<'static>,
}

impl Lanes {
    /// A ring for the calling thread alone, with the flags that cost least.
    pub(crate) fn new(sq_entries: u32, cq_entries: u32) -> io::Result<Lanes> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_no_sqarray()
            .setup_cqsize(cq_entries)
            .build(sq_entries)?;
        let (mut submitter, sq, cq) = Box::leak(Box::new(ring)).split();
        submitter.register_ring_fd()?;
        Ok(Lanes { submitter, sq, cq })
    }

    /// Queues one op; a full queue is submitted first.
    ///
    /// # Safety
    /// Memory and descriptors that `entry` names stay valid until its final completion.
    pub(crate) unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the caller guarantees what `entry` names.
        while unsafe { self.sq.push(entry) }.is_err() {
            self.sq.sync();
            tolerate(self.submitter.submit())?;
            self.sq.sync();
        }
        Ok(())
    }

    /// Asks the kernel to end whatever it has of this ring, and brings a completion of its own, with
    /// `user_data`, when it has looked. What could not be ended at that moment needs another call.
    pub(crate) fn cancel_all(&mut self, user_data: u64) -> io::Result<()> {
        let everything = types::CancelBuilder::any().all();
        let cancel = opcode::AsyncCancel2::new(everything).build().user_data(user_data);
        // SAFETY: it names no memory and no descriptor.
        unsafe { self.push(&cancel) }
    }

    /// Submits what is queued and waits until `want` completions are there. An interrupted or busy kernel
    /// counts as a turn that brought nothing.
    pub(crate) fn enter(&mut self, want: usize) -> io::Result<()> {
        note_wait();
        self.sq.sync();
        self.cq.sync();
        tolerate(self.submitter.submit_and_wait(want))?;
        self.sq.sync();
        self.cq.sync();
        Ok(())
    }

    /// The next completion of those that the last [`Lanes::enter`] found.
    pub(crate) fn reap(&mut self) -> Option<cqueue::Entry> {
        self.cq.next()
    }
}

fn tolerate(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) => Ok(()),
        Err(e) => Err(e),
    }
}

/// A ring of provided buffers. Its memory is never freed, so no late completion can write into foreign
/// memory.
pub(crate) struct BufPool {
    entries: *mut BufRingEntry,
    memory: *mut u8,
    group: u16,
    count: u16,
    size: u32,
    tail: u16,
    free: u16,
}

impl BufPool {
    /// Registers `count` (a power of two) buffers of `size` bytes as `group`.
    pub(crate) fn new(lanes: &Lanes, group: u16, count: u16, size: u32) -> io::Result<BufPool> {
        assert!(count.is_power_of_two(), "the kernel takes only powers of two");
        let entries = leak(usize::from(count) * size_of::<BufRingEntry>(), PAGE).cast::<BufRingEntry>();
        let memory = leak(usize::from(count) * size as usize, PAGE);
        // SAFETY: `entries` is page aligned, holds `count` entries and is never freed.
        unsafe { lanes.submitter.register_buf_ring_with_flags(entries as u64, count, group, 0)? };
        let mut pool = BufPool { entries, memory, group, count, size, tail: 0, free: 0 };
        (0..count).for_each(|bid| pool.give_back(bid));
        pool.publish();
        Ok(pool)
    }

    /// The number by which receives name this pool.
    pub(crate) fn group(&self) -> u16 {
        self.group
    }

    /// Whether at least half of the buffers wait for data: the point at which a starved receive is armed
    /// again.
    pub(crate) fn is_half_full(&self) -> bool {
        self.free >= self.count / 2
    }

    /// Notes that a completion brought one buffer.
    pub(crate) fn taken(&mut self) {
        self.free -= 1;
    }

    /// Lets the kernel have `bid` again, from the next [`BufPool::publish`] on.
    pub(crate) fn give_back(&mut self, bid: u16) {
        let at = usize::from(self.tail & (self.count - 1));
        let addr = self.address(bid) as u64;
        // SAFETY: `at` is below `count`, and entries between head and tail are the kernel's to read only
        // after `publish`. The fields written do not overlap the tail, which shares the first entry's
        // `resv`.
        let entry = unsafe { &mut *self.entries.add(at) };
        entry.set_addr(addr);
        entry.set_len(self.size);
        entry.set_bid(bid);
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
    }

    /// Makes returned buffers visible to the kernel.
    pub(crate) fn publish(&self) {
        // SAFETY: `entries` is the base of the registered ring, so this is the address of its tail.
        let tail = unsafe { BufRingEntry::tail(self.entries) };
        // SAFETY: the address is aligned and valid for ever; only this thread writes it, the kernel reads
        // it.
        unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.store(self.tail, Ordering::Release);
    }

    /// Where buffer `bid` begins; valid for as long as the process.
    pub(crate) fn address(&self, bid: u16) -> *const u8 {
        assert!(bid < self.count, "the kernel named a buffer that is not ours");
        // SAFETY: `bid` is below `count` and `memory` holds `count` buffers of `size` bytes.
        unsafe { self.memory.add(usize::from(bid) * self.size as usize) }
    }

    /// The first `len` bytes of buffer `bid`, which a completion has brought and nobody has given back.
    pub(crate) fn bytes(&self, bid: u16, len: usize) -> &[u8] {
        assert!(len <= self.size as usize, "more bytes than a buffer holds");
        // SAFETY: inside one buffer; it was zeroed at birth, and the kernel writes it only while it owns
        // it.
        unsafe { std::slice::from_raw_parts(self.address(bid), len) }
    }
}

/// Zeroed memory that is never freed.
pub(crate) fn leak(len: usize, align: usize) -> *mut u8 {
    let layout = Layout::from_size_align(len.next_multiple_of(align), align).expect("a small constant size");
    // SAFETY: the layout is not empty.
    let memory = unsafe { alloc_zeroed(layout) };
    if memory.is_null() {
        handle_alloc_error(layout);
    }
    memory
}

/// `user_data` of one op: what it is, whose it is.
#[derive(Clone, Copy)]
pub(crate) struct Tag {
    pub(crate) kind: u8,
    pub(crate) index: u32,
}

impl Tag {
    pub(crate) fn pack(self) -> u64 {
        u64::from(self.kind) << 32 | u64::from(self.index)
    }

    pub(crate) fn unpack(data: u64) -> Tag {
        Tag { kind: (data >> 32) as u8, index: data as u32 }
    }
}
