//! Models of the inbox (`src/base/inbox.rs`) and of parcels (`src/base/parcel.rs`).
//!
//! A lost doorbell shows as a deadlock, a lost message as a wrong count or a leaked `Arc`, a node touched
//! by two sides as a data race: loom reports all three.

use super::explore;
use crate::base::inbox::Inbox;
use crate::base::message::{Fate, Kind, Message, Node, Table};
use crate::base::parcel::{Deliver, Parcel};
use loom::sync::{Arc, Notify};
use loom::thread;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Something that travels and remembers what became of it. The counters are the model's log, not part of it.
#[repr(C)]
struct Item {
    node: Node,
    delivered: AtomicU32,
    disposed: AtomicU32,
}

/// Makes an item and its message, which owns the second reference.
fn item() -> (Arc<Item>, Message) {
    let node = Node::new(Kind::Other, &Table { handle });
    let item = Arc::new(Item { node, delivered: AtomicU32::new(0), disposed: AtomicU32::new(0) });
    let message = message(&item);
    (item, message)
}

fn message(item: &Arc<Item>) -> Message {
    let raw = Arc::into_raw(Arc::clone(item)).cast_mut().cast::<Node>();
    // SAFETY: `raw` is a whole reference to an item, whose first field is the node; each item is sent once.
    unsafe { Message::from_raw(NonNull::new_unchecked(raw)) }
}

/// The node's function.
unsafe fn handle(node: NonNull<Node>, fate: Fate) {
    // SAFETY: `message` made this pointer from a whole reference, and the message gives it up here.
    let item = unsafe { Arc::from_raw(node.as_ptr().cast_const().cast::<Item>()) };
    match fate {
        Fate::Delivered => item.delivered.fetch_add(1, Ordering::SeqCst),
        Fate::Disposed => item.disposed.fetch_add(1, Ordering::SeqCst),
    };
}

fn counts(item: &Item) -> (u32, u32) {
    (item.delivered.load(Ordering::SeqCst), item.disposed.load(Ordering::SeqCst))
}

fn silent() -> Inbox {
    Inbox::new(Box::new(|| ()))
}

/// Runs a core's loop until `expected` messages were delivered: take, park, look again, block.
fn run_core(inbox: &Inbox, bell: &Notify, expected: usize) {
    let mut seen = 0;
    loop {
        seen += inbox.take_pinned().chain(inbox.take_send()).map(Message::deliver).count();
        if seen == expected {
            return;
        }
        inbox.park();
        if inbox.is_empty() {
            bell.wait();
        }
        inbox.unpark();
    }
}

fn pushes_against_park(preemptions: usize, pinned: usize, send: usize) {
    explore(preemptions, move || {
        let bell = Arc::new(Notify::new());
        let ring = Arc::clone(&bell);
        let inbox = Arc::new(Inbox::new(Box::new(move || ring.notify())));
        let (first, second) = (Arc::clone(&inbox), Arc::clone(&inbox));
        let pushers = [
            thread::spawn(move || {
                (0..pinned).for_each(|_| first.push_pinned(item().1).expect("open"));
            }),
            thread::spawn(move || {
                (0..send).for_each(|_| second.push_send(item().1).expect("open"));
            }),
        ];
        run_core(&inbox, &bell, pinned + send);
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
    });
}

/// Two pushers, one on each lane, against a core that parks: it never sleeps through a message.
pub fn no_doorbell_is_lost() {
    pushes_against_park(2, 1, 1);
}

/// The same with two messages on the pinned lane and more preemptions.
pub fn no_doorbell_is_lost_deep() {
    pushes_against_park(3, 2, 1);
}

/// Two pushers against a core that looks once before it parks: whether the push comes before the look,
/// between look and park, or later, it is not slept through.
pub fn no_message_is_lost_between_look_and_park() {
    explore(2, || {
        let bell = Arc::new(Notify::new());
        let ring = Arc::clone(&bell);
        let inbox = Arc::new(Inbox::new(Box::new(move || ring.notify())));
        let pushers = push_from_two(&inbox);
        let mut seen = 0;
        while seen < 2 {
            inbox.spin();
            if inbox.is_empty() && !inbox.was_knocked_at() {
                inbox.park();
                if inbox.is_empty() {
                    bell.wait();
                }
            }
            inbox.unpark();
            seen += inbox.take_pinned().chain(inbox.take_send()).map(Message::deliver).count();
        }
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
    });
}

/// Two pushers against a core that looks for as long as it takes: what the lanes did not show, the word does,
/// and nobody rings.
pub fn a_core_that_looks_hears_every_push_in_the_word() {
    explore(2, || {
        let inbox = Arc::new(Inbox::new(Box::new(|| panic!("the core is awake"))));
        let pushers = push_from_two(&inbox);
        let mut seen = 0;
        while seen < 2 {
            inbox.spin();
            if inbox.is_empty() {
                while !inbox.was_knocked_at() {
                    thread::yield_now();
                }
            }
            inbox.unpark();
            seen += inbox.take_pinned().chain(inbox.take_send()).map(Message::deliver).count();
        }
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
    });
}

