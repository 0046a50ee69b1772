//! What a thread that is no core does to a core: wakes and spawns; and how they arrive.
//!
//! Owns the hand-overs. In each round the core stands in a barrier while the other thread acts, so it neither
//! sleeps nor takes anything meanwhile, and the other one while the core does.

use super::wake::Crew;
use super::{BATCH, POLLS_IN_A_TURN, Tally, on_core, stretch, stretch_if, thread_id, until_asleep};
use crate::program::step;
use ringwork::runtime::{Handle, Runtime};
use ringwork::task::{JoinHandle, yield_now};
use std::sync::{Arc, Barrier, mpsc};
use std::task::Waker;
use std::thread;

pub(super) fn wake_local(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || wakes(rounds, Side::Caller, |crew| ringwork::spawn_local(crew.member())));
}

pub(super) fn wake_send(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || wakes(rounds, Side::Caller, |crew| ringwork::spawn(crew.member())));
}

pub(super) fn arrives_local(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || wakes(rounds, Side::Core, |crew| ringwork::spawn_local(crew.member())));
}

pub(super) fn arrives_send(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || wakes(rounds, Side::Core, |crew| ringwork::spawn(crew.member())));
}

/// Who is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Caller,
    Core,
}

async fn wakes(rounds: usize, counted: Side, spawn: impl Fn(Arc<Crew>) -> JoinHandle<()>) {
    let crew = Crew::gathered(spawn).await;
    let wakers = crew.wakers();
    let gate = Arc::new(Barrier::new(2));
    let caller = thread::spawn({
        let (gate, wakers) = (Arc::clone(&gate), wakers.clone());
        move || {
            for _ in 0..rounds {
                gate.wait();
                stretch_if(counted == Side::Caller, || wakers.iter().for_each(Waker::wake_by_ref));
                gate.wait();
            }
        }
    });
    for _ in 0..rounds {
        let polled = crew.polls.get();
        gate.wait();
        gate.wait();
        if counted == Side::Core {
            step::begin();
        }
        crew.polled(polled + BATCH as u64).await;
        step::end();
    }
    caller.join().expect("the caller has woken them");
    crew.dismiss(&wakers);
}

/// The core sleeps before each wake.
pub(super) fn doorbell(runtime: &Runtime, rounds: usize) {
    let (sender, receiver) = mpsc::channel();
    let spawned = runtime.handle().spawn_on(0, move || async move {
        let crew = Crew::gathered(|crew| ringwork::spawn_local(crew.member())).await;
        sender.send((crew, thread_id())).expect("the caller waits");
    });
    runtime.block_on(spawned).expect("the crew gathers");
    let (crew, core) = receiver.recv().expect("they have gathered");
    let wakers = crew.wakers();
    for _ in 0..rounds {
        for waker in &wakers {
            let polled = crew.polls.get();
            until_asleep(core);
            stretch(|| waker.wake_by_ref());
            while crew.polls.get() == polled {
                thread::yield_now();
            }
        }
    }
    crew.dismiss(&wakers);
}

pub(super) fn spawn_send(runtime: &Runtime, rounds: usize) {
    spawns(runtime, rounds, |runtime, life| runtime.spawn(life));
}

pub(super) fn spawn_local(runtime: &Runtime, rounds: usize) {
    spawns(runtime, rounds, |runtime, life| runtime.spawn_on(0, move || life));
}

/// The whole life of a task: it is counted.
struct Life(Arc<Tally>);

impl Future for Life {
    type Output = ();

    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        self.0.add_one();
        std::task::Poll::Ready(())
    }
}

/// Lets at least one turn of the core pass, at the beginning of which it takes messages.
async fn a_turn() {
    for _ in 0..2 * POLLS_IN_A_TURN {
        yield_now().await;
    }
}

fn spawns(runtime: &Runtime, rounds: usize, spawn: fn(&Handle, Life) -> JoinHandle<()>) {
    let (gate, ended) = (Arc::new(Barrier::new(2)), Arc::new(Tally::default()));
    let core = runtime.handle().spawn_on(0, {
        let (gate, ended) = (Arc::clone(&gate), Arc::clone(&ended));
        move || async move {
            for round in 1..=rounds {
                gate.wait();
                gate.wait();
                while ended.get() < (round * BATCH) as u64 {
                    yield_now().await;
                }
                a_turn().await;
                gate.wait();
                gate.wait();
                // The handles were dropped elsewhere, of which messages come.
                a_turn().await;
            }
        }
    });
    let mut handles = Vec::with_capacity(BATCH);
    for _ in 0..rounds {
        let lives: Vec<Life> = (0..BATCH).map(|_| Life(Arc::clone(&ended))).collect();
        gate.wait();
        stretch(|| lives.into_iter().for_each(|life| handles.push(spawn(runtime.handle(), life))));
        gate.wait();
        gate.wait();
        handles.clear();
        gate.wait();
    }
    runtime.block_on(core).expect("the core has taken them");
}
