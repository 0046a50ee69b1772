//! Where fresh connections go: `Balance::LeastLoaded`, that they stay there, and that none is lost; and
//! `Balance::Nearest`.

#[path = "../kit/mod.rs"]
mod kit;
mod nearest;

use kit::{Event, bounded, wait_for};
use ringwork::net::{ListenOptions, TcpStream as Stream};
use ringwork::runtime::{Builder, Pin, Runtime, Steal};
use ringwork::{Balance, Serve, Server};
use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

/// Which of the two ways to serve.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// `start`: tasks that are `Send`.
    Send,
    /// `start_local`: handlers that live on their cores.
    Local,
}

const BOTH: [Way; 2] = [Way::Send, Way::Local];

/// Cores that keep what they have, so that a handler runs where its connection was placed.
fn runtime(cores: usize) -> Runtime {
    Builder::new().cores(cores).pin(Pin::Off).steal(Steal::Never).build().expect("a runtime starts")
}

fn describe() -> Serve {
    Serve::new(SocketAddr::from(([127, 0, 0, 1], 0))).balance(Balance::LeastLoaded)
}

/// Says which core it runs on, then sends back what it gets.
async fn greet(stream: &Stream) {
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

fn start(runtime: &Runtime, way: Way, serve: Serve) -> Server {
    let server = match way {
        Way::Send => runtime.block_on(serve.start(|stream, _| async move { greet(&stream).await })),
        Way::Local => runtime.block_on(serve.start_local(|| |stream, _| async move { greet(&stream).await })),
    };
    server.expect("a port is free")
}

struct Client {
    stream: TcpStream,
    core: usize,
}

impl Client {
    /// Connects and waits for the greeting.
    fn new(server: &Server) -> Self {
        Self::greeted(TcpStream::connect(server.local_addr()).unwrap())
    }

    fn greeted(mut stream: TcpStream) -> Self {
        let mut core = [0];
        stream.read_exact(&mut core).expect("a connection is greeted");
        Self { stream, core: core[0].into() }
    }

    fn talk(&mut self, message: &[u8]) {
        self.stream.write_all(message).unwrap();
        let mut answer = vec![0; message.len()];
        self.stream.read_exact(&mut answer).expect("a connection is served");
        assert_eq!(answer, message);
    }
}

#[test]
fn connections_are_spread_exactly_evenly() {
    bounded(|| {
        for way in BOTH {
            for cores in [1, 2, 3] {
                let runtime = runtime(cores);
                let server = start(&runtime, way, describe());
                let mut clients: Vec<_> = (0..40 * cores).map(|_| Client::new(&server)).collect();
                assert_eq!(server.connections_per_core(), vec![40; cores], "{way:?}");
                assert_eq!(server.connections(), 40 * cores);
                for core in 0..cores {
                    let greeted = clients.iter().filter(|client| client.core == core).count();
                    assert_eq!(greeted, 40, "{way:?}: handlers run where connections were placed");
                }
                clients.iter_mut().for_each(|client| client.talk(b"and are served there"));
                drop(clients);
                assert!(runtime.block_on(server.stop(LONG)));
            }
        }
    });
}

#[test]
fn a_burst_that_nobody_waits_for_is_spread_as_evenly() {
    bounded(|| {
        for way in BOTH {
            let runtime = runtime(2);
            let server = start(&runtime, way, describe());
            let streams: Vec<_> =
                (0..300).map(|_| TcpStream::connect(server.local_addr()).unwrap()).collect();
            let clients: Vec<_> = streams.into_iter().map(Client::greeted).collect();
            assert_eq!(server.connections_per_core(), [150, 150], "{way:?}");
            drop(clients);
            assert!(runtime.block_on(server.stop(LONG)));
        }
    });
}

#[test]
fn a_core_whose_connections_have_ended_is_preferred() {
    bounded(|| {
        for way in BOTH {
            for emptied in [0, 1] {
                let runtime = runtime(2);
                let server = start(&runtime, way, describe());
                let mut clients: Vec<_> = (0..40).map(|_| Client::new(&server)).collect();
                clients.retain(|client| client.core != emptied);
                wait_for("the handlers to end", || server.connections_per_core()[emptied] == 0);
                assert_eq!(server.connections(), 20);
                // One by one they fill the gap, and then both take turns again.
                for filled in 1..=20 {
                    clients.push(Client::new(&server));
                    assert_eq!(clients.last().unwrap().core, emptied, "{way:?}: connection {filled}");
                }
                clients.extend((0..20).map(|_| Client::new(&server)));
                assert_eq!(server.connections_per_core(), [30, 30], "{way:?}");
            }
        }
    });
}

#[test]
fn local_handlers_are_made_once_on_each_core_and_stay_there() {
    bounded(|| {
        let runtime = runtime(2);
        let made = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&made);
        let make = move || {
            counts.fetch_add(1, Ordering::SeqCst);
            // Neither the handler nor its connections are `Send`.
            let (home, served) = (ringwork::core::current(), Rc::new(Cell::new(0u8)));
            move |stream: Stream, _| {
                let (home, served) = (home, Rc::clone(&served));
                async move {
                    assert_eq!(ringwork::core::current(), home);
                    served.set(served.get() + 1);
                    stream.send_all(vec![home.unwrap() as u8, served.get()]).await.0.unwrap();
                }
            }
        };
        let server = runtime.block_on(describe().start_local(make)).unwrap();
        let handle = runtime.handle().clone();
        let no_task_waits =
            || handle.metrics().cores.iter().all(|core| core.local_depth + core.steal_depth == 0);
        let serve_one = || {
            let mut said = Vec::new();
            TcpStream::connect(server.local_addr()).unwrap().read_to_end(&mut said).unwrap();
            wait_for("the handler to end", || server.connections() == 0 && no_task_waits());
            (said[0], said[1])
        };
        // The first may come while core 0 still has tasks of the start, which speak for the other one.
        let first = serve_one();
        // Each is over before the next: all cores are equal, and they take turns.
        let mut seen: Vec<_> = (0..20).map(|_| serve_one()).collect();
        seen.push(first);
        seen.sort();
        let expected: Vec<_> =
            (0..2).flat_map(|core| (1..=10 + u8::from(core == first.0)).map(move |n| (core, n))).collect();
        assert_eq!(seen, expected);
        assert_eq!(made.load(Ordering::SeqCst), 2);
        assert!(runtime.block_on(server.stop(LONG)));
    });
}

