//! What travels through an [`inbox`](super::inbox): an intrusive node with a reference to its owner.
//!
//! Owns [`Node`], which is embedded in whatever can be sent to a core, and [`Message`].
//!
//! # One list at a time
//! A node sits in at most one list. Tasks ensure it with their NOTIFIED bit; everyone else with
//! [`Node::request`]: the first request since the last [`Node::take_requests`] owes the push, later ones only
//! add a bit. What travels is a [`Message`]: a node together with one reference to its owner. Existence is
//! proof: whoever holds the message holds that reference, and a message that is dropped disposes of it.
//!
//! It is not for values: a message owns no memory.

use super::sync::{AtomicU32, Ordering, UnsafeCell};
use std::ptr::{self, NonNull};

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has reached its core and is handled on the core's thread.
    Delivered,
    /// The core is gone (or going): the reference is given up on whatever thread this is.
    Disposed,
}

/// What a node is embedded in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A task: the scheduler takes it out with its own means, and its function is only ever to dispose of it.
    Task {
        /// It runs when its core has nothing else to do, and never leaves it. Here because there is room in
        /// the byte.
        background: bool,
    },
    /// Anything else knows itself what to do.
    Other,
}

/// What is done with the nodes of one kind of owner.
///
/// It may be the first field of an owner's own `repr(C)` table, which the owner then reaches from its node:
/// one pointer in each owner instead of two.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Table {
    /// Called with a node and the reference that travels with it when its message is delivered or disposed
    /// of.
    pub(crate) handle: unsafe fn(NonNull<Node>, Fate),
}

/// The intrusive link. Embedded as the *first* field of a `repr(C)` struct, so node and owner share an
/// address.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Node {
    /// For the lane that the node is in ([`inbox`](super::inbox)).
    pub(super) next: UnsafeCell<*mut Node>,
    table: NonNull<Table>,
    requests: AtomicU32,
    kind: Kind,
}

// SAFETY: `next` belongs to whoever holds the node (the pusher until it is published, then the taker); the
// rest is atomic or constant, as is the table.
unsafe impl Send for Node {}
// SAFETY: as above.
unsafe impl Sync for Node {}

impl Node {
    /// A node that is in no list.
    #[inline]
    pub(crate) fn new(kind: Kind, table: &'static Table) -> Self {
        // SAFETY: a reference that lives as long as the program.
        unsafe { Self::with_table_at(kind, NonNull::from_ref(table)) }
    }

    /// A node that is in no list, whose table may be the first field of a larger one: [`table`](Self::table)
    /// gives back this very pointer, good for as much as it is good for here.
    ///
    /// # Safety
    /// `table` can be read, and does not change, as long as the program runs.
    #[inline]
    pub(crate) unsafe fn with_table_at(kind: Kind, table: NonNull<Table>) -> Self {
        Self { next: UnsafeCell::new(ptr::null_mut()), table, requests: AtomicU32::new(0), kind }
    }

    /// Its table, as it was given.
    #[inline]
    pub(crate) fn table(&self) -> NonNull<Table> {
        self.table
    }

    fn handle(&self) -> unsafe fn(NonNull<Node>, Fate) {
        // SAFETY: who made the node guarantees that the table can be read.
        unsafe { self.table.as_ref() }.handle
    }

    /// What it is embedded in.
    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    fn is_task(&self) -> bool {
        matches!(self.kind, Kind::Task { .. })
    }

    /// Adds request bits; true if the caller now owes the push (nobody had asked since the last take).
    #[must_use = "the first request must push the node"]
    pub(crate) fn request(&self, bits: u32) -> bool {
        debug_assert_ne!(bits, 0);
        self.requests.fetch_or(bits, Ordering::AcqRel) == 0
    }

    /// Taker: the requests made so far. From here on the node may be pushed again.
    pub(crate) fn take_requests(&self) -> u32 {
        self.requests.swap(0, Ordering::AcqRel)
    }
}

/// A node on its way, with one reference to what it is embedded in.
#[must_use = "dropping a message disposes of it"]
#[derive(Debug)]
pub(crate) struct Message(NonNull<Node>);

// SAFETY: whoever makes a message (`from_raw`) guarantees that its owner may be reached from any thread.
unsafe impl Send for Message {}

impl Message {
    /// Makes the message that carries `node`.
    ///
    /// # Safety
    /// The node is in no list, the caller gives up one reference to its owner, and the node's function may be
    /// called on any thread with [`Fate::Disposed`].
    pub(crate) unsafe fn from_raw(node: NonNull<Node>) -> Self {
        Self(node)
    }

    /// Gives the node and its reference to the caller.
    pub(crate) fn into_raw(self) -> NonNull<Node> {
        let node = self.0;
        std::mem::forget(self);
        node
    }

    /// Where the node is, for a list that is to have the message.
    pub(super) fn address(&self) -> NonNull<Node> {
        self.0
    }

    /// Whether this is a task that wants to run.
    pub(crate) fn is_task(&self) -> bool {
        self.node().is_task()
    }

    /// Home core: handles a message that is not a task.
    pub(crate) fn deliver(self) {
        assert!(!self.is_task(), "broken invariant: tasks are taken out by the scheduler");
        let handle = self.node().handle();
        // SAFETY: the message owns a reference to the node's owner and gives it to the function.
        unsafe { handle(self.into_raw(), Fate::Delivered) }
    }

    pub(super) fn node(&self) -> &Node {
        // SAFETY: the message owns a reference to what the node is embedded in.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: the reference is given to the function, once, because the message ends here.
        unsafe { (self.node().handle())(self.0, Fate::Disposed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe fn ignore(_: NonNull<Node>, _: Fate) {}

    #[test]
    fn a_repeated_request_only_sets_a_bit() {
        let node = Node::new(Kind::Other, &Table { handle: ignore });
        assert!(node.request(1));
        assert!(!node.request(4));
        assert_eq!(node.take_requests(), 5);
        assert!(node.request(2));
    }
}
