//! Tests of what travels: tasks as messages, and those that are refused.

use super::*;
use crate::base::inbox::Inbox;
use crate::base::message::{Fate, Kind, Message, Table};
use crate::task::tests::{Bench, Spawn, finished};
use std::future::ready;
use std::sync::Arc;

#[test]
fn a_task_travels_as_a_message_and_a_refused_one_stays_in_its_list() {
    unsafe fn ignore(_: std::ptr::NonNull<Node>, _: Fate) {}
    let bench = Arc::new(Bench::default());
    let inbox = Inbox::new(Box::new(|| ()));
    let (arrives, refused) = (bench.spawn(ready(7)), bench.spawn(ready(8)));
    inbox.push_send(bench.next().unwrap().into_message()).unwrap();
    let message = inbox.take_send().next().unwrap();
    Notified::from_message(message).unwrap().unwrap().run();
    assert_eq!(finished(arrives).unwrap(), 7);
    drop(inbox.close());
    drop(inbox.push_send(bench.next().unwrap().into_message()).unwrap_err());
    assert_eq!(bench.owned.len(), 1);
    bench.owned.close_and_shutdown();
    assert!(finished(refused).unwrap_err().is_cancelled());
    let node = Node::new(Kind::Other, &Table { handle: ignore });
    // SAFETY: the node outlives its message and is not reference-counted.
    let other = unsafe { Message::from_raw(std::ptr::NonNull::from(&node)) };
    assert!(Notified::from_message(other).is_err());
}