#[test]
fn a_port_in_use_is_an_error() {
    bounded(|| {
        let runtime = runtime(2);
        let server = start(&runtime, Way::Send, describe());
        for balance in [Balance::Nearest, Balance::Kernel, Balance::LeastLoaded] {
            let again = Serve::new(server.local_addr()).balance(balance);
            let error =
                runtime.block_on(again.start(|stream, _| async move { greet(&stream).await })).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
        }
        assert!(runtime.block_on(server.stop(LONG)));
    });
}

#[test]
fn a_limit_holds_for_the_whole_server() {
    bounded(|| {
        for way in BOTH {
            let runtime = runtime(2);
            let limited = describe().options(ListenOptions::new().max_connections(4));
            let server = start(&runtime, way, limited);
            let streams: Vec<_> = (0..12).map(|_| TcpStream::connect(server.local_addr()).unwrap()).collect();
            for stream in streams {
                // Whoever is greeted is among the first four that are still there.
                let client = Client::greeted(stream);
                assert!(server.connections() <= 4, "{way:?}");
                drop(client);
            }
            assert!(runtime.block_on(server.stop(LONG)));
        }
    });
}

#[test]
fn handlers_that_panic_leave_the_count_and_the_server_in_order() {
    bounded(|| {
        let runtime = runtime(2);
        let served = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&served);
        // Every third panics before it has made a future, every third in the future.
        let handler = move |stream: Stream, _| {
            let number = counts.fetch_add(1, Ordering::SeqCst);
            assert_ne!(number % 3, 0, "refused");
            async move {
                assert_ne!(number % 3, 1, "given up");
                greet(&stream).await;
            }
        };
        let server = runtime.block_on(describe().start(handler)).unwrap();
        let connect = |_| TcpStream::connect(server.local_addr()).unwrap();
        let streams: Vec<_> = (0..30).map(connect).collect();
        wait_for("all handlers to be called", || served.load(Ordering::SeqCst) == 30);
        wait_for("the others to end", || server.connections() == 10);
        drop(streams);
        assert!(runtime.block_on(server.stop(LONG)));
    });
}

#[test]
fn a_core_whose_handler_could_not_be_made_gets_no_connections() {
    bounded(|| {
        let runtime = runtime(2);
        let make = || {
            assert_ne!(ringwork::core::current(), Some(1), "no handler here");
            |stream: Stream, _| async move { greet(&stream).await }
        };
        let server = runtime.block_on(describe().start_local(make)).unwrap();
        // What was placed there before that was known is closed.
        let pair = || [(); 2].map(|()| TcpStream::connect(server.local_addr()).unwrap());
        let is_greeted = |mut stream: &TcpStream| stream.read_exact(&mut [0]).is_ok();
        wait_for("core 1 to be left out", || pair().iter().all(is_greeted));
        wait_for("their handlers to end", || server.connections() == 0);
        let mut clients: Vec<_> = (0..20).map(|_| Client::new(&server)).collect();
        assert!(clients.iter().all(|client| client.core == 0));
        assert_eq!(server.connections_per_core(), [20, 0]);
        clients.iter_mut().for_each(|client| client.talk(b"ping"));
        drop(clients);
        assert!(runtime.block_on(server.stop(LONG)));
    });
}

#[test]
fn stopping_serves_what_the_kernel_had_completed_and_resets_nobody() {
    bounded(|| {
        for way in BOTH {
            for round in 0..3 {
                let runtime = runtime(2);
                let server = start(&runtime, way, describe());
                let address = server.local_addr();
                let clients: Vec<_> =
                    (0..100 + round * 50).map(|_| TcpStream::connect(address).unwrap()).collect();
                let stopping = runtime.spawn(async move { server.stop(LONG).await });
                for client in clients {
                    Client::greeted(client).talk(b"ping");
                }
                assert!(runtime.block_on(stopping).unwrap(), "{way:?}: all handlers are done");
                assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
            }
        }
    });
}

