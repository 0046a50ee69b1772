//! A runtime that ends amid work: ops of every kind in flight, a core that does not come back.

use crate::kit::{Event, Folder, OnDrop, bounded, process, runtime, wait_for};
use ringwork::buf::AlignedBuf;
use ringwork::fs::{File, OpenOptions};
use ringwork::net::{TcpListener, TcpStream};
use ringwork::runtime::{Builder, Pin, Runtime, ShutdownReport};
use ringwork::task::JoinHandle;
use ringwork::time::{Duration, Instant, sleep};
use std::cell::RefCell;
use std::net;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

fn in_flight(runtime: &Runtime) -> u64 {
    runtime.handle().metrics().cores.iter().map(|core| core.in_flight).sum()
}

fn end(runtime: Runtime) -> ShutdownReport {
    runtime.shutdown_timeout(Duration::from_secs(20))
}

/// A poll that has begun and goes on until it is told to end.
pub(crate) struct Endless {
    over: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Endless {
    pub(crate) fn on(runtime: &Runtime, core: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (stop, begun) = (Arc::clone(&over), Event::default());
        let begin = begun.clone();
        let task = runtime.handle().spawn_on(core, move || async move {
            begin.set();
            while !stop.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        });
        begun.wait_blocking();
        Self { over, task }
    }

    pub(crate) fn ends(self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = futures_executor::block_on(self.task);
    }
}

/// Starts `count` tasks on both cores that never end, drops the runtime, and looks that nothing of them is
/// left.
fn ends_amid<F>(count: usize, op: impl Fn(usize) -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output = ()> + 'static,
{
    bounded(move || {
        let runtime = runtime(2);
        let held = Arc::new(());
        let begun = Arc::new(AtomicUsize::new(0));
        for n in 0..count {
            let (op, held, begun) = (op.clone(), Arc::clone(&held), Arc::clone(&begun));
            drop(runtime.handle().spawn_on(n % 2, move || async move {
                let _held = held;
                begun.fetch_add(1, Ordering::SeqCst);
                loop {
                    op(n).await;
                }
            }));
        }
        wait_for("all tasks to begin", || begun.load(Ordering::SeqCst) == count);
        let report = end(runtime);
        assert!(report.is_clean(), "{report}");
        assert_eq!(Arc::strong_count(&held), 1);
    });
}

#[test]
fn receives() {
    let peer = Arc::new(net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = peer.local_addr().unwrap();
    ends_amid(20, move |n| async move {
        let stream = TcpStream::connect(address).await.unwrap();
        match n % 3 {
            0 => drop(stream.recv_pooled().await),
            1 => drop(stream.recv(Vec::with_capacity(100)).await),
            _ => drop(stream.recv_exact(Vec::with_capacity(100)).await),
        }
    });
    drop(peer);
}

#[test]
fn sends_to_a_peer_that_does_not_read() {
    let peer = Arc::new(net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = peer.local_addr().unwrap();
    ends_amid(4, move |_| async move {
        let stream = TcpStream::connect(address).await.unwrap();
        while stream.send_all(vec![0; 1 << 20]).await.0.is_ok() {}
    });
    drop(peer);
}

#[test]
fn accepts() {
    ends_amid(10, |n| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        match n % 2 {
            0 => drop(listener.accept().await),
            _ => drop(listener.accept_stream().await),
        }
    });
}

#[test]
fn sleeps() {
    ends_amid(100, |n| sleep(Duration::from_millis(n as u64 % 3 * 1_000)));
}

/// A backlog of one that is full: further connects hang in the kernel.
#[test]
fn connects() {
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<net::SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    ends_amid(10, move |_| async move {
        let held = TcpStream::connect(address).await;
        std::future::pending::<()>().await;
        drop(held);
    });
    drop(full);
}

#[test]
fn reads_and_writes_past_the_page_cache() {
    let folder = Folder::new();
    let direct = folder.file("direct", vec![7; 1 << 20]);
    ends_amid(16, move |n| {
        let path = direct.clone();
        async move {
            let direct = OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT);
            // Not every file system knows it.
            let file = match direct.open(&path).await {
                Ok(file) => file,
                Err(_) => File::options().read(true).write(true).open(&path).await.unwrap(),
            };
            for at in 0..16 {
                let offset = ((n + at) % 16 * 65_536) as u64;
                match at % 2 {
                    0 => drop(file.read_at(AlignedBuf::new(65_536, 4_096), offset).await),
                    _ => {
                        let mut buf = AlignedBuf::new(65_536, 4_096);
                        buf.set_len(65_536);
                        drop(file.write_at(buf, offset).await);
                    }
                }
            }
        }
    });
}

#[test]
fn opens_syncs_and_allocations() {
    let folder = Folder::new();
    let root = folder.path().to_owned();
    ends_amid(8, move |n| {
        let path = root.join(n.to_string());
        async move {
            let file = File::create(&path).await.unwrap();
            drop(file.allocate(0, 1 << 16).await);
            drop(file.write_all_at(vec![1; 1 << 16], 0).await);
            drop(file.sync_all().await);
            drop(ringwork::fs::metadata(&path).await);
            drop(file.set_len(10).await);
        }
    });
}

#[test]
fn an_open_that_waits_for_the_other_end_of_a_fifo() {
    let folder = Folder::new();
    let fifo = folder.join("fifo");
    process::make_fifo(&fifo);
    ends_amid(4, move |_| {
        let fifo = fifo.clone();
        async move { drop(File::open(fifo).await) }
    });
}

#[test]
fn a_signal_that_has_not_come() {
    ends_amid(4, |_| async {
        ringwork::signal::Signal::new(&[libc::SIGUSR2]).unwrap().recv().await.unwrap();
    });
}

/// More ops than the ring's queues hold.
#[test]
fn thousands_of_ops_on_a_small_ring() {
    bounded(|| {
        let builder = ringwork::runtime::Builder::new().cores(1).ring_entries(32);
        let runtime = builder.build().unwrap();
        let held = Arc::new(());
        let peer = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = peer.local_addr().unwrap();
        let stream = Arc::new(runtime.block_on(TcpStream::connect(address)).unwrap());
        drop(stream);
        let idle = Arc::new(AtomicUsize::new(0));
        for _ in 0..500 {
            let (held, idle) = (Arc::clone(&held), Arc::clone(&idle));
            drop(runtime.spawn(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                idle.fetch_add(1, Ordering::SeqCst);
                let _ = listener.accept().await;
                drop(held);
            }));
        }
        wait_for("all accepts", || in_flight(&runtime) >= 500);
        let report = end(runtime);
        assert!(report.is_clean(), "{report}");
        assert_eq!(Arc::strong_count(&held), 1);
    });
}

/// Tasks on one core, each with an op in flight.
fn many_ops(runtime: &Runtime, core: usize, held: &Arc<()>) -> Vec<JoinHandle<()>> {
    const COUNT: usize = 300;
    let op = |n: usize| {
        let held = Arc::clone(held);
        runtime.handle().spawn_on(core, move || async move {
            let _held = held;
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            match n % 3 {
                0 => drop(client.recv_pooled().await),
                1 => drop(client.recv(Vec::with_capacity(10)).await),
                _ => {
                    let (accepted, _) = listener.accept().await.unwrap();
                    drop((listener.accept().await, accepted));
                }
            }
        })
    };
    let tasks = (0..COUNT).map(op).collect();
    wait_for("the ops", || in_flight(runtime) >= COUNT as u64);
    tasks
}

/// One core polls without end; the other has tasks and ops in flight.
#[test]
fn a_stuck_core_is_left_behind_in_time_and_named() {
    process::alone(|| {
        bounded(|| {
            for stuck in [0, 1] {
                let runtime = runtime(2);
                let held = Arc::new(());
                let endless = Endless::on(&runtime, stuck);
                let others = many_ops(&runtime, 1 - stuck, &held);
                let begun = Instant::now();
                let report = runtime.shutdown_timeout(Duration::from_secs(2));
                assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
                assert_eq!(report.stuck_cores, [stuck], "{report}");
                assert_eq!(report.leaked_ops, 0, "{report}");
                assert!(report.to_string().contains(&format!("[{stuck}]")), "{report}");
                for other in others {
                    assert!(futures_executor::block_on(other).unwrap_err().is_cancelled());
                }
                assert_eq!(Arc::strong_count(&held), 1);
                // When it comes back after all, it ends by itself.
                endless.ends();
                wait_for("the stuck core to end", || process::threads_named("ringwork").is_empty());
            }
        });
    });
}

/// Each used to be given a tenth of a second of its own.
#[test]
fn many_stuck_cores_are_waited_for_together() {
    const CORES: usize = 24;
    bounded(|| {
        let runtime = Builder::new().cores(CORES).pin(Pin::Off).ring_entries(16).build().unwrap();
        let (open, gates): (Vec<_>, Vec<_>) = (0..CORES).map(|_| mpsc::channel::<()>()).unzip();
        let begun: Vec<Event> = (0..CORES).map(|_| Event::default()).collect();
        for (core, gate) in gates.into_iter().enumerate() {
            let begun = begun[core].clone();
            drop(runtime.handle().call(core, move || {
                begun.set();
                gate.recv().is_err()
            }));
        }
        begun.iter().for_each(Event::wait_blocking);
        let start = Instant::now();
        let report = runtime.shutdown_timeout(Duration::ZERO);
        let took = start.elapsed();
        drop(open);
        assert_eq!(report.stuck_cores, (0..CORES).collect::<Vec<_>>(), "{report}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    });
}

/// They may sleep, wait on another core or be stolen: what can end anywhere does, and its handle answers.
#[test]
fn send_tasks_that_were_born_on_a_stuck_core_end_all_the_same() {
    bounded(|| {
        let runtime = runtime(2);
        let held = Arc::new(());
        let inner = Arc::clone(&held);
        let spawn = move || {
            ringwork::spawn(async move {
                std::future::pending::<()>().await;
                drop(inner);
            })
        };
        let sleeping = runtime.block_on(runtime.handle().call(0, spawn)).unwrap();
        let endless = Endless::on(&runtime, 0);
        let report = runtime.shutdown_timeout(Duration::from_millis(500));
        assert_eq!(report.stuck_cores, [0], "{report}");
        assert!(sleeping.is_finished());
        assert!(futures_executor::block_on(sleeping).unwrap_err().is_cancelled());
        assert_eq!(Arc::strong_count(&held), 1);
        endless.ends();
    });
}

/// Also where every core was left behind, so that none has closed its inbox.
#[test]
fn timers_and_ops_of_a_runtime_that_left_a_core_behind_end_on_every_thread() {
    bounded(|| {
        for cores in [1, 2] {
            let runtime = runtime(cores);
            let handle = runtime.handle().clone();
            let endless = Endless::on(&runtime, 0);
            let report = runtime.shutdown_timeout(Duration::from_millis(100));
            assert_eq!(report.stuck_cores, [0], "{report}");
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let handle = handle.clone();
                    std::thread::spawn(move || {
                        let text = handle.block_on(ringwork::fs::read("Cargo.toml"));
                        assert!(text.unwrap_err().to_string().contains("runtime"));
                        handle.block_on(sleep(Duration::from_secs(3600)));
                    })
                })
                .collect();
            for thread in threads {
                let payload = thread.join().expect_err("a timer of a runtime that is gone");
                let message = payload.downcast_ref::<String>().expect("a message");
                assert!(message.contains("shut down"), "{message}");
            }
            endless.ends();
        }
    });
}

ringwork::core_local! {
    static LAST: RefCell<Option<OnDrop<Box<dyn FnMut()>>>> = RefCell::new(None);
}

#[test]
fn a_core_whose_values_do_not_let_go_is_left_behind_in_time_and_named() {
    process::alone(|| {
        bounded(|| {
            for stays in [0, 1] {
                let runtime = runtime(2);
                let (open, gate) = mpsc::channel::<()>();
                let keep = move || {
                    let wait: Box<dyn FnMut()> = Box::new(move || assert!(gate.recv().is_err()));
                    LAST.with(|last| *last.borrow_mut() = Some(OnDrop(wait)));
                };
                runtime.block_on(runtime.handle().call(stays, keep)).unwrap();
                let report = runtime.shutdown_timeout(Duration::from_millis(300));
                assert_eq!(report.stuck_cores, [stays], "{report}");
                assert_eq!((report.leaked_ops, report.tasks_alive), (0, 0), "{report}");
                // Only now: the value waits for what comes after the shutdown.
                drop(open);
                wait_for("the core to end", || process::threads_named("ringwork").is_empty());
            }
        });
    });
}

#[test]
fn a_job_that_does_not_end_is_counted() {
    bounded(|| {
        let runtime = runtime(1);
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let begun = Event::default();
        let begin = begun.clone();
        let job = runtime.handle().spawn_blocking(move || {
            begin.set();
            gate.recv().is_err()
        });
        begun.wait_blocking();
        let report = runtime.shutdown_timeout(Duration::from_millis(50));
        assert_eq!(report.busy_blocking_threads, 1, "{report}");
        assert!(report.stuck_cores.is_empty(), "{report}");
        drop(release);
        assert!(futures_executor::block_on(job).unwrap());
    });
}

/// What the core is stuck in has what they wait for.
#[test]
fn destructors_of_tasks_that_a_stuck_core_left_do_not_keep_the_end_from_coming() {
    struct Returns(Arc<Mutex<()>>);

    impl Drop for Returns {
        fn drop(&mut self) {
            drop(self.0.lock());
        }
    }

    bounded(|| {
        let runtime = runtime(1);
        let (lock, begun) = (Arc::new(Mutex::new(())), Event::default());
        let returns: Vec<_> = (0..2)
            .map(|_| {
                let returned = Returns(Arc::clone(&lock));
                runtime.spawn(async move {
                    std::future::pending::<()>().await;
                    drop(returned);
                })
            })
            .collect();
        let ((open, gate), begin, holds) = (mpsc::channel::<()>(), begun.clone(), Arc::clone(&lock));
        drop(runtime.handle().call(0, move || {
            let _held = holds.lock();
            begin.set();
            gate.recv().is_err()
        }));
        begun.wait_blocking();
        let report = runtime.shutdown_timeout(Duration::from_millis(50));
        assert_eq!(report.stuck_cores, [0], "{report}");
        // With the lock they end after all.
        drop(open);
        for returned in returns {
            assert!(futures_executor::block_on(returned).unwrap_err().is_cancelled());
        }
    });
}
