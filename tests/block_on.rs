//! `block_on`: futures polled on threads that are no core.

mod kit;

use futures_util::future::join;
use kit::{Event, bounded, echo_server, process, runtime, talk};
use ringwork::net::{TcpListener, TcpStream};
use ringwork::runtime::{Builder, Handle};
use ringwork::time::{Duration, Instant, sleep};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

fn panic_message(call: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(call)).expect_err("it panics");
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload.downcast::<&str>().expect("a message").to_string(),
    }
}

/// Both ends of a connection, each over the ring.
async fn loopback() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (client, server) = join(TcpStream::connect(address), listener.accept()).await;
    let (client, (server, _)) = (client?, server?);
    client.send_all("across").await.0?;
    assert_eq!(&server.recv_pooled().await?[..], b"across");
    server.send_all("and back").await.0?;
    let (received, buf) = client.recv(Vec::with_capacity(64)).await;
    assert_eq!((received?, &buf[..]), (8, &b"and back"[..]));
    drop(server);
    assert!(client.recv_pooled().await?.is_empty());
    Ok(())
}

#[test]
fn sockets_files_and_timers_work_from_a_plain_thread() {
    bounded(|| {
        let runtime = runtime(1);
        runtime.block_on(async {
            loopback().await.unwrap();
            assert!(!ringwork::fs::read("Cargo.toml").await.unwrap().is_empty());
            let begun = Instant::now();
            sleep(Duration::from_millis(5)).await;
            assert!(begun.elapsed() >= Duration::from_millis(5));
        });
    });
}

#[test]
fn a_blocking_job_may_block_on_ops_of_its_own_runtime() {
    bounded(|| {
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        let job = runtime.handle().spawn_blocking(move || {
            handle.block_on(async {
                loopback().await.unwrap();
                ringwork::spawn(async { 7 }).await.unwrap()
            })
        });
        assert_eq!(runtime.block_on(job).unwrap(), 7);
        // Without a handle of its own as well: the pool's threads are inside the runtime.
        let job = runtime.handle().spawn_blocking(|| Handle::current().block_on(loopback()));
        runtime.block_on(job).unwrap().unwrap();
    });
}

