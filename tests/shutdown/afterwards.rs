//! What outlives its runtime: nothing hangs, nothing is lost twice, ops say that it is gone.

use crate::kit::process::{alone, make_fifo};
use crate::kit::{Event, Folder, OnDrop, bounded, echo_server, poll_once, runtime, wait_for};
use futures_executor::block_on;
use ringwork::buf::PooledBuf;
use ringwork::fs::{File, OpenOptions};
use ringwork::net::{TcpListener, TcpStream, UnixStream};
use ringwork::runtime::{Handle, Runtime};
use ringwork::time::{Duration, sleep};
use socket2::{Domain, SockAddr, Socket, Type};
use std::future::Future;
use std::io::Write;
use std::net;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::Waker;
use std::thread;

/// A connected stream that was used on a core, and its peer.
fn connected(runtime: &Runtime) -> (TcpStream, net::TcpStream) {
    let peer = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = peer.local_addr().unwrap();
    let stream = runtime.spawn(async move {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.send_all("hello").await.0.unwrap();
        stream
    });
    let stream = runtime.block_on(stream).unwrap();
    (stream, peer.accept().unwrap().0)
}

fn assert_gone(what: &str, error: std::io::Error) {
    assert!(error.raw_os_error().is_none(), "{what}: {error}");
    assert!(error.to_string().contains("runtime"), "{what}: {error}");
}

#[test]
fn ops_on_a_dead_runtime_fail_and_say_so() {
    bounded(|| {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        let (stream, _peer) = connected(&runtime);
        let file = runtime.block_on(File::open("Cargo.toml")).unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        drop(runtime);
        let _guard = handle.enter();
        block_on(async {
            assert_gone("connect", TcpStream::connect(address).await.unwrap_err());
            assert_gone("recv", stream.recv(Vec::with_capacity(8)).await.0.unwrap_err());
            assert_gone("recv_pooled", stream.recv_pooled().await.unwrap_err());
            assert_gone("send", stream.send_all("x").await.0.unwrap_err());
            assert_gone("send again", stream.send("x").await.0.unwrap_err());
            assert_gone("vectored", stream.send_vectored(vec!["x"]).await.0.unwrap_err());
            assert_gone("read_at", file.read_at(Vec::with_capacity(8), 0).await.0.unwrap_err());
            assert_gone("write_at", file.write_at("x", 0).await.0.unwrap_err());
            assert_gone("sync", file.sync_all().await.unwrap_err());
            assert_gone("open", File::open("Cargo.toml").await.unwrap_err());
            assert_gone("stat", ringwork::fs::metadata("Cargo.toml").await.err().unwrap());
            assert_gone("set_len", file.set_len(0).await.unwrap_err());
            assert_gone("canonicalize", ringwork::fs::canonicalize(".").await.unwrap_err());
            assert_gone("read_dir", ringwork::fs::read_dir(".").await.unwrap_err());
            listener.accept().await.expect_err("accepts nothing any more");
        });
    });
}

#[test]
fn a_buffer_comes_back_from_a_dead_runtime() {
    bounded(|| {
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        let file = runtime.block_on(File::open("Cargo.toml")).unwrap();
        let (stream, _peer) = connected(&runtime);
        drop(runtime);
        let _guard = handle.enter();
        let (read, buf) = block_on(file.read_at(Vec::with_capacity(123), 0));
        assert!(read.is_err() && buf.capacity() == 123);
        let (sent, buf) = block_on(stream.send(vec![7; 10]));
        assert!(sent.is_err() && buf == [7; 10]);
        let (received, buf) = block_on(stream.recv(Vec::with_capacity(77)));
        assert!(received.is_err() && buf.capacity() == 77);
    });
}

