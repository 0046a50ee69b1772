//! What libraries call of tokio, called from ringwork: on each core, in a task that moves, in the blocking
//! pool, in `block_on`; and ringwork, called from tokio.

use ringwork::runtime::{Builder, Pin};
use ringwork_tokio_context_tests::{builder, runtime, soon, thread_name};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

const MOMENT: Duration = Duration::from_millis(2);
const HOUR: Duration = Duration::from_secs(3600);

/// Two ends of a connection of tokio's.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, accepted) = futures_join(TcpStream::connect(address), listener.accept()).await;
    (client.unwrap(), accepted.unwrap().0)
}

/// Both at once, by a task of tokio's for neither.
async fn futures_join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (Box::pin(a), Box::pin(b));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(|cx| {
        if first.is_none()
            && let std::task::Poll::Ready(output) = a.as_mut().poll(cx)
        {
            first = Some(output);
        }
        if second.is_none()
            && let std::task::Poll::Ready(output) = b.as_mut().poll(cx)
        {
            second = Some(output);
        }
        if first.is_some() && second.is_some() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    (first.unwrap(), second.unwrap())
}

async fn passes(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).await.unwrap();
    let mut read = vec![0; bytes.len()];
    to.read_exact(&mut read).await.unwrap();
    assert_eq!(read, bytes);
}

/// All that libraries call, once.
async fn calls_everything(number: usize) {
    assert!(tokio::spawn(async { thread_name() }).await.unwrap().ends_with("-tokio"));
    assert_eq!(Handle::current().spawn(async move { number + 1 }).await.unwrap(), number + 1);
    sleep(MOMENT).await;
    assert!(timeout(MOMENT, std::future::pending::<()>()).await.is_err());
    assert_eq!(timeout(HOUR, async { 7 }).await.unwrap(), 7);
    let mut ticks = tokio::time::interval(MOMENT);
    ticks.tick().await;
    ticks.tick().await;
    assert_eq!(tokio::task::spawn_blocking(move || number * 2).await.unwrap(), number * 2);
    let path = std::env::temp_dir().join(format!("ringwork-context-{}-{number}", std::process::id()));
    tokio::fs::write(&path, b"kept").await.unwrap();
    assert_eq!(tokio::fs::read(&path).await.unwrap(), b"kept");
    tokio::fs::remove_file(&path).await.unwrap();
    let (mut one, mut other) = pair().await;
    passes(&mut one, &mut other, b"there").await;
    passes(&mut other, &mut one, b"and back").await;
    drop(one);
    assert_eq!(other.read(&mut [0; 1]).await.unwrap(), 0);
}

#[test]
fn everything_a_library_calls_is_there_on_every_core() {
    soon(|| {
        let runtime = runtime(2);
        let tasks: Vec<_> = (0..2)
            .map(|core| {
                runtime.handle().spawn_on(core, move || async move {
                    assert_eq!(ringwork::core::current(), Some(core));
                    calls_everything(core).await;
                    let local = Rc::new(core);
                    ringwork::spawn_local(async move {
                        sleep(MOMENT).await;
                        assert_eq!(ringwork::core::current(), Some(*local));
                    })
                    .await
                    .unwrap();
                })
            })
            .collect();
        for task in tasks {
            runtime.block_on(task).unwrap();
        }
    });
}

#[test]
fn a_task_that_moves_takes_its_timers_and_sockets_along() {
    soon(|| {
        let runtime = runtime(2);
        let task = runtime.spawn(async {
            let (mut one, mut other) = pair().await;
            let (mut round, mut moved) = (0, 0);
            // A core whose thread the machine keeps waiting counts as stuck, and nothing comes to it.
            while round < 20 || moved == 0 {
                let mut later = Box::pin(sleep(MOMENT));
                // Registered on this core, awaited on the other.
                let _ = timeout(Duration::ZERO, &mut later).await;
                moved += u32::from(ringwork::core::move_to(round % 2).await);
                later.await;
                passes(&mut one, &mut other, format!("in round {round}").as_bytes()).await;
                round += 1;
            }
        });
        runtime.block_on(task).unwrap();
    });
}

