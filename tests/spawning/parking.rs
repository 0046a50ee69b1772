//! Work that comes up just as a core is about to sleep, out of code that the core calls between its turns: it
//! is run, and not slept on.

use crate::kit::{Event, bounded, runtime, wait_for};
use ringwork::net::TcpStream;
use ringwork::runtime::Runtime;
use std::io::{Read, Write};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

/// Spawns a local task when it is woken or dropped, as an executor inside a task may.
struct Spawns(Event);

impl Spawns {
    fn act(&self) {
        let event = self.0.clone();
        drop(ringwork::spawn_local(async move { event.set() }));
    }
}

impl Wake for Spawns {
    fn wake(self: Arc<Self>) {
        self.act();
    }
}

fn waker(event: &Event) -> Waker {
    Waker::from(Arc::new(Spawns(event.clone())))
}

/// Waits until the only core sleeps, with `ops` ops in flight.
fn asleep(runtime: &Runtime, ops: u64) {
    let core = || runtime.handle().metrics().cores[0].clone();
    wait_for("the core to sleep", || {
        let before = core();
        std::thread::sleep(Duration::from_millis(5));
        let now = core();
        now.in_flight >= ops && now.tasks > 0 && before == now
    });
}

#[test]
fn a_task_spawned_by_a_timers_waker_runs() {
    bounded(|| {
        let runtime = runtime(1);
        for _ in 0..20 {
            let task = runtime.handle().spawn_on(0, || async {
                let ran = Event::default();
                let waker = waker(&ran);
                let mut nap = Box::pin(ringwork::time::sleep(Duration::from_millis(2)));
                // Nothing but the timer wakes this core until its waker has spawned.
                let _ = nap.as_mut().poll(&mut Context::from_waker(&waker));
                if !nap.is_elapsed() {
                    ran.wait().await;
                }
            });
            runtime.block_on(task).unwrap();
        }
    });
}

#[test]
fn a_task_spawned_by_a_completions_waker_runs() {
    bounded(|| {
        let runtime = runtime(1);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for pooled in [false, true] {
            let task = runtime.handle().spawn_on(0, move || async move {
                let stream = TcpStream::connect(address).await.unwrap();
                let ran = Event::default();
                let waker = waker(&ran);
                let mut cx = Context::from_waker(&waker);
                // One that the core completes for its caller, one that it completes for the stream.
                let (mut one, mut two) =
                    (Box::pin(stream.recv(Vec::with_capacity(1))), Box::pin(stream.recv_pooled()));
                match pooled {
                    true => assert!(two.as_mut().poll(&mut cx).is_pending()),
                    false => assert!(one.as_mut().poll(&mut cx).is_pending()),
                }
                ran.wait().await;
            });
            let (mut peer, _) = listener.accept().unwrap();
            asleep(&runtime, 1);
            peer.write_all(b"x").unwrap();
            runtime.block_on(task).unwrap();
        }
    });
}

#[test]
fn a_task_spawned_by_the_end_of_another_one_is_run() {
    bounded(|| {
        let runtime = runtime(1);
        for _ in 0..20 {
            let ran = Event::default();
            let waker = waker(&ran);
            let go = Event::default();
            let gate = go.clone();
            let task = runtime.handle().spawn_on(0, move || async move {
                let mut child = Box::pin(ringwork::spawn_local(async move { gate.wait().await }));
                let _ = child.as_mut().poll(&mut Context::from_waker(&waker));
                ran.wait().await;
            });
            asleep(&runtime, 0);
            go.set();
            runtime.block_on(task).unwrap();
        }
    });
}

/// Bytes whose drop spawns.
struct Payload(Vec<u8>, Spawns);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.1.act();
    }
}

#[test]
fn a_task_spawned_by_the_drop_of_what_an_op_owned_runs() {
    bounded(|| {
        let runtime = runtime(1);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let task = runtime.handle().spawn_on(0, move || async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let ran = Event::default();
            // More than the socket takes, so that it is still being sent when nobody waits for it any more.
            let payload = Payload(vec![7; 32 << 20], Spawns(ran.clone()));
            let mut send = Box::pin(stream.send_all(bytes::Bytes::from_owner(payload)));
            assert!(crate::kit::poll_once(&mut send).await.is_pending());
            drop(send);
            ran.wait().await;
        });
        let (mut peer, _) = listener.accept().unwrap();
        asleep(&runtime, 1);
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all.len()
        });
        runtime.block_on(task).unwrap();
        assert_eq!(reading.join().unwrap(), 32 << 20);
    });
}
