//! The inbox: the only way into a core from outside.
//!
//! A core is reached by pushing a [`Message`], the intrusive node of a task, a cell, a timer entry, a pool or
//! a call, onto one of two lanes and knocking on its door:
//!
//! - the *pinned* lane has one consumer, the core itself: wakes of `!Send` tasks, cancels, remote submits,
//!   timer messages, buffer returns, calls;
//! - the *Send* lane holds `Send` tasks only; a hungry core may empty it.
//!
//! Both lanes are take-all stacks (push: compare-exchange of the head; take: the whole chain at once, turned
//! round, so that order is kept). A push never allocates and never waits for another thread.
//!
//! # Protocol
//! Pusher: (P1) link the node and publish it by compare-exchange; (P2) `fetch_or(RUNG)` on the door's word;
//! if the word said exactly PARKED, (P3) ring the doorbell (the eventfd of the core). Core: (C1)
//! `swap(PARKED)`; (C2) look into both lanes (and whatever else its park re-check names); (C3) if anything is
//! there, `swap(AWAKE)` and go on, else (C4) block in the kernel, then `swap(AWAKE)`. All these are SeqCst.
//! Proof sketch: if C2 missed a push then C1 precedes P1 in the single order, so P2 comes after C1 and finds
//! PARKED (or another pusher's RUNG, whose doorbell is already on its way): the core is rung.
//!
//! # Looking before parking
//! A core for which it pays ([`spin`](super::spin)) looks for a moment before it parks: (C0)
//! `swap(SPINNING)`; then both lanes; then nothing but the word, until it says RUNG or the time is up, when
//! it goes on with C1. A pusher's P2 finds SPINNING and rings nobody. If its push came after the look into
//! the lanes, so does its P2, and the word says RUNG; if C1 wipes that out before it is seen, P1 precedes C1
//! and C2 finds the push.
//!
//! # Closing
//! [`Inbox::close`] swaps each head for a mark. A later pusher gets its message back and disposes of it
//! itself.
//!
//! Rejected: a Vyukov queue for the pinned lane. Its push is one swap, but it has a moment in which the node
//! is in the list and not yet linked, and it cannot be closed by one swap.
//!
//! Models: `tests/loom` (`inbox_*`). The inbox is not a channel of values: it owns no memory.

use super::message::{Message, Node};
use super::spin;
use super::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::fmt;
use std::ptr::{self, NonNull};

/// A take-all stack of nodes that hands them out in the order they came.
#[derive(Debug)]
pub(crate) struct Lane {
    head: AtomicPtr<Node>,
}

fn closed_mark() -> *mut Node {
    ptr::without_provenance_mut(1)
}

impl Lane {
    /// An empty, open lane.
    pub(crate) fn new() -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Adds a message.
    ///
    /// # Errors
    /// The message, if the lane is closed.
    pub(crate) fn push(&self, message: Message) -> Result<(), Message> {
        // Acquire: who finds the lane closed has seen what its core did before it closed it.
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            if head == closed_mark() {
                return Err(message);
            }
            // SAFETY: a message's node is in no list, so its link belongs to who holds the message: us.
            message.node().next.with_mut(|next| unsafe { *next = head });
            let node = message.address().as_ptr();
            match self.head.compare_exchange_weak(head, node, Ordering::SeqCst, Ordering::Acquire) {
                Ok(_) => {
                    // The list has it now, with its reference.
                    std::mem::forget(message);
                    return Ok(());
                }
                Err(now) => head = now,
            }
        }
    }

    /// Whether there is nothing to take.
    pub(crate) fn is_empty(&self) -> bool {
        let head = self.head.load(Ordering::SeqCst);
        head.is_null() || head == closed_mark()
    }

    /// Takes all; compare-exchange and not swap, because a thief must not undo a close.
    pub(crate) fn take(&self) -> Batch {
        let mut head = self.head.load(Ordering::SeqCst);
        loop {
            if head.is_null() || head == closed_mark() {
                return Batch { first: ptr::null_mut() };
            }
            match self.head.compare_exchange_weak(head, ptr::null_mut(), Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Batch::turned(head),
                Err(now) => head = now,
            }
        }
    }

    /// Closes the lane and takes all.
    pub(crate) fn close(&self) -> Batch {
        let head = self.head.swap(closed_mark(), Ordering::SeqCst);
        if head == closed_mark() { Batch { first: ptr::null_mut() } } else { Batch::turned(head) }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        drop(self.close());
    }
}

