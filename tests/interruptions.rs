//! What the system does to a process from outside: fork, stop and go, interrupted calls.

mod kit;

use futures_executor::block_on;
use kit::process::{self, CHILD_SECONDS, alone, in_child, kill, threads_named};
use kit::{Event, bounded, echo_server, poll_once, runtime, talk, wait_for};
use ringwork::fs::{self, File};
use ringwork::net::{TcpListener, TcpStream, UnixStream};
use ringwork::runtime::Runtime;
use ringwork::signal::Signal;
use ringwork::time::{Duration, Instant, sleep};
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

fn assert_forked(what: &str, error: std::io::Error) {
    assert!(error.to_string().contains("forked"), "{what}: {error}");
}

/// A runtime at rest, with a stream, a listener and a file in use.
fn settled() -> (Runtime, std::net::SocketAddr) {
    let runtime = runtime(2);
    let echo = echo_server();
    runtime.block_on(runtime.spawn(talk(echo, "hello"))).unwrap().unwrap();
    runtime.block_on(sleep(Duration::from_millis(20)));
    (runtime, echo)
}

#[test]
fn every_op_fails_in_a_forked_child_and_says_why() {
    alone(|| {
        let (runtime, echo) = settled();
        let stream = runtime.block_on(TcpStream::connect(echo)).unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let file = runtime.block_on(File::open("Cargo.toml")).unwrap();
        let _guard = runtime.handle().enter();
        let code = in_child(|| {
            block_on(async {
                assert_forked("connect", TcpStream::connect(echo).await.unwrap_err());
                assert_forked("a lookup", TcpStream::connect("localhost:1").await.unwrap_err());
                assert_forked("recv", stream.recv(Vec::with_capacity(8)).await.0.unwrap_err());
                assert_forked("recv_pooled", stream.recv_pooled().await.unwrap_err());
                assert_forked("send", stream.send_all("x").await.0.unwrap_err());
                assert_forked("read", file.read_at(Vec::with_capacity(8), 0).await.0.unwrap_err());
                assert_forked("open", File::open("Cargo.toml").await.unwrap_err());
                listener.accept().await.expect_err("no accept in a child");
                assert_forked("set_len", file.set_len(1).await.unwrap_err());
                assert_forked("canonicalize", fs::canonicalize(".").await.unwrap_err());
                assert_forked("read_dir", fs::read_dir(".").await.unwrap_err());
            });
        });
        assert_eq!(code, 0);
        // The parent goes on, on the same objects.
        runtime.block_on(async {
            stream.send_all("hello").await.0.unwrap();
            assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"hello");
        });
    });
}

#[test]
fn every_op_fails_in_a_child_that_a_core_forked() {
    alone(|| {
        let (runtime, echo) = settled();
        let forked = runtime.spawn(async move {
            let stream = TcpStream::connect(echo).await.unwrap();
            let file = File::open("Cargo.toml").await.unwrap();
            stream.send_all("hello").await.0.unwrap();
            assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"hello");
            let code = in_child(|| {
                block_on(async {
                    assert_forked("connect", TcpStream::connect(echo).await.unwrap_err());
                    assert_forked("send", stream.send_all("x").await.0.unwrap_err());
                    assert_forked("read", file.read_at([0; 8], 0).await.0.unwrap_err());
                    drop(stream.recv_pooled());
                    drop((stream, file));
                });
            });
            assert_eq!(code, 0);
            talk(echo, "after the fork").await.unwrap();
        });
        runtime.block_on(forked).unwrap();
    });
}

#[test]
fn a_child_that_a_core_forked_and_that_goes_on_as_one_rests() {
    alone(|| {
        let (runtime, _) = settled();
        let forked = runtime.spawn(async {
            // SAFETY: the test is alone in its process. The child is killed below, or by its own alarm.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: a system call without memory.
                unsafe { libc::alarm(CHILD_SECONDS) };
            }
            child
        });
        let child = runtime.block_on(forked).unwrap();
        // Nothing happens there: that is what is looked at.
        thread::sleep(Duration::from_millis(500));
        kill(child as u32, libc::SIGKILL);
        // SAFETY: an all-zero rusage is valid; both calls write to locals.
        let used = unsafe {
            let (mut status, mut used): (i32, libc::rusage) = (0, std::mem::zeroed());
            assert_eq!(libc::wait4(child, &raw mut status, 0, &raw mut used), child);
            assert_eq!(libc::WTERMSIG(status), libc::SIGKILL);
            used
        };
        let micros = [used.ru_utime, used.ru_stime].map(|time| time.tv_sec * 1_000_000 + time.tv_usec);
        assert!(micros.iter().sum::<i64>() < 60_000, "it was busy: {micros:?}");
    });
}