#[test]
fn two_threads_block_on_at_once_and_both_make_progress() {
    bounded(|| {
        let runtime = runtime(2);
        let (here, there) = (Event::default(), Event::default());
        let chat = |mine: Event, theirs: Event| {
            let handle = runtime.handle().clone();
            thread::spawn(move || {
                handle.block_on(async {
                    loopback().await.unwrap();
                    mine.set();
                    // Done only if the other one gets there while this one is still blocked.
                    theirs.wait().await;
                    sleep(Duration::from_millis(2)).await;
                })
            })
        };
        let threads = [chat(here.clone(), there.clone()), chat(there, here)];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn another_executor_does_io_after_enter() {
    bounded(|| {
        let runtime = runtime(1);
        let _guard = runtime.handle().enter();
        futures_executor::block_on(async {
            loopback().await.unwrap();
            sleep(Duration::from_millis(1)).await;
            assert_eq!(ringwork::spawn(async { 3 }).await.unwrap(), 3);
        });
    });
}

#[test]
fn a_socket_made_under_one_executor_goes_on_under_another() {
    bounded(|| {
        let runtime = runtime(2);
        let echo = echo_server();
        let connect = async move { TcpStream::connect(echo).await };
        let stream = runtime.block_on(runtime.spawn(connect)).unwrap().unwrap();
        let _guard = runtime.enter();
        futures_executor::block_on(async {
            stream.send_all("one").await.0.unwrap();
            assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"one");
        });
        let on_a_core = async move {
            stream.send_all("two").await.0.unwrap();
            stream.recv_pooled().await.unwrap().to_vec()
        };
        assert_eq!(runtime.block_on(runtime.spawn(on_a_core)).unwrap(), b"two");
    });
}

#[test]
fn without_a_runtime_in_reach_everything_panics_and_names_enter() {
    use futures_executor::block_on;
    let address = echo_server();
    let calls: [(&str, Box<dyn FnOnce()>); 8] = [
        ("connect", Box::new(move || drop(block_on(TcpStream::connect(address))))),
        // Not only where it would have to wait.
        ("unix", Box::new(|| drop(block_on(ringwork::net::UnixStream::connect("/nobody/listens"))))),
        (
            "accept",
            Box::new(|| drop(block_on(async { TcpListener::bind("127.0.0.1:0").await?.accept().await }))),
        ),
        ("file", Box::new(|| drop(block_on(ringwork::fs::read("Cargo.toml"))))),
        ("sleep", Box::new(|| block_on(sleep(Duration::from_millis(1))))),
        ("lookup", Box::new(|| drop(block_on(TcpStream::connect("localhost:1"))))),
        ("spawn", Box::new(|| drop(ringwork::spawn(async {})))),
        ("blocking", Box::new(|| drop(ringwork::spawn_blocking(|| ())))),
    ];
    for (what, call) in calls {
        let message = panic_message(call);
        assert!(message.contains("Handle::enter"), "{what}: {message}");
    }
    assert!(Handle::try_current().is_none());
}

#[test]
fn an_op_made_outside_and_first_polled_inside_works() {
    bounded(|| {
        let stream = TcpStream::connect(echo_server());
        let pause = sleep(Duration::from_millis(1));
        let runtime = runtime(1);
        runtime.block_on(async {
            pause.await;
            stream.await.unwrap();
        });
    });
}

#[test]
fn block_on_on_a_core_panics_and_says_what_to_do() {
    bounded(|| {
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        let nested = runtime.spawn(async move { panic_message(|| handle.block_on(async {})) });
        let message = runtime.block_on(nested).unwrap();
        assert!(message.contains("spawn_blocking"), "{message}");
        // Nor may it block on another runtime.
        let other = kit::runtime(1);
        let other = other.handle().clone();
        let nested = runtime.spawn(async move { panic_message(|| other.block_on(async {})) });
        assert!(runtime.block_on(nested).unwrap().contains("block_on"));
    });
}

#[test]
fn run_main_on_a_core_panics_and_says_what_to_do() {
    bounded(|| {
        let (outer, inner) = (runtime(1), runtime(1));
        let nested = outer.spawn(async move { panic_message(|| inner.run_main(|| async {})) });
        let message = outer.block_on(nested).unwrap();
        assert!(message.contains("run_main") && message.contains("spawn_blocking"), "{message}");
        // Nor on a core of its own, which would wait for itself.
        let (said, heard) = std::sync::mpsc::channel();
        let handle = outer.handle().clone();
        drop(handle.spawn(async move { said.send(panic_message(|| outer.run_main(|| async {}))) }));
        assert!(heard.recv().unwrap().contains("run_main"));
    });
}

#[test]
fn block_on_inside_block_on_works_on_a_plain_thread() {
    bounded(|| {
        let (outer, inner) = (runtime(1), runtime(1));
        outer.block_on(async {
            inner.block_on(loopback()).unwrap();
            outer.block_on(loopback()).unwrap();
            loopback().await.unwrap();
        });
    });
}

#[test]
fn a_runtime_can_be_made_and_dropped_inside_block_on_and_inside_a_task() {
    bounded(|| {
        let outer = runtime(1);
        outer.block_on(async { drop(runtime(1)) });
        let nested = outer.spawn(async { drop(runtime(1)) });
        outer.block_on(nested).unwrap();
        outer.block_on(loopback()).unwrap();
    });
}

#[test]
fn guards_nest_and_go_in_any_order() {
    let (one, three) = (runtime(1), runtime(3));
    assert!(Handle::try_current().is_none());
    let first = one.handle().enter();
    let second = three.handle().enter();
    assert_eq!(Handle::current().cores(), 3);
    let again = one.handle().enter();
    assert_eq!(Handle::current().cores(), 1);
    drop(second);
    assert_eq!(Handle::current().cores(), 1);
    drop(again);
    assert_eq!(Handle::current().cores(), 1);
    let last = three.handle().enter();
    drop(first);
    assert_eq!(Handle::current().cores(), 3);
    three.block_on(async { assert_eq!(Handle::current().cores(), 3) });
    one.block_on(async { assert_eq!(Handle::current().cores(), 1) });
    drop(last);
    assert!(Handle::try_current().is_none());
}

#[test]
fn the_current_handle_is_known_wherever_the_runtime_is() {
    bounded(|| {
        let runtime = Builder::new().cores(1).build().unwrap();
        let known = || Handle::try_current().is_some();
        assert!(runtime.block_on(async move { known() }));
        assert!(runtime.block_on(runtime.spawn(async move { known() })).unwrap());
        assert!(runtime.block_on(runtime.handle().spawn_blocking(known)).unwrap());
        assert!(!thread::spawn(known).join().unwrap());
        assert!(!known());
    });
}

#[test]
fn a_panic_in_block_on_comes_out_and_leaves_the_runtime_usable() {
    bounded(|| {
        let runtime = runtime(1);
        let message = panic_message(|| runtime.block_on(async { panic!("in block_on") }));
        assert_eq!(message, "in block_on");
        assert!(Handle::try_current().is_none());
        runtime.block_on(loopback()).unwrap();
    });
}

#[test]
fn wakes_from_many_threads_are_not_lost() {
    bounded(|| {
        let runtime = runtime(1);
        for _ in 0..200 {
            let event = Event::default();
            let setter = event.clone();
            let thread = thread::spawn(move || setter.set());
            runtime.block_on(event.wait());
            thread.join().unwrap();
        }
    });
}

#[test]
fn block_on_costs_no_cpu_while_it_waits() {
    process::alone(|| {
        let runtime = runtime(1);
        runtime.block_on(loopback()).unwrap();
        let before = process::cpu_time();
        runtime.block_on(sleep(Duration::from_millis(500)));
        let used = process::cpu_time() - before;
        assert!(used < Duration::from_millis(20), "{used:?}");
    });
}

#[test]
fn many_threads_share_one_core() {
    bounded(|| {
        let runtime = runtime(1);
        let echo = echo_server();
        let talkers = (0..8).map(|_| {
            let handle = runtime.handle().clone();
            thread::spawn(move || {
                for _ in 0..20 {
                    handle.block_on(talk(echo, "a message")).unwrap();
                }
            })
        });
        let talkers: Vec<_> = talkers.collect();
        talkers.into_iter().for_each(|talker| talker.join().unwrap());
    });
}