/// Messages taken from a lane, oldest first. Those not taken out of it are disposed of.
#[derive(Debug)]
pub(crate) struct Batch {
    first: *mut Node,
}

impl Batch {
    /// Turns a stack (newest first) round.
    fn turned(newest: *mut Node) -> Self {
        let mut first = ptr::null_mut();
        let mut at = newest;
        while let Some(node) = NonNull::new(at) {
            // SAFETY: the chain was taken whole, so all its nodes are ours until we hand them on.
            unsafe { node.as_ref() }.next.with_mut(|next| {
                // SAFETY: as above: nobody else reads or writes this link.
                unsafe {
                    at = *next;
                    *next = first;
                }
            });
            first = node.as_ptr();
        }
        Self { first }
    }
}

impl Iterator for Batch {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let node = NonNull::new(self.first)?;
        // SAFETY: the node is still ours; its link is read before the node is handed out and may be pushed
        // anew.
        self.first = unsafe { node.as_ref() }.next.with(|next| unsafe { *next });
        // SAFETY: it is out of the list now, with the reference that `push` gave the list.
        Some(unsafe { Message::from_raw(node) })
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

const AWAKE: u32 = 0;
const PARKED: u32 = 1;
const RUNG: u32 = 2;
const SPINNING: u32 = 4;

/// A core's two lanes and its door.
pub(crate) struct Inbox {
    pinned: Lane,
    send: Lane,
    word: AtomicU32,
    rung: AtomicU64,
    bell: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("word", &self.word).finish_non_exhaustive()
    }
}

impl Inbox {
    /// An open inbox whose doorbell is `bell`: a call that makes the blocked core return from the kernel.
    pub(crate) fn new(bell: Box<dyn Fn() + Send + Sync>) -> Self {
        Self {
            pinned: Lane::new(),
            send: Lane::new(),
            word: AtomicU32::new(AWAKE),
            rung: AtomicU64::new(0),
            bell,
        }
    }

    /// Sends a message to the core itself.
    ///
    /// # Errors
    /// The message, if the core is gone.
    pub(crate) fn push_pinned(&self, message: Message) -> Result<(), Message> {
        self.pinned.push(message)?;
        spin::calls();
        self.knock();
        Ok(())
    }

    /// Sends a `Send` task; a hungry core may take it instead.
    ///
    /// # Errors
    /// As [`Inbox::push_pinned`].
    pub(crate) fn push_send(&self, message: Message) -> Result<(), Message> {
        self.send.push(message)?;
        spin::calls();
        self.knock();
        Ok(())
    }

    /// Rings the doorbell if the core is parked and not yet rung (P2, P3).
    pub(crate) fn knock(&self) {
        if self.word.fetch_or(RUNG, Ordering::SeqCst) == PARKED {
            self.rung.fetch_add(1, Ordering::Relaxed);
            (self.bell)();
        }
    }

    /// Core: takes all of the pinned lane.
    pub(crate) fn take_pinned(&self) -> Batch {
        self.pinned.take()
    }

    /// Core or thief: takes all of the Send lane.
    pub(crate) fn take_send(&self) -> Batch {
        self.send.take()
    }

    /// Whether both lanes are empty (part of the park re-check, C2).
    pub(crate) fn is_empty(&self) -> bool {
        self.pinned.is_empty() && self.send.is_empty()
    }

    /// Core: says that it looks for a moment (C0). The lanes must be looked into after this.
    pub(crate) fn spin(&self) {
        self.word.swap(SPINNING, Ordering::SeqCst);
    }

    /// Core, after [`spin`](Self::spin): whether somebody has knocked since.
    pub(crate) fn was_knocked_at(&self) -> bool {
        // Acquire: who sees the knock (P2) finds what was pushed before it (P1).
        self.word.load(Ordering::Acquire) & RUNG != 0
    }

    /// Whether the core looks for work, and nobody has knocked yet.
    pub(crate) fn is_spinning(&self) -> bool {
        self.word.load(Ordering::SeqCst) == SPINNING
    }

