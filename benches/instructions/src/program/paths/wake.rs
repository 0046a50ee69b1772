//! A wake on the core of the task.
//!
//! Owns the crew too: tasks that wait for wakes and count them.

use super::{BATCH, Tally, on_any, on_core, stretch};
use ringwork::runtime::Runtime;
use ringwork::task::JoinHandle;
use std::cell::Cell;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

pub(super) fn local(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || wakes(rounds, |crew| ringwork::spawn_local(crew.member())));
}

pub(super) fn send(runtime: &Runtime, rounds: usize) {
    on_any(runtime, wakes(rounds, |crew| ringwork::spawn(crew.member())));
}

async fn wakes(rounds: usize, spawn: impl Fn(Arc<Crew>) -> JoinHandle<()>) {
    let crew = Crew::gathered(spawn).await;
    let wakers = crew.wakers();
    for _ in 0..rounds {
        let polled = crew.polls.get();
        stretch(|| wakers.iter().for_each(Waker::wake_by_ref));
        crew.polled(polled + BATCH as u64).await;
    }
    crew.dismiss(&wakers);
}

thread_local! {
    /// The task of this core that waits for a crew, which costs no lock that would be counted.
    static WAITER: Cell<Option<Waker>> = const { Cell::new(None) };
}

/// Tasks of one core that do nothing when they are woken.
#[derive(Debug, Default)]
pub(super) struct Crew {
    wakers: Mutex<Vec<Waker>>,
    pub(super) polls: Tally,
    /// The number of polls that somebody waits for.
    awaited: AtomicU64,
    is_over: AtomicBool,
}

impl Crew {
    /// [`BATCH`] of them, all of which wait.
    pub(super) async fn gathered(spawn: impl Fn(Arc<Crew>) -> JoinHandle<()>) -> Arc<Self> {
        let crew = Arc::new(Self::default());
        (0..BATCH).for_each(|_| drop(spawn(Arc::clone(&crew))));
        crew.polled(BATCH as u64).await;
        crew
    }

    pub(super) fn wakers(&self) -> Vec<Waker> {
        self.wakers.lock().expect("nobody panics here").clone()
    }

    /// Waits until there have been so many polls; on the core of the crew.
    pub(super) async fn polled(&self, count: u64) {
        self.awaited.store(count, Ordering::Relaxed);
        poll_fn(|cx| {
            if self.polls.get() >= count {
                return Poll::Ready(());
            }
            WAITER.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Ends them all.
    pub(super) fn dismiss(&self, wakers: &[Waker]) {
        self.is_over.store(true, Ordering::Release);
        wakers.iter().for_each(Waker::wake_by_ref);
    }

    pub(super) async fn member(self: Arc<Self>) {
        poll_fn(|cx| {
            if self.is_over.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            if self.polls.get() < BATCH as u64 {
                self.wakers.lock().expect("nobody panics here").push(cx.waker().clone());
            }
            self.polls.add_one();
            if self.polls.get() == self.awaited.load(Ordering::Relaxed) {
                WAITER.take().expect("somebody waits").wake();
            }
            Poll::Pending
        })
        .await;
    }
}
