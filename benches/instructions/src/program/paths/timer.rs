//! Timers: set, cancelled, and fired.

use super::{BATCH, on_core, stretch_if};
use crate::program::{clock, step};
use ringwork::runtime::Runtime;
use ringwork::time::{Duration, Sleep, sleep};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

type Timer = Pin<Box<Option<Sleep>>>;

/// What counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Insert,
    Cancel,
    Fire,
}

pub(super) fn insert(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || timers(rounds, Part::Insert));
}

pub(super) fn cancel(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || timers(rounds, Part::Cancel));
}

pub(super) fn fire(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || timers(rounds, Part::Fire));
}

async fn timers(rounds: usize, part: Part) {
    let mut timers: Vec<Timer> = (0..BATCH).map(|_| Box::pin(None)).collect();
    for _ in 0..rounds {
        let set = poll_fn(|cx| {
            stretch_if(part == Part::Insert, || set(&mut timers, part, cx));
            Poll::Ready(())
        });
        set.await;
        if part == Part::Fire {
            clock::advance(AT);
            step::begin();
            fired(&mut timers).await;
            step::end();
        }
        stretch_if(part == Part::Cancel, || timers.iter_mut().for_each(|timer| timer.set(None)));
    }
}

/// When those that fire do.
const AT: Duration = Duration::from_millis(20);

/// Those that do not fire are spread over four seconds, and so over the levels of a wheel.
fn set(timers: &mut [Timer], part: Part, cx: &mut Context<'_>) {
    let mut after = AT;
    for timer in timers {
        timer.set(Some(sleep(after)));
        assert!(timer.as_mut().as_pin_mut().expect("just made").poll(cx).is_pending(), "it is not time yet");
        if part != Part::Fire {
            after += Duration::from_millis(123);
        }
    }
}

/// Waits for a wake, and looks at all.
async fn fired(timers: &mut [Timer]) {
    let mut is_woken = false;
    poll_fn(|cx| {
        if !std::mem::replace(&mut is_woken, true) {
            return Poll::Pending;
        }
        let left =
            |timer: &mut Timer| timer.as_mut().as_pin_mut().is_some_and(|timer| timer.poll(cx).is_pending());
        if timers.iter_mut().any(left) { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}