fn push_from_two(inbox: &Arc<Inbox>) -> [thread::JoinHandle<()>; 2] {
    let (first, second) = (Arc::clone(inbox), Arc::clone(inbox));
    [
        thread::spawn(move || first.push_pinned(item().1).expect("open")),
        thread::spawn(move || second.push_send(item().1).expect("open")),
    ]
}

fn owner_against_thief(preemptions: usize) {
    explore(preemptions, || {
        let inbox = Arc::new(silent());
        let items: Vec<_> = (0..3).map(|_| item()).collect();
        let (items, messages): (Vec<_>, Vec<_>) = items.into_iter().unzip();
        let mut messages = messages.into_iter();
        inbox.push_send(messages.next().unwrap()).expect("open");
        let (thief, pusher) = (Arc::clone(&inbox), Arc::clone(&inbox));
        let thief = thread::spawn(move || thief.take_send().map(Message::deliver).count());
        let pusher = thread::spawn(move || messages.for_each(|one| pusher.push_send(one).expect("open")));
        let mut seen = inbox.take_send().map(Message::deliver).count();
        seen += thief.join().unwrap();
        pusher.join().unwrap();
        seen += inbox.take_send().map(Message::deliver).count();
        assert_eq!(seen, 3);
        assert!(items.iter().all(|item| counts(item) == (1, 0)));
    });
}

/// Owner and thief empty the Send lane while somebody pushes: every message comes out exactly once.
pub fn owner_and_thief_share_the_send_lane() {
    owner_against_thief(3);
}

/// The same with more preemptions.
pub fn owner_and_thief_share_the_send_lane_deep() {
    owner_against_thief(6);
}

/// Two pushers against the close: a message is disposed of by the close or by its pusher, once.
pub fn nothing_is_lost_in_a_close() {
    explore(3, || {
        let inbox = Arc::new(silent());
        let items = [item(), item()];
        let [(one, first), (two, second)] = items;
        let pushers = [first, second].map(|message| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || drop(inbox.push_pinned(message)))
        });
        let taken = inbox.take_pinned().map(Message::deliver).count() as u32;
        drop(inbox.close());
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
        let (one, two) = (counts(&one), counts(&two));
        assert_eq!((one.0 + two.0, one.0 + one.1, two.0 + two.1), (taken, 1, 1));
    });
}

/// A thief that takes while the lane is closed neither opens it again nor takes what the close took.
pub fn a_thief_does_not_undo_a_close() {
    explore(3, || {
        let inbox = Arc::new(silent());
        let (item, sent) = item();
        inbox.push_send(sent).expect("open");
        let other = Arc::clone(&inbox);
        let thief = thread::spawn(move || other.take_send().map(Message::deliver).count());
        drop(inbox.close());
        thief.join().unwrap();
        let (delivered, disposed) = counts(&item);
        assert_eq!(delivered + disposed, 1);
        assert!(inbox.push_send(message(&item)).is_err());
        assert_eq!(counts(&item), (delivered, disposed + 1));
    });
}

/// A parcel's content: the bits that arrived, and those that could not.
struct Bits(AtomicU32, AtomicU32);

impl Deliver for Bits {
    fn deliver(parcel: std::sync::Arc<Parcel<Self>>, requests: u32) {
        let before = parcel.value.0.fetch_or(requests, Ordering::SeqCst);
        assert_eq!(before & requests, 0, "a request arrives once");
    }

    fn dispose(parcel: std::sync::Arc<Parcel<Self>>, requests: u32) {
        let before = parcel.value.1.fetch_or(requests, Ordering::SeqCst);
        assert_eq!(before & requests, 0, "a request is refused once");
    }
}

/// Two threads ask for different bits while the core takes, then closes: each bit arrives or is refused,
/// once.
pub fn a_request_is_delivered_or_refused_once() {
    explore(4, || {
        let inbox = Arc::new(silent());
        let parcel = Parcel::new(Bits(AtomicU32::new(0), AtomicU32::new(0)));
        let askers = [1, 2].map(|bit| {
            let (inbox, parcel) = (Arc::clone(&inbox), std::sync::Arc::clone(&parcel));
            thread::spawn(move || parcel.request(&inbox, bit))
        });
        inbox.take_pinned().for_each(Message::deliver);
        drop(inbox.close());
        askers.into_iter().for_each(|asker| asker.join().unwrap());
        let (done, refused) = (&parcel.value.0, &parcel.value.1);
        assert_eq!(done.load(Ordering::SeqCst) ^ refused.load(Ordering::SeqCst), 3);
        assert_eq!(std::sync::Arc::strong_count(&parcel), 1);
    });
}