#[test]
fn dropping_the_runtime_in_a_forked_child_neither_hangs_nor_hurts_the_parent() {
    alone(|| {
        let (runtime, echo) = settled();
        let stream = runtime.block_on(TcpStream::connect(echo)).unwrap();
        let mut both = Some((runtime, stream));
        let code = in_child(|| {
            let (runtime, stream) = both.take().unwrap();
            drop(stream);
            drop(runtime);
        });
        assert_eq!(code, 0);
        let (runtime, stream) = both.take().unwrap();
        runtime.block_on(async {
            stream.send_all("hello").await.0.unwrap();
            assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"hello");
        });
        runtime.block_on(runtime.spawn(talk(echo, "hello"))).unwrap().unwrap();
        assert!(runtime.shutdown_timeout(Duration::from_secs(20)).is_clean());
    });
}

/// There are no cores in the child: what needs one must not wait for it.
#[test]
fn tasks_timers_and_jobs_do_not_hang_in_a_forked_child() {
    alone(|| {
        let (runtime, _) = settled();
        let _guard = runtime.handle().enter();
        runtime.block_on(ringwork::spawn_blocking(|| ())).unwrap();
        let code = in_child(|| {
            assert_eq!(runtime.handle().metrics().blocking_threads, 0, "they are the parent's");
            let asleep = AssertUnwindSafe(|| block_on(sleep(Duration::from_secs(3600))));
            catch_unwind(asleep).expect_err("nobody could wake it");
            assert!(block_on(ringwork::spawn(async {})).unwrap_err().is_cancelled());
            assert!(block_on(ringwork::spawn_on(1, || async {})).unwrap_err().is_cancelled());
            assert!(block_on(ringwork::spawn_blocking(|| ())).unwrap_err().is_cancelled());
        });
        assert_eq!(code, 0);
        runtime.block_on(runtime.spawn(async {})).unwrap();
    });
}

/// A SIGHUP of this process is told, and none was before.
async fn hears_what_is_sent_to_this_process(hangup: &Signal, echo: std::net::SocketAddr) {
    let mut waiting = pin!(hangup.recv());
    assert!(kit::poll_once(&mut waiting).await.is_pending());
    // A delivery that had been counted would be read before this is over.
    talk(echo, "hello").await.unwrap();
    assert!(kit::poll_once(&mut waiting).await.is_pending());
    kill(std::process::id(), libc::SIGHUP);
    waiting.await.unwrap();
}

/// A child keeps the parent's handlers until it execs.
#[test]
fn a_signal_to_a_forked_child_is_not_told_to_its_parent() {
    alone(|| {
        let (runtime, echo) = settled();
        let hangup = Signal::new(&[libc::SIGHUP]).unwrap();
        assert_eq!(in_child(|| kill(std::process::id(), libc::SIGHUP)), 0);
        let waiting = runtime.spawn(async move {
            hears_what_is_sent_to_this_process(&hangup, echo).await;
        });
        runtime.block_on(waiting).unwrap();
    });
}

/// As of a program that listens first and then becomes a daemon.
#[test]
fn a_signal_made_before_a_fork_is_told_to_whichever_process_it_is_sent_to() {
    alone(|| {
        let echo = echo_server();
        let hangup: &Signal = Box::leak(Box::new(Signal::new(&[libc::SIGHUP]).unwrap()));
        let hears_its_own = || {
            let own = runtime(1);
            own.run_main(move || hears_what_is_sent_to_this_process(hangup, echo));
        };
        assert_eq!(in_child(hears_its_own), 0);
        hears_its_own();
    });
}

#[test]
fn futures_in_flight_are_dropped_in_a_forked_child_without_harm() {
    alone(|| {
        let (runtime, echo) = settled();
        let stream = runtime.block_on(TcpStream::connect(echo)).unwrap();
        let _guard = runtime.handle().enter();
        let mut receive = Some(stream.recv_pooled());
        let mut nap = Some(Box::pin(sleep(Duration::from_secs(3600))));
        block_on(async {
            assert!(kit::poll_once(receive.as_mut().unwrap()).await.is_pending());
            assert!(kit::poll_once(nap.as_mut().unwrap()).await.is_pending());
        });
        wait_for("the receive", || runtime.handle().metrics().cores.iter().any(|c| c.in_flight > 0));
        let code = in_child(|| drop((receive.take(), nap.take())));
        assert_eq!(code, 0);
        // The parent's own are as they were.
        runtime.block_on(async {
            stream.send_all("hello").await.0.unwrap();
            assert_eq!(&receive.take().unwrap().await.unwrap()[..], b"hello");
        });
    });
}

