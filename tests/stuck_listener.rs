//! Connections that come for a core that is stuck in a poll are accepted and served by another.

mod kit;

use kit::{Event, bounded, process, runtime, wait_for};
use ringwork::net::{ListenOptions, TcpStream as Stream};
use ringwork::runtime::Runtime;
use ringwork::{Balance, Serve, Server};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
enum Way {
    Send,
    Local,
}

/// All ways to serve: what a core's accepting leaves behind when it is stuck differs.
const ALL: [(Balance, Way); 4] = [
    (Balance::Kernel, Way::Send),
    (Balance::Kernel, Way::Local),
    (Balance::LeastLoaded, Way::Send),
    (Balance::LeastLoaded, Way::Local),
];

/// Says which core it runs on, then sends back what it gets.
async fn greet(stream: Stream) {
    let core = ringwork::core::current().expect("a handler runs on a core");
    if stream.send_all(vec![core as u8]).await.0.is_err() {
        return;
    }
    while let Ok(received) = stream.recv_pooled().await {
        if received.is_empty() || stream.send_all(received).await.0.is_err() {
            return;
        }
    }
}

fn start(runtime: &Runtime, (balance, way): (Balance, Way), options: ListenOptions) -> Server {
    let serve = Serve::new(SocketAddr::from(([127, 0, 0, 1], 0))).balance(balance).options(options);
    start_on(runtime, serve, way)
}

fn start_on(runtime: &Runtime, serve: Serve, way: Way) -> Server {
    let server = match way {
        Way::Send => runtime.block_on(serve.start(|stream, _| greet(stream))),
        Way::Local => runtime.block_on(serve.start_local(|| |stream, _| greet(stream))),
    };
    let server = server.expect("a port is free");
    // Every core has begun to serve before a test takes one away.
    for core in 0..runtime.handle().cores() {
        runtime.block_on(runtime.handle().call(core, || ())).unwrap();
    }
    server
}

fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.local_addr()).unwrap()
}

/// Waits for the greeting: the core that serves.
fn greeted(mut stream: &TcpStream) -> usize {
    let mut core = [0];
    stream.read_exact(&mut core).expect("a connection is served");
    core[0].into()
}

fn talk(mut stream: &TcpStream) {
    let mut answer = [0; 4];
    stream.write_all(b"ping").unwrap();
    stream.read_exact(&mut answer).expect("a connection is served on");
    assert_eq!(&answer, b"ping");
}

/// A core in one poll, until the result is told or dropped.
struct Stuck {
    over: Arc<AtomicBool>,
}

