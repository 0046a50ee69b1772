//! `Balance::Nearest`: connections are served where their packets arrive, and by all cores wherever that is.

use crate::kit::{bounded, wait_for};
use crate::{BOTH, Client, LONG, Way, block, greet, start};
use ringwork::net::{ListenOptions, TcpStream as Stream};
use ringwork::runtime::{Builder, Pin, Runtime, Steal};
use ringwork::{Serve, Server};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Two CPUs for two pinned cores, and a kernel that asks where packets arrive.
fn two_cpus() -> Option<[usize; 2]> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next()?, numbers.next()?);
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
    let mut cpus = (0..nix::sched::CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap());
    (version >= (6, 2)).then_some([cpus.next()?, cpus.next()?])
}

/// Connects from one CPU, whose kernel then hands the packets over on it.
fn connect_from(cpu: usize, server: &Server, connections: usize) -> Vec<Client> {
    from_cpu(cpu, || (0..connections).map(|_| Client::new(server)).collect())
}

/// The same for connections that nobody has accepted yet.
fn streams_from(cpu: usize, server: &Server, connections: usize) -> Vec<TcpStream> {
    from_cpu(cpu, || (0..connections).map(|_| TcpStream::connect(server.local_addr()).unwrap()).collect())
}

fn from_cpu<T: Send>(cpu: usize, connect: impl FnOnce() -> T + Send) -> T {
    let connect = || {
        let mut set = nix::sched::CpuSet::new();
        set.set(cpu).unwrap();
        nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).unwrap();
        connect()
    };
    thread::scope(|scope| scope.spawn(connect).join().unwrap())
}

fn start_near(way: Way) -> (Runtime, Server) {
    let runtime = Builder::new().cores(2).pin(Pin::Each).steal(Steal::Never).build().unwrap();
    let server = start(&runtime, way, Serve::new(SocketAddr::from(([127, 0, 0, 1], 0))));
    (runtime, server)
}

#[test]
fn a_connection_is_served_where_its_packets_arrive() {
    bounded(|| {
        let Some(cpus) = two_cpus() else { return println!("skipped: one CPU, or Linux before 6.2") };
        for way in BOTH {
            let (runtime, server) = start_near(way);
            let mut clients = Vec::new();
            for core in [0, 1, 1, 0, 0, 1, 1, 0] {
                let more = connect_from(cpus[core], &server, 10);
                assert!(more.iter().all(|client| client.core == core), "{way:?}");
                clients.extend(more);
            }
            assert_eq!(server.connections_per_core(), [40, 40]);
            drop(clients);
            assert!(runtime.block_on(server.stop(LONG)));
        }
    });
}

/// Those of one CPU are all accepted before any of the other's, which wait meanwhile.
#[test]
fn a_burst_on_both_cpus_of_which_one_is_accepted_first_is_served_where_it_arrives() {
    bounded(|| {
        let Some(cpus) = two_cpus() else { return println!("skipped: one CPU, or Linux before 6.2") };
        for way in BOTH {
            let (runtime, server) = start_near(way);
            let over = block(&runtime, 1);
            let waiting = streams_from(cpus[1], &server, 40);
            let mut clients = connect_from(cpus[0], &server, 40);
            over.set();
            clients.extend(waiting.into_iter().map(Client::greeted));
            assert_eq!(server.connections_per_core(), [40, 40], "{way:?}");
            for (at, client) in clients.iter().enumerate() {
                assert_eq!(client.core, at / 40, "{way:?}");
            }
            drop(clients);
            assert!(runtime.block_on(server.stop(LONG)));
        }
    });
}

#[test]
fn few_that_all_come_in_on_one_cpu_are_served_by_all() {
    bounded(|| {
        let Some(cpus) = two_cpus() else { return println!("skipped: one CPU, or Linux before 6.2") };
        for way in BOTH {
            // One after the other, and all at once.
            for greeted in [true, false] {
                let (runtime, server) = start_near(way);
                let clients: Vec<Client> = if greeted {
                    connect_from(cpus[0], &server, 32)
                } else {
                    streams_from(cpus[0], &server, 32).into_iter().map(Client::greeted).collect()
                };
                assert_eq!(server.connections_per_core(), [16, 16], "{way:?}, {greeted}");
                drop(clients);
                assert!(runtime.block_on(server.stop(LONG)));
            }
        }
    });
}

#[test]
fn what_all_comes_in_on_one_cpu_is_served_by_all() {
    bounded(|| {
        let Some(cpus) = two_cpus() else { return println!("skipped: one CPU, or Linux before 6.2") };
        for way in BOTH {
            let (runtime, server) = start_near(way);
            let mut clients = connect_from(cpus[1], &server, 400);
            assert_eq!(server.connections_per_core(), [200, 200], "{way:?}");
            clients.iter_mut().for_each(|client| client.talk(b"and is served there"));
            // It is remembered: those that come after them are spread from the first one on.
            drop(clients);
            wait_for("the handlers to end", || server.connections() == 0);
            let clients = connect_from(cpus[1], &server, 10);
            assert_eq!(server.connections_per_core(), [5, 5], "{way:?}");
            drop(clients);
            assert!(runtime.block_on(server.stop(LONG)));
        }
    });
}

fn limited_to(most: usize) -> Serve {
    Serve::new(SocketAddr::from(([127, 0, 0, 1], 0))).options(ListenOptions::new().max_connections(most))
}

/// Cores that are not pinned: the kernel picks a listener by chance.
fn anywhere(cores: usize) -> Runtime {
    Builder::new().cores(cores).pin(Pin::Off).steal(Steal::Never).build().unwrap()
}

#[test]
fn one_listener_gets_all_places_of_a_limit_while_the_others_wait() {
    bounded(|| {
        for way in BOTH {
            // As many servers as it takes for all of their clients to come to one listener once.
            for _ in 0..12 {
                let runtime = anywhere(2);
                let server = start(&runtime, way, limited_to(1));
                let clients = [Client::new(&server), Client::new(&server)];
                assert_eq!(server.connections(), 2, "{way:?}");
                // The third one has its turn when another one goes.
                let third = TcpStream::connect(server.local_addr()).unwrap();
                drop(clients);
                Client::greeted(third).talk(b"and is served then");
                assert!(runtime.block_on(server.stop(LONG)));
            }
        }
    });
}

#[test]
fn listeners_that_share_a_limit_never_exceed_it_and_serve_everybody() {
    bounded(|| {
        let runtime = anywhere(3);
        let (alive, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counts, highest) = (Arc::clone(&alive), Arc::clone(&most));
        let handler = move |stream: Stream, _| {
            let (counts, highest) = (Arc::clone(&counts), Arc::clone(&highest));
            async move {
                highest.fetch_max(counts.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                greet(&stream).await;
                // Before its place is free for the next one.
                counts.fetch_sub(1, Ordering::SeqCst);
                drop(stream);
            }
        };
        let server = runtime.block_on(limited_to(1).start(handler)).unwrap();
        thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| (0..100).for_each(|_| Client::new(&server).talk(b"and is served")));
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 3, "all places are taken, and no more");
        wait_for("the handlers to end", || alive.load(Ordering::SeqCst) == 0);
        assert!(runtime.block_on(server.stop(LONG)));
    });
}
