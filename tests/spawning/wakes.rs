//! Wakes: during a poll, from several sides, amid a drop, out of a dying thread. None is lost, none
//! costs a poll too many.

use crate::kit::{Event, OnDrop, bounded, runtime, wait_for};
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

/// A future that counts its polls, shows its waker, and is ready when told.
#[derive(Clone, Default)]
struct Probe(Arc<ProbeState>);

#[derive(Default)]
struct ProbeState {
    polls: AtomicUsize,
    done: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Probe {
    fn future(&self) -> impl Future<Output = ()> + Send + 'static {
        let state = Arc::clone(&self.0);
        poll_fn(move |cx| {
            *state.waker.lock().unwrap() = Some(cx.waker().clone());
            state.polls.fetch_add(1, Ordering::SeqCst);
            if state.done.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    fn polls(&self) -> usize {
        self.0.polls.load(Ordering::SeqCst)
    }

    fn finish(&self) {
        self.0.done.store(true, Ordering::SeqCst);
        self.waker().wake();
    }

    fn waker(&self) -> Waker {
        wait_for("the first poll", || self.0.waker.lock().unwrap().is_some());
        self.0.waker.lock().unwrap().clone().expect("it was polled")
    }
}

#[test]
fn one_wake_is_one_poll() {
    bounded(|| {
        let runtime = runtime(2);
        let probe = Probe::default();
        let task = runtime.spawn(probe.future());
        wait_for("the first poll", || probe.polls() == 1);
        for wakes in 1..=100 {
            probe.waker().wake();
            wait_for("a poll", || probe.polls() == wakes + 1);
        }
        probe.finish();
        runtime.block_on(task).unwrap();
        assert_eq!(probe.polls(), 102);
    });
}

#[test]
fn a_wake_during_the_poll_makes_exactly_one_more_poll() {
    bounded(|| {
        let runtime = runtime(1);
        let mut polls = 0;
        let task = runtime.spawn(poll_fn(move |cx| {
            polls += 1;
            if polls > 10 {
                return Poll::Ready(polls);
            }
            cx.waker().wake_by_ref();
            cx.waker().wake_by_ref();
            cx.waker().clone().wake();
            Poll::Pending
        }));
        assert_eq!(runtime.block_on(task).unwrap(), 11);
    });
}

#[test]
fn a_remote_wake_during_the_poll_is_not_lost() {
    bounded(|| {
        let runtime = runtime(1);
        for _ in 0..200 {
            let (sender, receiver) = mpsc::channel::<Waker>();
            let waking = thread::spawn(move || receiver.recv().unwrap().wake());
            let mut waking = Some(waking);
            let task = runtime.spawn(poll_fn(move |cx| {
                let Some(waking) = waking.take() else { return Poll::Ready(()) };
                sender.send(cx.waker().clone()).unwrap();
                // Only back from the poll when the wake has happened.
                waking.join().unwrap();
                Poll::Pending
            }));
            runtime.block_on(task).unwrap();
        }
    });
}

#[test]
fn two_remote_wakers_at_once_lose_nothing() {
    bounded(|| {
        let runtime = runtime(2);
        for _ in 0..300 {
            let probe = Probe::default();
            let task = runtime.spawn(probe.future());
            let waker = probe.waker();
            let start = Arc::new(Barrier::new(2));
            let wake = |finish: bool| {
                let (probe, waker, start) = (probe.clone(), waker.clone(), Arc::clone(&start));
                thread::spawn(move || {
                    start.wait();
                    if finish {
                        probe.0.done.store(true, Ordering::SeqCst);
                    }
                    waker.wake();
                })
            };
            let wakers = [wake(false), wake(true)];
            runtime.block_on(task).unwrap();
            wakers.into_iter().for_each(|waker| waker.join().unwrap());
            assert!(probe.polls() <= 3, "{} polls", probe.polls());
        }
    });
}

#[test]
fn a_waker_outlives_its_task_and_wakes_nobody() {
    bounded(|| {
        let runtime = runtime(1);
        let probe = Probe::default();
        let task = runtime.spawn(probe.future());
        let waker = probe.waker();
        probe.finish();
        runtime.block_on(task).unwrap();
        let polls = probe.polls();
        waker.wake_by_ref();
        waker.clone().wake();
        runtime.block_on(runtime.spawn(async {})).unwrap();
        assert_eq!(probe.polls(), polls);
    });
}

#[test]
fn a_wake_while_the_future_is_dropped_does_no_harm() {
    bounded(|| {
        let runtime = runtime(2);
        for local in [false, true] {
            let probe = Probe::default();
            let inner = probe.clone();
            let guard = OnDrop(move || {
                inner.waker().wake_by_ref();
                let waker = inner.waker();
                thread::spawn(move || waker.wake()).join().unwrap();
            });
            let future = probe.future();
            let task = async move {
                let _guard = guard;
                future.await;
            };
            let task = match local {
                true => runtime.handle().spawn_on(0, move || task),
                false => runtime.spawn(task),
            };
            probe.waker();
            task.abort();
            assert!(runtime.block_on(task).unwrap_err().is_cancelled());
            wait_for("no task alive", || runtime.handle().metrics().cores.iter().all(|core| core.tasks == 0));
            assert_eq!(probe.polls(), 1);
        }
    });
}

struct WakeInDestructor(Vec<Waker>);

impl Drop for WakeInDestructor {
    fn drop(&mut self) {
        for waker in self.0.drain(..) {
            waker.wake_by_ref();
            waker.wake();
        }
    }
}

thread_local! {
    static LAST_WORDS: RefCell<WakeInDestructor> = const { RefCell::new(WakeInDestructor(Vec::new())) };
}

#[test]
fn wakes_out_of_a_dying_threads_locals_arrive() {
    bounded(|| {
        let runtime = runtime(2);
        let probe = Probe::default();
        let task = runtime.spawn(probe.future());
        let waker = probe.waker();
        probe.0.done.store(true, Ordering::SeqCst);
        thread::spawn(move || LAST_WORDS.with_borrow_mut(|words| words.0.push(waker)));
        runtime.block_on(task).unwrap();
    });
}

#[test]
fn wakes_out_of_a_dying_cores_locals_do_no_harm() {
    bounded(|| {
        let (short, long) = (runtime(1), runtime(1));
        let probe = Probe::default();
        let task = long.spawn(probe.future());
        let (own, other) = (Probe::default(), probe.waker());
        drop(short.spawn(own.future()));
        let own = own.waker();
        let leave = short.spawn(async move {
            LAST_WORDS.with_borrow_mut(|words| words.0.extend([own, other]));
        });
        short.block_on(leave).unwrap();
        probe.0.done.store(true, Ordering::SeqCst);
        drop(short);
        long.block_on(task).unwrap();
    });
}

#[test]
fn a_task_woken_by_another_core_runs_at_home() {
    bounded(|| {
        let runtime = runtime(2);
        let event = Event::default();
        let wait = event.clone();
        let local = runtime.handle().spawn_on(0, move || async move {
            wait.wait().await;
            ringwork::core::current()
        });
        let set = runtime.handle().spawn_on(1, move || async move { event.set() });
        runtime.block_on(set).unwrap();
        assert_eq!(runtime.block_on(local).unwrap(), Some(0));
    });
}

#[test]
fn two_tasks_on_two_cores_wake_each_other_ten_thousand_times() {
    bounded(|| {
        let runtime = runtime(2);
        let ball = Arc::new((AtomicUsize::new(0), Mutex::new([None::<Waker>, None])));
        let player = |side: usize| {
            let ball = Arc::clone(&ball);
            runtime.handle().spawn_on(side, move || {
                poll_fn(move |cx| {
                    loop {
                        ball.1.lock().unwrap()[side] = Some(cx.waker().clone());
                        let turn = ball.0.load(Ordering::SeqCst);
                        if turn >= 10_000 {
                            let other = ball.1.lock().unwrap()[1 - side].take();
                            other.into_iter().for_each(Waker::wake);
                            return Poll::Ready(());
                        }
                        if turn % 2 != side {
                            return Poll::Pending;
                        }
                        ball.0.store(turn + 1, Ordering::SeqCst);
                        let other = ball.1.lock().unwrap()[1 - side].take();
                        other.into_iter().for_each(Waker::wake);
                    }
                })
            })
        };
        for player in [player(0), player(1)] {
            runtime.block_on(player).unwrap();
        }
    });
}

/// Drops its future when it is woken, as a select does that is decided by another branch.
struct DropsFuture(Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>, mpsc::Sender<()>);

impl Wake for DropsFuture {
    fn wake(self: Arc<Self>) {
        let future = self.0.lock().unwrap().take();
        drop(future);
        let _ = self.1.send(());
    }
}

/// Polls `future` once; its waker drops it. Returns where the wake is told.
fn dropped_by_its_waker(future: impl Future<Output = ()> + Send + 'static) -> mpsc::Receiver<()> {
    let (woken, told) = mpsc::channel();
    let slot = Arc::new(DropsFuture(Mutex::new(None), woken));
    let waker = Waker::from(Arc::clone(&slot));
    let mut future: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(future);
    if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
        // A timer on a busy machine: nobody is woken.
        slot.wake();
        return told;
    }
    *slot.0.lock().unwrap() = Some(future);
    told
}

#[test]
fn a_waker_may_drop_what_it_wakes() {
    bounded(|| {
        let runtime = runtime(1);
        let _guard = runtime.handle().enter();
        let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = peer.local_addr().unwrap();
        let connect = || runtime.block_on(ringwork::net::TcpStream::connect(address)).unwrap();
        for _ in 0..20 {
            let nap = ringwork::time::sleep(Duration::from_millis(2));
            let napping = dropped_by_its_waker(nap);
            let go = Event::default();
            let task = runtime.spawn(go.wait());
            let joining = dropped_by_its_waker(async { task.await.unwrap() });
            go.set();
            // One op in a buffer of the caller's, one in the runtime's; each owns its stream.
            let (one, two) = (connect(), connect());
            let receiving = dropped_by_its_waker(async move {
                let _ = one.recv(Vec::with_capacity(8)).await;
            });
            let pooled = dropped_by_its_waker(async move {
                let _ = two.recv_pooled().await;
            });
            for _ in 0..2 {
                std::io::Write::write_all(&mut peer.accept().unwrap().0, b"hello").unwrap();
            }
            let listener = runtime.block_on(ringwork::net::TcpListener::bind("127.0.0.1:0")).unwrap();
            let other = listener.local_addr().unwrap();
            let accepting = dropped_by_its_waker(async move {
                let _ = listener.accept().await;
            });
            drop(std::net::TcpStream::connect(other).unwrap());
            for told in [napping, joining, receiving, pooled, accepting] {
                told.recv().unwrap();
            }
        }
        assert!(runtime.shutdown_timeout(Duration::from_secs(20)).is_clean());
    });
}

#[test]
fn a_waker_on_a_core_may_drop_what_it_wakes() {
    bounded(|| {
        let runtime = runtime(1);
        let task = runtime.spawn(async {
            let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = peer.local_addr().unwrap();
            for _ in 0..20 {
                let stream = ringwork::net::TcpStream::connect(address).await.unwrap();
                let told = dropped_by_its_waker(async move {
                    let _ = stream.recv_pooled().await;
                });
                std::io::Write::write_all(&mut peer.accept().unwrap().0, b"hello").unwrap();
                let napping = dropped_by_its_waker(ringwork::time::sleep(Duration::from_millis(1)));
                let child = ringwork::spawn(async {});
                let joining = dropped_by_its_waker(async { child.await.unwrap() });
                for told in [told, napping, joining] {
                    while told.try_recv().is_err() {
                        ringwork::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            }
        });
        runtime.block_on(task).unwrap();
        assert!(runtime.shutdown_timeout(Duration::from_secs(20)).is_clean());
    });
}