impl Stuck {
    fn at(runtime: &Runtime, core: usize) -> Self {
        let (begun, over) = (Event::default(), Arc::new(AtomicBool::new(false)));
        let (inside, until) = (begun.clone(), Arc::clone(&over));
        drop(runtime.handle().call(core, move || {
            inside.set();
            while !until.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
        }));
        begun.wait_blocking();
        Self { over }
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

#[test]
fn connections_made_while_a_core_is_stuck_are_served_before_it_is_well() {
    bounded(|| {
        for how in ALL {
            for stuck_core in [0, 1] {
                let runtime = runtime(2);
                let server = start(&runtime, how, ListenOptions::new());
                let stuck = Stuck::at(&runtime, stuck_core);
                // One after the other: the kernel gives about half of them to either listener, and each of
                // those finds the other core asleep.
                let one_by_one: Vec<_> =
                    (0..40).map(|_| connect(&server)).inspect(|s| _ = greeted(s)).collect();
                // And many at once.
                let burst: Vec<_> = (0..200).map(|_| connect(&server)).collect();
                let cores: Vec<_> = burst.iter().map(greeted).collect();
                assert!(cores.iter().all(|&core| core != stuck_core), "{how:?}");
                one_by_one.iter().chain(&burst).for_each(talk);
                assert_eq!(server.connections(), 240, "{how:?}");
                // A fair half would be 120; some were placed there before the core was known to be stuck.
                assert!(server.connections_per_core()[stuck_core] < 100, "{how:?}");
                drop(stuck);
                drop((one_by_one, burst));
                assert!(runtime.block_on(server.stop(LONG)), "{how:?}");
            }
        }
    });
}

#[test]
fn connections_that_were_under_way_to_a_core_when_it_got_stuck_are_served() {
    bounded(|| {
        for how in ALL {
            let runtime = runtime(2);
            let server = start(&runtime, how, ListenOptions::new());
            let stuck = Stuck::at(&runtime, 1);
            // The core is not known to be stuck yet: half of these go to its listener or its mailbox.
            let streams: Vec<_> = (0..100).map(|_| connect(&server)).collect();
            let cores: Vec<_> = streams.iter().map(greeted).collect();
            assert!(cores.iter().all(|&core| core == 0), "{how:?}");
            streams.iter().for_each(talk);
            drop(stuck);
            drop(streams);
            assert!(runtime.block_on(server.stop(LONG)), "{how:?}");
        }
    });
}

#[test]
fn sockets_that_a_core_had_accepted_and_not_claimed_when_it_got_stuck_are_served() {
    bounded(|| {
        for how in ALL {
            let runtime = runtime(2);
            let server = start(&runtime, how, ListenOptions::new());
            // The core whose listener gets about half of the connections, or all.
            let core = if how.0 == Balance::Kernel { 1 } else { 0 };
            let (address, over) = (server.local_addr(), Arc::new(AtomicBool::new(false)));
            let (made, until, handle) = (mpsc::channel(), Arc::clone(&over), runtime.handle().clone());
            drop(runtime.handle().spawn_on(core, move || async move {
                let streams: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
                // Until the core has entered the kernel: it has seen them, and the accept loop that it woke
                // is in line behind this task, which yielded before.
                let enters = || handle.metrics().cores[core].enters;
                let before = enters();
                while enters() == before {
                    ringwork::task::yield_now().await;
                }
                made.0.send(streams).unwrap();
                while !until.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                }
            }));
            let streams = made.1.recv().unwrap();
            let cores: Vec<_> = streams.iter().map(greeted).collect();
            assert!(cores.iter().all(|&served| served != core), "{how:?}: {cores:?}");
            over.store(true, Ordering::SeqCst);
            streams.iter().for_each(talk);
            drop(streams);
            assert!(runtime.block_on(server.stop(LONG)), "{how:?}");
        }
    });
}

#[test]
fn a_core_that_is_well_again_serves_again() {
    bounded(|| {
        for how in ALL {
            let runtime = runtime(2);
            let server = start(&runtime, how, ListenOptions::new());
            let stuck = Stuck::at(&runtime, 1);
            let streams: Vec<_> = (0..40).map(|_| connect(&server)).collect();
            streams.iter().for_each(|stream| _ = greeted(stream));
            drop(stuck);
            runtime.block_on(runtime.handle().call(1, || ())).unwrap();
            let mut later = Vec::new();
            wait_for("core 1 to serve", || {
                later.push(connect(&server));
                greeted(later.last().unwrap()) == 1
            });
            streams.iter().chain(&later).for_each(talk);
            drop((streams, later));
            assert!(runtime.block_on(server.stop(LONG)), "{how:?}");
        }
    });
}

#[test]
fn of_three_cores_the_last_one_that_is_well_serves_for_both_others() {
    bounded(|| {
        for how in ALL {
            let runtime = runtime(3);
            let server = start(&runtime, how, ListenOptions::new());
            let first = Stuck::at(&runtime, 0);
            let streams: Vec<_> = (0..60).map(|_| connect(&server)).collect();
            assert!(streams.iter().all(|stream| greeted(stream) != 0), "{how:?}");
            // Core 1 helped core 0; now it needs help itself, with what it has in flight for core 0.
            let second = Stuck::at(&runtime, 1);
            let more: Vec<_> = (0..60).map(|_| connect(&server)).collect();
            assert!(more.iter().all(|stream| greeted(stream) == 2), "{how:?}");
            drop((first, second));
            streams.iter().chain(&more).for_each(talk);
            drop((streams, more));
            assert!(runtime.block_on(server.stop(LONG)), "{how:?}");
        }
    });
}

#[test]
fn a_listener_with_a_limit_is_helped_within_its_limit() {
    bounded(|| {
        for how in ALL {
            let runtime = runtime(2);
            let server = start(&runtime, how, ListenOptions::new().max_connections(3));
            let stuck = Stuck::at(&runtime, 0);
            // All there at once: as many as the limits of both cores allow are served at a time.
            let streams: Vec<_> = (0..30).map(|_| connect(&server)).collect();
            for stream in streams {
                assert_eq!(greeted(&stream), 1, "{how:?}");
                assert!(server.connections() <= 6, "{how:?}");
            }
            drop(stuck);
            assert!(runtime.block_on(server.stop(LONG)), "{how:?}");
        }
    });
}

#[test]
fn a_stuck_core_that_waits_for_connections_has_no_place_of_a_limit_that_is_shared() {
    bounded(|| {
        for way in [Way::Send, Way::Local] {
            let runtime = runtime(2);
            let options = ListenOptions::new().max_connections(1);
            let server = start(&runtime, (Balance::Nearest, way), options);
            let stuck = Stuck::at(&runtime, 0);
            // Each of them comes to either listener.
            for _ in 0..20 {
                let pair = [connect(&server), connect(&server)];
                pair.iter().for_each(|stream| assert_eq!(greeted(stream), 1, "{way:?}"));
                assert_eq!(server.connections(), 2, "{way:?}");
                pair.iter().for_each(talk);
            }
            drop(stuck);
            assert!(runtime.block_on(server.stop(LONG)), "{way:?}");
        }
    });
}

#[test]
fn stopping_while_a_core_is_stuck_resets_nobody() {
    bounded(|| {
        for how in ALL {
            let runtime = runtime(2);
            let server = start(&runtime, how, ListenOptions::new());
            let address = server.local_addr();
            let stuck = Stuck::at(&runtime, 0);
            let streams: Vec<_> = (0..100).map(|_| connect(&server)).collect();
            let stopping = runtime.handle().spawn_on(1, move || server.stop(LONG));
            streams.iter().for_each(|stream| _ = greeted(stream));
            assert!(!stopping.is_finished(), "core 0 still has a listener to close");
            drop(stuck);
            streams.iter().for_each(talk);
            drop(streams);
            assert!(runtime.block_on(stopping).unwrap(), "{how:?}");
            assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
        }
    });
}

/// All ways to serve, with listeners of their own and with one, and under a limit that nobody comes near.
fn all_ways_to_listen() -> Vec<((Balance, Way), ListenOptions)> {
    let near = [(Balance::Nearest, Way::Send), (Balance::Nearest, Way::Local)];
    let options = [ListenOptions::new(), ListenOptions::new().max_connections(1_000)];
    let each = |how| options.clone().map(|options| (how, options));
    ALL.into_iter().chain(near).flat_map(each).collect()
}

#[test]
fn a_server_that_was_stopped_takes_nobody_more_however_long_a_core_is_stuck() {
    bounded(|| {
        for (how, options) in all_ways_to_listen() {
            for patience in [Duration::from_millis(200), LONG] {
                let runtime = runtime(2);
                let server = start(&runtime, how, options.clone());
                let address = server.local_addr();
                let stuck = Stuck::at(&runtime, 0);
                let streams: Vec<_> = (0..40).map(|_| connect(&server)).collect();
                let stopping = runtime.handle().spawn_on(1, move || server.stop(patience));
                // Those that came before are all served, and then nobody listens any more.
                streams.iter().for_each(|stream| _ = greeted(stream));
                wait_for("the listener of the stuck core to close", || TcpStream::connect(address).is_err());
                if patience != LONG {
                    assert!(!runtime.block_on(stopping).unwrap(), "{how:?}: a core is stuck");
                    streams.iter().for_each(talk);
                    continue;
                }
                assert!(!stopping.is_finished(), "{how:?}: a core is stuck");
                // It finds its listener closed, and that is no harm.
                drop(stuck);
                streams.iter().for_each(talk);
                drop(streams);
                assert!(runtime.block_on(stopping).unwrap(), "{how:?}");
            }
        }
    });
}

#[test]
fn stopping_just_when_a_core_comes_back_resets_nobody() {
    bounded(|| {
        for how in ALL {
            for _ in 0..6 {
                let runtime = runtime(2);
                let server = start(&runtime, how, ListenOptions::new());
                let address = server.local_addr();
                let stuck = Stuck::at(&runtime, 0);
                // Core 1 helps it by now: with listeners of their own, about half of these come to core 0.
                let mut streams: Vec<_> =
                    (0..12).map(|_| connect(&server)).inspect(|stream| _ = greeted(stream)).collect();
                // All of these wait. Then both cores come back at about the same time, to the end.
                let busy = Stuck::at(&runtime, 1);
                streams.extend((0..150).map(|_| connect(&server)));
                let stopping = runtime.handle().spawn_on(1, move || server.stop(LONG));
                drop((busy, stuck));
                streams[12..].iter().for_each(|stream| _ = greeted(stream));
                streams.iter().for_each(talk);
                drop(streams);
                assert!(runtime.block_on(stopping).unwrap(), "{how:?}");
                assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
            }
        }
    });
}

#[test]
fn of_those_that_wait_for_a_stuck_core_when_the_server_stops_as_many_are_served_as_the_limit_has_room_for() {
    bounded(|| {
        for way in [Way::Send, Way::Local] {
            let runtime = runtime(2);
            // One place is the stuck core's, which waits with it.
            let options = ListenOptions::new().max_connections(4);
            let server = start(&runtime, (Balance::LeastLoaded, way), options);
            let address = server.local_addr();
            let (stuck, busy) = (Stuck::at(&runtime, 0), Stuck::at(&runtime, 1));
            let streams: Vec<_> = (0..10).map(|_| connect(&server)).collect();
            let stopping = runtime.handle().spawn_on(1, move || server.stop(LONG));
            drop(busy);
            let is_served = |mut stream: &TcpStream| stream.read_exact(&mut [0]).is_ok();
            let served: Vec<_> = streams.iter().filter(|stream| is_served(stream)).collect();
            assert_eq!(served.len(), 3, "{way:?}");
            served.into_iter().for_each(talk);
            assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
            drop((stuck, streams));
            assert!(runtime.block_on(stopping).unwrap(), "{way:?}");
        }
    });
}

#[test]
fn a_stuck_cores_part_of_a_socket_that_others_hold_is_left_to_them_when_the_server_stops() {
    bounded(|| {
        for way in [Way::Send, Way::Local] {
            let runtime = runtime(2);
            let bound = TcpListener::bind("127.0.0.1:0").unwrap();
            let (address, others) = (bound.local_addr().unwrap(), bound.try_clone().unwrap());
            let server = start_on(&runtime, Serve::listener(bound), way);
            // The one core that accepts.
            let stuck = Stuck::at(&runtime, 0);
            let streams: Vec<_> = (0..20).map(|_| connect(&server)).collect();
            streams.iter().for_each(|stream| _ = greeted(stream));
            let stopping = runtime.handle().spawn_on(1, move || server.stop(LONG));
            others.set_nonblocking(true).unwrap();
            // At first the server may take some, which it has time for here.
            let goes_to_others = || {
                let clients: Vec<_> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
                thread::sleep(Duration::from_millis(20));
                let taken = std::iter::from_fn(|| others.accept().ok()).count();
                taken >= clients.len()
            };
            wait_for("the server to leave all to others", goes_to_others);
            assert!(!stopping.is_finished(), "{way:?}: a core is stuck");
            drop(stuck);
            streams.iter().for_each(talk);
            drop(streams);
            assert!(runtime.block_on(stopping).unwrap(), "{way:?}");
        }
    });
}

#[test]
fn no_connection_is_lost_between_cores_that_get_stuck_again_and_again() {
    const THREADS: usize = 3;
    const EACH: usize = 300;
    process::alone(|| {
        for how in ALL {
            let runtime = runtime(2);
            let server = start(&runtime, how, ListenOptions::new());
            let before = process::descriptors();
            let left = Arc::new(AtomicUsize::new(THREADS));
            let address = server.local_addr();
            let clients: Vec<_> = (0..THREADS)
                .map(|_| {
                    let left = Arc::clone(&left);
                    thread::spawn(move || {
                        for _ in 0..EACH / 10 {
                            let streams: Vec<_> =
                                (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
                            for stream in &streams {
                                greeted(stream);
                                talk(stream);
                            }
                        }
                        left.fetch_sub(1, Ordering::SeqCst);
                    })
                })
                .collect();
            let mut turn = 0;
            while left.load(Ordering::SeqCst) > 0 {
                turn += 1;
                let stuck = Stuck::at(&runtime, turn % 2);
                // About as long as it takes to be found out: some stretches are, some are not.
                thread::sleep(Duration::from_millis(10 + turn as u64 * 7 % 30));
                drop(stuck);
                thread::sleep(Duration::from_millis(turn as u64 * 5 % 11));
            }
            clients.into_iter().for_each(|client| client.join().unwrap());
            wait_for("all handlers to end", || server.connections() == 0);
            wait_for("all sockets to close", || process::descriptors() <= before);
            assert!(runtime.block_on(server.stop(LONG)), "{how:?}");
        }
    });
}