#[test]
fn a_stream_of_a_dead_runtime_goes_on_in_another() {
    bounded(|| {
        let (first, second) = (runtime(1), runtime(1));
        let (stream, mut peer) = connected(&first);
        // Armed in the first runtime.
        let stream = Arc::new(stream);
        let inner = Arc::clone(&stream);
        let waiting = first.spawn(async move { inner.recv_pooled().await.map(|buf| buf.to_vec()) });
        wait_for("the receive", || first.handle().metrics().cores[0].in_flight > 0);
        drop(first);
        assert!(block_on(waiting).unwrap_err().is_cancelled());
        peer.write_all(b"for the second").unwrap();
        let heard = second.spawn(async move { stream.recv_pooled().await.unwrap().to_vec() });
        assert_eq!(second.block_on(heard).unwrap(), b"for the second");
    });
}

#[test]
fn pooled_buffers_are_read_and_dropped_later_and_elsewhere() {
    bounded(|| {
        let runtime = runtime(1);
        let (stream, mut peer) = connected(&runtime);
        peer.write_all(b"bytes that stay").unwrap();
        let task = runtime.spawn(async move { stream.recv_pooled().await.unwrap() });
        let buf: PooledBuf = runtime.block_on(task).unwrap();
        assert!(buf.is_from_pool());
        drop(runtime);
        assert_eq!(&buf[..], b"bytes that stay");
        thread::spawn(move || drop(buf)).join().unwrap();
    });
}

#[test]
fn handles_of_tasks_say_cancelled() {
    bounded(|| {
        let runtime = runtime(2);
        let pending = runtime.spawn(std::future::pending::<()>());
        let asleep = runtime.spawn(sleep(Duration::from_secs(3600)));
        let local = runtime.handle().spawn_on(1, std::future::pending::<()>);
        let done = runtime.spawn(async { 5 });
        wait_for("the end of one", || done.is_finished());
        let handle = runtime.handle().clone();
        drop(runtime);
        assert!(block_on(pending).unwrap_err().is_cancelled());
        assert!(block_on(asleep).unwrap_err().is_cancelled());
        assert!(block_on(local).unwrap_err().is_cancelled());
        assert_eq!(block_on(done).unwrap(), 5);
        // And those of tasks that come too late.
        assert!(block_on(handle.spawn(async {})).unwrap_err().is_cancelled());
        assert!(block_on(handle.spawn_on(1, || async {})).unwrap_err().is_cancelled());
        assert!(block_on(handle.spawn_blocking(|| ())).unwrap_err().is_cancelled());
        assert_eq!(handle.cores(), 2);
        assert!(handle.metrics().cores.iter().all(|core| core.tasks == 0));
    });
}

#[test]
fn a_future_spawned_too_late_is_dropped_once_and_at_once() {
    bounded(|| {
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        drop(runtime);
        for made in [false, true] {
            let (sender, receiver) = mpsc::channel();
            let guard = OnDrop(move || sender.send(()).unwrap());
            match made {
                true => drop(handle.spawn_on(0, move || async move { drop(guard) })),
                false => drop(handle.spawn(async move { drop(guard) })),
            }
            receiver.recv().unwrap();
            assert!(receiver.recv().is_err());
        }
    });
}

#[test]
fn a_waker_of_a_dead_task_does_nothing() {
    bounded(|| {
        let runtime = runtime(1);
        let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
        let out = Arc::clone(&wakers);
        for local in [false, true] {
            let out = Arc::clone(&out);
            let task = std::future::poll_fn(move |cx| {
                out.lock().unwrap().push(cx.waker().clone());
                std::task::Poll::<()>::Pending
            });
            match local {
                true => drop(runtime.handle().spawn_on(0, move || task)),
                false => drop(runtime.spawn(task)),
            }
        }
        wait_for("both wakers", || wakers.lock().unwrap().len() == 2);
        drop(runtime);
        for waker in wakers.lock().unwrap().drain(..) {
            waker.wake_by_ref();
            waker.clone().wake();
            thread::spawn(move || drop(waker)).join().unwrap();
        }
    });
}