#[test]
fn everything_is_there_in_block_on_and_in_the_blocking_pool() {
    soon(|| {
        let runtime = runtime(1);
        runtime.block_on(calls_everything(10));
        let in_pool = || Handle::current().block_on(calls_everything(11));
        runtime.block_on(runtime.handle().spawn_blocking(in_pool)).unwrap();
        let heavy = runtime.spawn(async {
            ringwork::spawn_heavy(|| Handle::current().block_on(calls_everything(12))).await.unwrap();
        });
        runtime.block_on(heavy).unwrap();
        assert!(Handle::try_current().is_err(), "the thread that was in block_on is out of it");
    });
}

#[test]
fn a_start_hook_may_call_tokio() {
    soon(|| {
        let (say, said) = mpsc::channel();
        let hook = move |core| {
            let say = say.clone();
            drop(tokio::spawn(async move { say.send(core).unwrap() }));
        };
        let runtime = builder(2).on_core_start(hook).build().unwrap();
        let mut cores = [said.recv().unwrap(), said.recv().unwrap()];
        cores.sort_unstable();
        assert_eq!(cores, [0, 1]);
        drop(runtime);
    });
}

/// All of ringwork that a future may use wherever it is polled.
async fn calls_ringwork() {
    assert_eq!(ringwork::core::current(), None);
    let core = ringwork::spawn(async { ringwork::core::current() }).await.unwrap();
    assert!(core.is_some());
    ringwork::time::sleep(MOMENT).await;
    assert_eq!(ringwork::spawn_blocking(|| 7).await.unwrap(), 7);
    let listener = ringwork::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = ringwork::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    client.send_all("across").await.0.unwrap();
    assert_eq!(&server.recv_pooled().await.unwrap()[..], b"across");
}

#[test]
fn futures_that_tokio_runs_may_call_ringwork() {
    soon(|| {
        let runtime = runtime(2);
        let task = runtime.spawn(async {
            tokio::spawn(calls_ringwork()).await.unwrap();
            let blocking = || Handle::current().block_on(calls_ringwork());
            tokio::task::spawn_blocking(blocking).await.unwrap();
        });
        runtime.block_on(task).unwrap();
    });
}

#[test]
fn no_wake_between_the_two_is_lost() {
    soon(|| {
        let runtime = runtime(2);
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                runtime.spawn(async {
                    let (ask, mut asked) = tokio::sync::mpsc::channel::<u32>(1);
                    let (answer, mut answered) = tokio::sync::mpsc::channel::<u32>(1);
                    let echo = tokio::spawn(async move {
                        while let Some(number) = asked.recv().await {
                            answer.send(number + 1).await.unwrap();
                        }
                    });
                    for number in 0..500 {
                        ask.send(number).await.unwrap();
                        assert_eq!(answered.recv().await, Some(number + 1));
                    }
                    drop(ask);
                    echo.await.unwrap();
                })
            })
            .collect();
        for task in tasks {
            runtime.block_on(task).unwrap();
        }
    });
}

#[test]
fn without_being_asked_for_there_is_no_context() {
    soon(|| {
        let runtime = Builder::new().cores(1).pin(Pin::Off).build().unwrap();
        let is_there = || Handle::try_current().is_ok();
        let on_core = runtime.spawn(async move { is_there() });
        assert!(!runtime.block_on(on_core).unwrap());
        assert!(!runtime.block_on(async { is_there() }));
        assert!(!runtime.block_on(runtime.handle().spawn_blocking(is_there)).unwrap());
    });
}

#[test]
fn a_guard_that_may_be_dropped_in_any_order_holds_no_context() {
    soon(|| {
        let runtime = runtime(1);
        let _entered = runtime.handle().enter();
        assert!(Handle::try_current().is_err());
    });
}

/// The CPUs the calling thread may use, as the kernel lists them.
fn cpus() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap();
    line.to_owned()
}

#[test]
fn tokios_threads_are_not_pinned_where_a_core_started_them() {
    soon(|| {
        let all = cpus();
        let runtime = Builder::new().cores(1).pin(Pin::Each).tokio_context().build().unwrap();
        let task = runtime.spawn(async {
            let helper = tokio::spawn(async { cpus() }).await.unwrap();
            (cpus(), helper, tokio::task::spawn_blocking(cpus).await.unwrap())
        });
        let (core, helper, blocking) = runtime.block_on(task).unwrap();
        assert_eq!((helper, blocking), (all.clone(), all.clone()));
        assert!(core != all || !all.contains(['-', ',']), "the core is pinned");
    });
}
