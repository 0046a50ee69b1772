//! A parcel: a reference-counted value that can be sent to a core's inbox, without unsafe code in its own
//! room.
//!
//! Owns the conversion between `Arc<Parcel<T>>` and a [`Message`]. The room above implements [`Deliver`] in
//! safe code. It is not for tasks and cells, whose memory is laid out by their own rooms.

use super::inbox::Inbox;
use super::message::{Fate, Kind, Message, Node, Table};
use std::ptr::NonNull;
use std::sync::Arc;

/// What a parcel's content does when its message arrives or cannot arrive.
pub(crate) trait Deliver: Send + Sync + Sized + 'static {
    /// On the core it was sent to. `requests` are the bits asked for since the last delivery.
    fn deliver(parcel: Arc<Parcel<Self>>, requests: u32);

    /// On any thread: the core is gone.
    fn dispose(parcel: Arc<Parcel<Self>>, requests: u32);
}

/// A value with the link that lets it travel.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Parcel<T> {
    node: Node,
    /// What the parcel is for.
    pub(crate) value: T,
}

impl<T: Deliver> Parcel<T> {
    /// A parcel that is in no list.
    pub(crate) fn new(value: T) -> Arc<Self> {
        Arc::new(Self { node: Node::new(Kind::Other, &Table { handle: handle::<T> }), value })
    }

    /// Asks the core behind `inbox` for `bits`. If the core is gone, the content is disposed of here and now.
    pub(crate) fn request(self: &Arc<Self>, inbox: &Inbox, bits: u32) {
        if !self.node.request(bits) {
            return;
        }
        let owned: *const Parcel<T> = Arc::into_raw(Arc::clone(self));
        // SAFETY: `owned` is a whole reference; `request` said that the node is in no list; `handle::<T>`
        // takes the reference back and `Deliver: Send + Sync` lets it do so on any thread.
        let message = unsafe { Message::from_raw(NonNull::new_unchecked(owned.cast_mut().cast::<Node>())) };
        drop(inbox.push_pinned(message).err());
    }
}

/// The node's function: turns the node back into the parcel and calls its content.
unsafe fn handle<T: Deliver>(node: NonNull<Node>, fate: Fate) {
    // SAFETY: the node is the first field of a `repr(C)` parcel that `request` turned into this raw pointer.
    let parcel = unsafe { Arc::from_raw(node.as_ptr().cast_const().cast::<Parcel<T>>()) };
    let requests = parcel.node.take_requests();
    match fate {
        Fate::Delivered => T::deliver(parcel, requests),
        Fate::Disposed => T::dispose(parcel, requests),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Log(AtomicU32, AtomicU32);

    impl Deliver for Log {
        fn deliver(parcel: Arc<Parcel<Self>>, requests: u32) {
            parcel.value.0.fetch_add(requests, Ordering::SeqCst);
        }

        fn dispose(parcel: Arc<Parcel<Self>>, requests: u32) {
            parcel.value.1.fetch_add(requests, Ordering::SeqCst);
        }
    }

    #[test]
    fn requests_are_delivered_once_or_disposed_of_after_the_close() {
        let inbox = Inbox::new(Box::new(|| ()));
        let parcel = Parcel::new(Log(AtomicU32::new(0), AtomicU32::new(0)));
        parcel.request(&inbox, 1);
        parcel.request(&inbox, 2);
        inbox.take_pinned().for_each(Message::deliver);
        assert_eq!(parcel.value.0.load(Ordering::SeqCst), 3);
        drop(inbox.close());
        parcel.request(&inbox, 4);
        assert_eq!(parcel.value.1.load(Ordering::SeqCst), 4);
        assert_eq!(Arc::strong_count(&parcel), 1);
    }
}