#[test]
fn a_sleep_may_be_dropped_and_reset_but_not_awaited() {
    bounded(|| {
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        let armed = |runtime: &Runtime| {
            runtime
                .block_on(async {
                    let mut nap = Box::pin(sleep(Duration::from_secs(3600)));
                    assert!(poll_once(&mut nap).await.is_pending());
                    (nap,)
                })
                .0
        };
        let (dropped, mut reset, awaited) = (armed(&runtime), armed(&runtime), armed(&runtime));
        drop(runtime);
        drop(dropped);
        let soon = ringwork::time::Instant::now() + Duration::from_secs(3600);
        reset.as_mut().reset(soon);
        drop(reset);
        for nap in [awaited, Box::pin(sleep(Duration::from_secs(3600)))] {
            let _guard = handle.enter();
            let payload = catch_unwind(AssertUnwindSafe(|| block_on(nap))).unwrap_err();
            let message = payload.downcast_ref::<&str>().map(|text| text.to_string());
            let message = message.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap();
            assert!(message.contains("shut down"), "{message}");
        }
        // One that is due needs no core.
        let _guard = handle.enter();
        block_on(sleep(Duration::ZERO));
    });
}

#[test]
fn streams_listeners_and_files_are_dropped_later_and_close() {
    bounded(|| {
        let runtime = runtime(1);
        let (stream, mut peer) = connected(&runtime);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (halves, mut other) = connected(&runtime);
        let halves = halves.into_split();
        drop(runtime);
        drop(stream);
        drop(listener);
        drop(halves);
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut peer, &mut rest).unwrap();
        assert_eq!(rest, b"hello");
        std::io::Read::read_to_end(&mut other, &mut rest).unwrap();
        assert!(net::TcpStream::connect(address).is_err(), "nobody listens any more");
    });
}

#[test]
fn a_thread_in_block_on_is_told_when_the_runtime_goes() {
    bounded(|| {
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (ready, connected) = (Event::default(), Event::default());
        let begun = ready.clone();
        let blocked = thread::spawn(move || {
            handle.block_on(async {
                let stream = TcpStream::connect(address).await.unwrap();
                begun.set();
                let first = stream.recv_pooled().await.unwrap_err();
                let second = stream.recv_pooled().await.unwrap_err();
                (first.to_string(), second)
            })
        });
        ready.wait_blocking();
        connected.set();
        wait_for("the receive", || runtime.handle().metrics().cores[0].in_flight > 0);
        drop(runtime);
        let (_, second) = blocked.join().unwrap();
        assert_gone("the second receive", second);
    });
}

#[test]
fn block_on_of_what_needs_no_runtime_still_works() {
    let runtime = runtime(1);
    let handle: Handle = runtime.handle().clone();
    drop(runtime);
    assert_eq!(handle.block_on(async { 1 }), 1);
    let event = Event::default();
    let setter = event.clone();
    thread::spawn(move || setter.set());
    handle.block_on(event.wait());
}

#[test]
fn name_lookup_and_set_len_on_a_dead_runtime_fail() {
    bounded(|| {
        let runtime = runtime(1);
        let file = runtime.block_on(File::open("Cargo.toml")).unwrap();
        let handle = runtime.handle().clone();
        drop(runtime);
        let _guard = handle.enter();
        assert_gone("a lookup", block_on(TcpStream::connect("localhost:1")).unwrap_err());
        assert_gone("set_len", block_on(file.set_len(1)).unwrap_err());
    });
}

#[test]
fn an_accept_in_flight_on_a_plain_thread_ends_with_an_error() {
    bounded(|| {
        let runtime = runtime(1);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let handle = runtime.handle().clone();
        let accepting = thread::spawn(move || handle.block_on(listener.accept()).map(drop));
        wait_for("the accept", || runtime.handle().metrics().cores[0].in_flight > 0);
        drop(runtime);
        assert!(accepting.join().unwrap().is_err());
    });
}

/// It is interrupted on a helper thread of the kernel's, which is not what its caller is told.
#[test]
fn an_open_that_waits_on_a_plain_thread_is_told_when_the_runtime_goes() {
    alone(|| {
        bounded(|| {
            let runtime = runtime(1);
            let folder = Folder::new();
            let fifo = folder.join("fifo");
            make_fifo(&fifo);
            let handle = runtime.handle().clone();
            let opening = thread::spawn(move || {
                handle.block_on(async { OpenOptions::new().write(true).open(&fifo).await.unwrap_err() })
            });
            let mut seen = 0;
            wait_for("the open to wait", || {
                let waits = runtime.handle().metrics().cores[0].in_flight > 0;
                seen = if waits { seen + 1 } else { 0 };
                seen > 20
            });
            drop(runtime);
            assert_gone("the open", opening.join().unwrap());
        });
    });
}