#[test]
fn a_forked_child_cannot_start_a_runtime_and_is_told_what_to_do() {
    alone(|| {
        let (runtime, echo) = settled();
        let code = in_child(|| {
            let error = ringwork::runtime::Builder::new().build().unwrap_err().to_string();
            assert!(error.contains("forked") && error.contains("exec"), "{error}");
            let found = ringwork::runtime::Builder::new().capabilities();
            assert_eq!(found.rings.unwrap_err().to_string(), error, "and it can be known before");
        });
        assert_eq!(code, 0);
        runtime.block_on(talk(echo, "from the parent")).unwrap();
    });
}

#[test]
fn a_process_that_forks_first_has_a_runtime_on_either_side() {
    alone(|| {
        let echo = echo_server();
        let code = in_child(|| {
            let own = runtime(1);
            own.block_on(own.spawn(talk(echo, "from the child"))).unwrap().unwrap();
            assert!(own.shutdown_timeout(Duration::from_secs(5)).is_clean());
        });
        assert_eq!(code, 0);
        let own = runtime(1);
        own.block_on(own.spawn(talk(echo, "from the parent"))).unwrap().unwrap();
    });
}

#[test]
fn a_child_by_exec_holds_none_of_our_descriptors() {
    alone(|| {
        let count = || {
            let list = std::process::Command::new("ls").arg("/proc/self/fd").output().unwrap();
            String::from_utf8(list.stdout).unwrap().lines().count()
        };
        let before = count();
        let (runtime, echo) = settled();
        let _stream = runtime.block_on(TcpStream::connect(echo)).unwrap();
        let _listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let _file = runtime.block_on(File::open("Cargo.toml")).unwrap();
        let _signal = ringwork::signal::Signal::new(&[libc::SIGUSR1]).unwrap();
        assert_eq!(count(), before);
    });
}

/// Echo, timers and files without end, until told; counts rounds.
fn keep_busy(
    runtime: &Runtime,
    over: &Arc<AtomicBool>,
) -> (Vec<ringwork::task::JoinHandle<()>>, Arc<AtomicUsize>) {
    let echo = echo_server();
    let rounds = Arc::new(AtomicUsize::new(0));
    let busy = |core| {
        let (over, rounds) = (Arc::clone(over), Arc::clone(&rounds));
        runtime.handle().spawn_on(core, move || async move {
            let stream = TcpStream::connect(echo).await.unwrap();
            while !over.load(Ordering::Relaxed) {
                stream.send_all("hello").await.0.unwrap();
                let mut heard = 0;
                while heard < 5 {
                    heard += stream.recv_pooled().await.unwrap().len();
                }
                let begun = Instant::now();
                sleep(Duration::from_millis(1)).await;
                assert!(begun.elapsed() >= Duration::from_millis(1), "woken early");
                assert!(!ringwork::fs::read("Cargo.toml").await.unwrap().is_empty());
                assert_eq!(ringwork::spawn_blocking(|| 1).await.unwrap(), 1);
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    ((0..4).map(|n| busy(n % 2)).collect(), rounds)
}

#[test]
fn a_process_that_is_stopped_and_goes_on_loses_nothing() {
    alone(|| {
        bounded(|| {
            let runtime = runtime(2);
            let over = Arc::new(AtomicBool::new(false));
            let (tasks, rounds) = keep_busy(&runtime, &over);
            for _ in 0..5 {
                let before = rounds.load(Ordering::Relaxed);
                wait_for("some rounds", || rounds.load(Ordering::Relaxed) > before + 5);
                process::stop_and_go();
            }
            let before = rounds.load(Ordering::Relaxed);
            wait_for("some rounds more", || rounds.load(Ordering::Relaxed) > before + 5);
            over.store(true, Ordering::Relaxed);
            for task in tasks {
                runtime.block_on(task).unwrap();
            }
            assert!(runtime.shutdown_timeout(Duration::from_secs(20)).is_clean());
        });
    });
}

extern "C" fn nothing(_: i32) {}

/// A handler without SA_RESTART: calls that wait return EINTR.
fn install_interrupter() {
    // SAFETY: an all-zero sigaction is valid and is completed below.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the handler does nothing, which is async-signal-safe.
    let answer = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    assert_eq!(answer, 0);
}

fn interrupt(thread: u32) {
    // SAFETY: a system call without memory; a thread that is gone gives an error that nobody minds.
    unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread, libc::SIGUSR1) };
}

#[test]
fn interrupted_waits_do_no_harm() {
    alone(|| {
        bounded(|| {
            install_interrupter();
            let runtime = runtime(2);
            let over = Arc::new(AtomicBool::new(false));
            let (tasks, rounds) = keep_busy(&runtime, &over);
            let until = Instant::now() + Duration::from_millis(500);
            let mut sent = 0;
            while Instant::now() < until || rounds.load(Ordering::Relaxed) < 50 || sent <= 100 {
                for thread in threads_named("ringwork").into_iter().chain(threads_named("rw-")) {
                    interrupt(thread);
                    sent += 1;
                }
                thread::yield_now();
            }
            over.store(true, Ordering::Relaxed);
            for task in tasks {
                runtime.block_on(task).unwrap();
            }
            assert!(runtime.shutdown_timeout(Duration::from_secs(20)).is_clean());
        });
    });
}

#[test]
fn an_idle_core_that_is_interrupted_parks_again_and_still_hears() {
    alone(|| {
        bounded(|| {
            install_interrupter();
            let runtime = runtime(1);
            for _ in 0..50 {
                let event = Event::default();
                let waiting = runtime.spawn(event.wait());
                threads_named("ringwork").into_iter().for_each(interrupt);
                event.set();
                runtime.block_on(waiting).unwrap();
                threads_named("ringwork").into_iter().for_each(interrupt);
            }
            let before = process::cpu_time();
            thread::sleep(Duration::from_millis(500));
            assert!(process::cpu_time() - before < Duration::from_millis(5));
        });
    });
}

#[test]
fn interrupted_start_and_end_do_no_harm() {
    alone(|| {
        bounded(|| {
            install_interrupter();
            let over = Arc::new(AtomicBool::new(false));
            let stop = Arc::clone(&over);
            let noise = thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    process::threads().into_iter().for_each(|(thread, _)| interrupt(thread));
                }
            });
            for _ in 0..30 {
                let runtime = runtime(2);
                runtime.block_on(runtime.spawn(sleep(Duration::from_millis(1)))).unwrap();
                assert!(runtime.shutdown_timeout(Duration::from_secs(20)).is_clean());
            }
            over.store(true, Ordering::Relaxed);
            noise.join().unwrap();
        });
    });
}