    /// Core: says that it is about to block (C1). The lanes must be looked into after this.
    pub(crate) fn park(&self) {
        self.word.swap(PARKED, Ordering::SeqCst);
    }

    /// Core: says that it is awake again (C3, C4). Returns whether it was rung meanwhile.
    pub(crate) fn unpark(&self) -> bool {
        self.word.swap(AWAKE, Ordering::SeqCst) & RUNG != 0
    }

    /// Whether the core is blocked or about to block, and has not been rung.
    pub(crate) fn is_parked(&self) -> bool {
        self.word.load(Ordering::SeqCst) == PARKED
    }

    /// Whether the core is blocked (or about to) although it has been rung.
    pub(crate) fn is_rung(&self) -> bool {
        self.word.load(Ordering::Relaxed) == PARKED | RUNG
    }

    /// Whether tasks wait in the Send lane.
    pub(crate) fn has_send(&self) -> bool {
        !self.send.is_empty()
    }

    /// How often the doorbell was rung.
    pub(crate) fn times_rung(&self) -> u64 {
        self.rung.load(Ordering::Relaxed)
    }

    /// Core: closes both lanes; what was in them comes back for disposal (pinned first).
    pub(crate) fn close(&self) -> (Batch, Batch) {
        (self.pinned.close(), self.send.close())
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Fate, Kind, Table};
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    static DISPOSED: AtomicUsize = AtomicUsize::new(0);

    unsafe fn handle(_: NonNull<Node>, fate: Fate) {
        if fate == Fate::Disposed {
            DISPOSED.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn nodes() -> Vec<Node> {
        (0..3).map(|_| Node::new(Kind::Other, &Table { handle })).collect()
    }

    fn message(node: &Node) -> Message {
        // SAFETY: the tests' nodes outlive their inbox, are pushed once and are not reference-counted.
        unsafe { Message::from_raw(NonNull::from(node)) }
    }

    fn counting() -> (Inbox, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let bell = Arc::clone(&count);
        let inbox = Inbox::new(Box::new(move || {
            bell.fetch_add(1, Ordering::SeqCst);
        }));
        (inbox, count)
    }

    #[test]
    fn rings_are_counted_beyond_what_32_bits_hold() {
        let (inbox, _) = counting();
        inbox.rung.store(u32::MAX.into(), Ordering::Relaxed);
        inbox.park();
        inbox.knock();
        assert_eq!(inbox.times_rung(), 1 << 32);
    }

    #[test]
    fn messages_come_out_in_the_order_they_went_in() {
        let (nodes, (inbox, _)) = (nodes(), counting());
        for node in &nodes {
            inbox.push_pinned(message(node)).unwrap();
        }
        let taken: Vec<_> = inbox.take_pinned().map(Message::into_raw).collect();
        let expected: Vec<_> = nodes.iter().map(NonNull::from).collect();
        assert_eq!(taken, expected);
        assert!(inbox.is_empty());
    }

    #[test]
    fn the_doorbell_rings_once_and_only_while_parked() {
        let (nodes, (inbox, rings)) = (nodes(), counting());
        inbox.push_pinned(message(&nodes[0])).unwrap();
        assert_eq!(rings.load(Ordering::SeqCst), 0);
        inbox.park();
        inbox.push_pinned(message(&nodes[1])).unwrap();
        inbox.push_pinned(message(&nodes[2])).unwrap();
        assert_eq!(rings.load(Ordering::SeqCst), 1);
        assert_eq!(inbox.take_pinned().map(Message::deliver).count(), 3);
    }

    #[test]
    fn a_closed_inbox_gives_the_message_back_and_a_dropped_one_is_disposed_of() {
        let (nodes, (inbox, _)) = (nodes(), counting());
        inbox.push_send(message(&nodes[0])).unwrap();
        let before = DISPOSED.load(Ordering::SeqCst);
        drop(inbox.close());
        assert!(DISPOSED.load(Ordering::SeqCst) > before);
        let refused = inbox.push_send(message(&nodes[1])).unwrap_err();
        refused.into_raw();
        assert!(inbox.take_send().next().is_none());
    }
}