/// Until it is a matter of the kernel these ops look again and again, by a timer that is theirs.
#[test]
fn ops_that_wait_by_a_timer_are_told_when_the_runtime_goes() {
    alone(|| {
        bounded(|| {
            let runtime = runtime(1);
            let folder = Folder::new();
            let (socket, fifo) = (folder.join("socket"), folder.join("fifo"));
            let _full = full_backlog(&socket);
            make_fifo(&fifo);
            let connecting =
                blocked(&runtime, move || async move { UnixStream::connect(socket).await.err() });
            // More than may wait on helper threads.
            let openings = [fifo.clone(), fifo.clone(), fifo].map(|fifo| {
                blocked(
                    &runtime,
                    move || async move { OpenOptions::new().write(true).open(fifo).await.err() },
                )
            });
            wait_for("all to wait", || {
                let core = &runtime.handle().metrics().cores[0];
                core.timers == 2 && core.in_flight >= 2
            });
            drop(runtime);
            assert_gone("the connect", connecting.join().unwrap().unwrap());
            for opening in openings {
                assert_gone("an open", opening.join().unwrap().unwrap());
            }
        });
    });
}

/// A listener for whose next connection there is no room, and those that wait there.
fn full_backlog(path: &Path) -> (Socket, Vec<Socket>) {
    let address = SockAddr::unix(path).unwrap();
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
        match client.connect(&address) {
            Ok(()) => waiting.push(client),
            Err(full) => {
                assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock);
                return (listener, waiting);
            }
        }
    }
}

/// A thread beside the runtime that waits for what `make` makes.
fn blocked<F: Future>(
    runtime: &Runtime,
    make: impl FnOnce() -> F + Send + 'static,
) -> thread::JoinHandle<F::Output>
where
    F::Output: Send + 'static,
{
    let handle = runtime.handle().clone();
    thread::spawn(move || handle.block_on(make()))
}

#[test]
fn a_call_with_a_limit_that_waits_in_line_ends_when_the_runtime_goes() {
    bounded(|| {
        let runtime = runtime(1);
        let (stream, _peer) = connected(&runtime);
        let waiting = blocked(&runtime, move || async move {
            let mut first = stream.recv(Vec::with_capacity(8));
            assert!(poll_once(&mut first).await.is_pending());
            // Nobody polls the first any more, and so the turn stays with it.
            stream.recv(Vec::with_capacity(8)).timeout(Duration::from_secs(3600)).await.0
        });
        wait_for("the limit", || runtime.handle().metrics().cores[0].timers > 0);
        drop(runtime);
        assert_eq!(waiting.join().unwrap().unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    });
}

#[test]
fn a_timer_in_flight_on_a_plain_thread_ends_with_the_panic_it_documents() {
    bounded(|| {
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        let started = Event::default();
        let start = started.clone();
        let napping = thread::spawn(move || {
            handle.block_on(async {
                let mut nap = pin!(sleep(Duration::from_secs(3600)));
                assert!(poll_once(&mut nap).await.is_pending());
                start.set();
                nap.await;
            });
        });
        started.wait_blocking();
        drop(runtime);
        assert!(napping.join().is_err());
    });
}

#[test]
fn an_echo_client_of_a_dead_runtime_can_be_used_by_std() {
    bounded(|| {
        let runtime = runtime(1);
        let address = echo_server();
        let stream = runtime.block_on(TcpStream::connect(address)).unwrap();
        drop(runtime);
        let mut stream = stream.into_std().expect("nothing in flight");
        stream.write_all(b"std").unwrap();
        let mut answer = [0; 3];
        std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
        assert_eq!(&answer, b"std");
    });
}