#[test]
fn a_signal_to_the_process_without_a_handler_of_ours_is_not_ours() {
    alone(|| {
        bounded(|| {
            install_interrupter();
            let runtime = runtime(1);
            runtime.block_on(async {
                for _ in 0..100 {
                    kill(std::process::id(), libc::SIGUSR1);
                    sleep(Duration::from_millis(1)).await;
                }
            });
        });
    });
}

/// An open with std is a system call, which the kernel restarts by itself.
#[test]
fn opens_that_wait_go_on_waiting_when_the_process_was_stopped_and_goes_on() {
    alone(|| {
        bounded(|| {
            let (runtime, folder) = (runtime(1), kit::Folder::new());
            let (ours, theirs) = (folder.join("ours"), folder.join("theirs"));
            process::make_fifo(&ours);
            process::make_fifo(&theirs);
            let (to, from) = (theirs.clone(), ours.clone());
            let reading = runtime.spawn(async move { File::open(from).await });
            let writing = runtime.spawn(async move { fs::OpenOptions::new().write(true).open(to).await });
            let mut seen = 0;
            wait_for("both to wait", || {
                let wait = threads_named("iou-wrk").len() >= 2;
                seen = if wait { seen + 1 } else { 0 };
                seen > 20
            });
            process::stop_and_go();
            let _writer = std::fs::OpenOptions::new().write(true).open(&ours).unwrap();
            runtime.block_on(reading).unwrap().expect("a writer has come");
            let _reader = std::fs::File::open(&theirs).unwrap();
            runtime.block_on(writing).unwrap().expect("a reader has come");
        });
    });
}

/// A receive whose bytes others take, again and again, is left to a helper thread in the end.
#[test]
fn a_receive_that_waits_goes_on_waiting_when_the_process_was_stopped_and_goes_on() {
    alone(|| {
        bounded(|| {
            let runtime = runtime(1);
            let (mut peer, ours) = std::os::unix::net::UnixStream::pair().unwrap();
            let mut other = ours.try_clone().unwrap();
            let received = runtime.block_on(runtime.spawn(async move {
                let stream = UnixStream::from_std(ours).unwrap();
                stream.read_ahead(false);
                let mut receive = pin!(stream.recv(Vec::with_capacity(16)));
                while threads_named("iou-wrk").is_empty() {
                    assert!(poll_once(&mut receive).await.is_pending());
                    // Come and gone before the core looks.
                    peer.write_all(b"x").unwrap();
                    other.read_exact(&mut [0]).unwrap();
                    sleep(Duration::from_millis(1)).await;
                }
                process::stop_and_go();
                sleep(Duration::from_millis(1)).await;
                peer.write_all(b"hello").unwrap();
                let (received, bytes) = receive.await;
                received.map(|_| bytes)
            }));
            assert_eq!(received.unwrap().unwrap(), b"hello");
        });
    });
}