/// Keeps a core in one poll until it is told to go on.
fn block(runtime: &Runtime, core: usize) -> Event {
    let (begun, over) = (Event::default(), Event::default());
    let (inside, until) = (begun.clone(), over.clone());
    drop(runtime.handle().call(core, move || {
        inside.set();
        until.wait_blocking();
    }));
    begun.wait_blocking();
    over
}

#[test]
fn what_waits_for_a_busy_core_when_the_server_stops_is_served() {
    bounded(|| {
        for way in BOTH {
            let runtime = runtime(2);
            let server = start(&runtime, way, describe());
            let address = server.local_addr();
            let over = block(&runtime, 1);
            let streams: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
            wait_for("all to be placed", || server.connections() == 20);
            let stopping = runtime.spawn(async move { server.stop(LONG).await });
            wait_for("the listener to close", || TcpStream::connect(address).is_err());
            over.set();
            for stream in streams {
                Client::greeted(stream).talk(b"still here");
            }
            assert!(runtime.block_on(stopping).unwrap(), "{way:?}");
        }
    });
}

#[test]
fn what_waits_for_a_busy_core_when_the_runtime_ends_is_closed() {
    bounded(|| {
        for way in BOTH {
            let runtime = runtime(2);
            let server = start(&runtime, way, describe());
            let over = block(&runtime, 1);
            let streams: Vec<_> = (0..20).map(|_| TcpStream::connect(server.local_addr()).unwrap()).collect();
            wait_for("all to be placed", || server.connections() == 20);
            let (ends, ended) = mpsc::channel();
            thread::spawn(move || ends.send(runtime.shutdown_timeout(LONG)));
            over.set();
            let report = ended.recv().unwrap();
            assert!(report.is_clean(), "{way:?}: {report}");
            // The handle to the server is still there, and holds no connection.
            assert_eq!(server.connections_per_core(), [0, 0], "{way:?}");
            for mut stream in streams {
                let mut rest = Vec::new();
                // An end or a reset, but no silence.
                drop(stream.read_to_end(&mut rest));
            }
        }
    });
}

#[test]
fn a_storm_of_connections_is_served_to_the_last() {
    const THREADS: usize = 4;
    const EACH: usize = 800;
    bounded(|| {
        for way in BOTH {
            let runtime = kit::runtime(2);
            let server = start(&runtime, way, describe());
            let address = server.local_addr();
            let storms: Vec<_> = (0..THREADS)
                .map(|_| {
                    thread::spawn(move || {
                        for wave in 0..EACH / 100 {
                            let streams: Vec<_> =
                                (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
                            for stream in streams {
                                let mut client = Client::greeted(stream);
                                client.talk(&[wave as u8; 16]);
                            }
                        }
                    })
                })
                .collect();
            storms.into_iter().for_each(|storm| storm.join().unwrap());
            wait_for("all handlers to end", || server.connections() == 0);
            assert_eq!(server.connections_per_core(), [0, 0]);
            assert!(runtime.block_on(server.stop(LONG)), "{way:?}");
        }
    });
}

#[test]
fn a_socket_that_listens_already_is_served_by_all_cores_with_those_who_wait_at_it() {
    for way in BOTH {
        bounded(move || {
            let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = bound.local_addr().unwrap();
            // As an epoll runtime would have left it.
            bound.set_nonblocking(true).unwrap();
            let early: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
            let runtime = runtime(2);
            // One socket has one queue: its connections are placed, whatever is asked for.
            let server = start(&runtime, way, Serve::from(bound).balance(Balance::Kernel));
            assert_eq!(server.local_addr(), address);
            let late = (0..2).map(|_| TcpStream::connect(address).unwrap());
            let mut cores = Vec::new();
            let mut clients = Vec::new();
            for mut client in early.into_iter().chain(late) {
                let mut core = [0];
                client.read_exact(&mut core).unwrap();
                cores.push(core[0]);
                clients.push(client);
            }
            cores.sort_unstable();
            assert_eq!(cores, [0, 0, 1, 1], "{way:?}");
            drop(clients);
            assert!(runtime.block_on(server.stop(LONG)));
            drop(std::net::TcpListener::bind(address).expect("the socket is closed"));
        });
    }
}

#[test]
fn servers_that_share_a_socket_end_at_the_same_time() {
    bounded(|| {
        let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let gate = Arc::new(Barrier::new(2));
        let two = [bound.try_clone().unwrap(), bound];
        let ends = two.map(|bound| {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                let runtime = runtime(1);
                for round in 0..300 {
                    let serve = Serve::listener(bound.try_clone().unwrap());
                    let server = runtime.block_on(async { serve.start(|_, _| async {}).await }).unwrap();
                    gate.wait();
                    assert!(runtime.block_on(server.stop(LONG)), "round {round}");
                }
            })
        });
        for end in ends {
            end.join().unwrap();
        }
    });
}
