//! Reads of a file: through the ring, in parts and as a whole, and on the spot.

use super::{BATCH, on_core, stretch_if};
use crate::program::step;
use ringwork::fs::{File, ReadAt};
use ringwork::runtime::Runtime;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Bytes of a read.
const LENGTH: usize = 64;

type Op<'a> = Pin<Box<Option<ReadAt<'a, Box<[u8]>>>>>;

pub(super) fn alone(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || reads(rounds, false));
}

pub(super) fn cached(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || reads(rounds, true));
}

pub(super) fn submit(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || in_parts(rounds, true));
}

pub(super) fn complete(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || in_parts(rounds, false));
}

/// This program: a file on a disk, as a rule, and in the page cache, or it would not run.
async fn file(on_the_spot: bool) -> File {
    let file = File::open("/proc/self/exe").await.expect("this program is a file");
    file.cached_reads(on_the_spot);
    file
}

/// Room for a read; all of it each time, which a vector that has been filled does not offer.
fn buffer() -> Box<[u8]> {
    vec![0; LENGTH].into_boxed_slice()
}

async fn reads(rounds: usize, on_the_spot: bool) {
    let file = file(on_the_spot).await;
    let mut buffer = buffer();
    step::begin();
    for _ in 0..rounds * BATCH {
        let (result, back) = file.read_at(buffer, 0).await;
        assert_eq!(result.expect("an open file can be read"), LENGTH);
        buffer = back;
    }
    step::end();
}

async fn in_parts(rounds: usize, submit_counts: bool) {
    let file = file(false).await;
    let mut ops: Vec<Op<'_>> = (0..BATCH).map(|_| Box::pin(None)).collect();
    let mut buffers: Vec<Box<[u8]>> = (0..BATCH).map(|_| buffer()).collect();
    for _ in 0..rounds {
        let submit = poll_fn(|cx| {
            stretch_if(submit_counts, || submit_all(&file, &mut ops, &mut buffers, cx));
            Poll::Ready(())
        });
        submit.await;
        if !submit_counts {
            step::begin();
        }
        complete_all(&mut ops, &mut buffers).await;
        step::end();
    }
}

fn submit_all<'a>(file: &'a File, ops: &mut [Op<'a>], buffers: &mut Vec<Box<[u8]>>, cx: &mut Context<'_>) {
    for op in ops {
        let buffer = buffers.pop().expect("one for each op");
        op.set(Some(file.read_at(buffer, 0)));
        assert!(op.as_mut().as_pin_mut().expect("just made").poll(cx).is_pending(), "the ring completes it");
    }
}

/// Waits for a wake, then takes what is there, until all is.
async fn complete_all(ops: &mut [Op<'_>], buffers: &mut Vec<Box<[u8]>>) {
    let mut is_woken = false;
    poll_fn(|cx| {
        if !std::mem::replace(&mut is_woken, true) {
            return Poll::Pending;
        }
        for slot in ops.iter_mut() {
            let Some(op) = slot.as_mut().as_pin_mut() else { continue };
            if let Poll::Ready((result, buffer)) = op.poll(cx) {
                assert_eq!(result.expect("an open file can be read"), LENGTH);
                buffers.push(buffer);
                slot.set(None);
            }
        }
        if buffers.len() == BATCH { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
