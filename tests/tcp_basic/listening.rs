//! Listeners: several acceptors, dropped accepts, limits, options.

use crate::support::{LIMIT, listen, on_cores, runtime, within};
use futures_util::future::select;
use futures_util::poll;
use ringwork::net::{ListenOptions, TcpListener, TcpStream};
use ringwork::time::timeout;
use std::cell::Cell;
use std::collections::HashSet;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);
const NEVER: Duration = Duration::from_millis(50);

#[test]
fn several_tasks_accept_from_one_listener_and_none_is_forgotten() {
    on_cores(2, |handle| async move {
        let (listener, address) = listen().await;
        let listener = std::sync::Arc::new(listener);
        let acceptors: Vec<_> = (0..10)
            .map(|n| {
                let listener = std::sync::Arc::clone(&listener);
                handle.spawn_on(n % 2, move || async move { listener.accept().await.unwrap().1 })
            })
            .collect();
        let clients: Vec<_> = (0..10).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let mut accepted = HashSet::new();
        for acceptor in acceptors {
            accepted.insert(timeout(LONG, acceptor).await.expect("every acceptor gets one").unwrap());
        }
        let expected: HashSet<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
        assert_eq!(accepted, expected);
    });
}

#[test]
fn a_dropped_accept_takes_no_connection_from_those_who_wait() {
    on_cores(1, |handle| async move {
        let (listener, address) = listen().await;
        let listener = std::sync::Arc::new(listener);
        for _ in 0..20 {
            let impatient = std::sync::Arc::clone(&listener);
            // First in line, and gone before anybody connects; its task lives on.
            let (gone, may_end) = (event(), event());
            let (says_gone, end) = (gone.clone(), may_end.clone());
            let first = handle.spawn_on(0, move || async move {
                assert!(timeout(Duration::from_millis(1), impatient.accept()).await.is_err());
                says_gone.set();
                end.wait().await;
            });
            let patient = std::sync::Arc::clone(&listener);
            let second = handle.spawn_on(0, move || async move { patient.accept().await.unwrap() });
            gone.wait().await;
            let client = std::net::TcpStream::connect(address).unwrap();
            let accepted = timeout(Duration::from_secs(5), second).await;
            let (_, peer) = accepted.expect("the connection goes to the one who still waits").unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            may_end.set();
            first.await.unwrap();
        }
    });
}

/// Something that happens once.
#[derive(Clone)]
struct Event(std::sync::Arc<std::sync::Mutex<(bool, Vec<std::task::Waker>)>>);

fn event() -> Event {
    Event(std::sync::Arc::default())
}

impl Event {
    fn set(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 = true;
        state.1.drain(..).for_each(std::task::Waker::wake);
    }

    async fn wait(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.0.lock().unwrap();
            if state.0 {
                return std::task::Poll::Ready(());
            }
            state.1.push(cx.waker().clone());
            std::task::Poll::Pending
        })
        .await;
    }
}

#[test]
fn connections_accepted_for_a_dropped_accept_go_to_the_next() {
    on_cores(1, |_| async {
        let (listener, address) = listen().await;
        let mut dropped = Box::pin(listener.accept());
        assert!(poll!(dropped.as_mut()).is_pending());
        let clients: Vec<_> = (0..5).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        drop(dropped);
        for client in &clients {
            let (stream, peer) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            stream.send_all("x").await.0.unwrap();
        }
        for mut client in clients {
            assert_eq!(client.read(&mut [0]).unwrap(), 1);
        }
    });
}

#[test]
fn a_thread_that_is_no_core_and_a_core_accept_from_one_listener() {
    on_cores(2, |handle| async move {
        let (listener, address) = listen().await;
        let listener = std::sync::Arc::new(listener);
        let here = std::sync::Arc::clone(&listener);
        let there = handle.spawn_on(1, move || async move { listener.accept().await.unwrap() });
        let mut here = pin!(here.accept());
        assert!(poll!(here.as_mut()).is_pending());
        let one = TcpStream::connect(address).await.unwrap();
        let two = TcpStream::connect(address).await.unwrap();
        let (here, there) = futures_util::join!(timeout(LONG, here), timeout(LONG, there));
        let got: HashSet<_> = [here.unwrap().unwrap().1, there.unwrap().unwrap().1].into();
        assert_eq!(got, [one.local_addr().unwrap(), two.local_addr().unwrap()].into());
    });
}

#[test]
fn a_burst_far_above_the_high_water_mark_is_accepted_whole() {
    on_cores(2, |handle| async move {
        let (listener, address) = listen().await;
        let listener = handle.spawn_on(0, move || async move {
            let mut waiting = pin!(listener.accept());
            assert!(poll!(waiting.as_mut()).is_pending());
            // Armed now; nobody claims while 300 connect.
            let clients = ringwork::spawn_blocking(move || {
                let connect = |_| std::net::TcpStream::connect(address).unwrap();
                (0..300).map(connect).collect::<Vec<_>>()
            });
            let clients = clients.await.unwrap();
            let mut accepted = vec![waiting.await.unwrap().1];
            while accepted.len() < clients.len() {
                accepted.push(timeout(LONG, listener.accept()).await.expect("one is left").unwrap().1);
            }
            let accepted: HashSet<_> = accepted.into_iter().collect();
            assert!(clients.iter().all(|client| accepted.contains(&client.local_addr().unwrap())));
        });
        listener.await.unwrap();
    });
}

#[test]
fn no_more_connections_live_than_allowed() {
    on_cores(2, |handle| async move {
        let options = ListenOptions::new().max_connections(3);
        let listener = options.bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ran = handle.spawn_on(0, move || async move {
            let clients: Vec<_> = (0..8).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            let mut live = Vec::new();
            for _ in 0..3 {
                live.push(timeout(LONG, listener.accept()).await.unwrap().unwrap().0);
            }
            assert_eq!(listener.connections(), Some(3));
            // The rest waits in the kernel, not with us.
            assert!(timeout(NEVER, listener.accept()).await.is_err());
            assert_eq!(sockets_to(address), 1 + 3, "the listener and three accepted sockets");
            for _ in 0..5 {
                live.remove(0);
                live.push(timeout(LONG, listener.accept()).await.unwrap().unwrap().0);
                assert_eq!(listener.connections(), Some(3));
            }
            drop((live, clients));
        });
        ran.await.unwrap();
    });
}

#[test]
fn an_accept_that_waits_is_no_connection() {
    on_cores(1, |_| async {
        let listener = ListenOptions::new().max_connections(2).bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Box::pin(listener.accept());
        assert!(poll!(waiting.as_mut()).is_pending());
        assert_eq!(listener.connections(), Some(0));
        let _client = TcpStream::connect(address).await.unwrap();
        let (stream, _) = waiting.await.unwrap();
        assert_eq!(listener.connections(), Some(1));
        drop(stream);
        assert_eq!(listener.connections(), Some(0));
    });
}

#[test]
fn a_connection_won_by_a_dropped_accept_under_a_limit_goes_to_one_who_waits() {
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let listener = ListenOptions::new().max_connections(8).bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            for _ in 0..50 {
                let mut dropped = Box::pin(listener.accept());
                let mut kept = Box::pin(listener.accept());
                assert!(poll!(dropped.as_mut()).is_pending());
                assert!(poll!(kept.as_mut()).is_pending());
                // The connection is complete; the core has not looked at its ring since.
                let client = std::net::TcpStream::connect(address).unwrap();
                drop(dropped);
                let accepted = timeout(Duration::from_secs(5), kept).await;
                let (_, peer) = accepted.expect("the connection is not left behind").unwrap();
                assert_eq!(peer, client.local_addr().unwrap());
            }
        });
        ran.await.unwrap();
    });
}

#[test]
fn every_acceptor_at_the_limit_is_woken_when_there_is_room() {
    on_cores(2, |handle| async move {
        let listener = ListenOptions::new().max_connections(2).bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = std::sync::Arc::new(listener);
        let clients: Vec<_> = (0..6).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let one = listener.accept().await.unwrap().0;
        let two = listener.accept().await.unwrap().0;
        let impatient = std::sync::Arc::clone(&listener);
        let mut acceptors: Vec<_> = (0..2)
            .map(|n| {
                let listener = std::sync::Arc::clone(&listener);
                handle.spawn_on(n, move || async move { listener.accept().await.unwrap().0 })
            })
            .collect();
        // A third one waits longest behind and leaves.
        assert!(timeout(NEVER, impatient.accept()).await.is_err());
        drop(one);
        drop(two);
        for acceptor in acceptors.drain(..) {
            drop(timeout(Duration::from_secs(5), acceptor).await.expect("there is room for both").unwrap());
        }
        drop(clients);
    });
}

/// Descriptors of this process whose local address is `address`.
fn sockets_to(address: std::net::SocketAddr) -> usize {
    let numbers = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let is_ours = |number: &i32| {
        // SAFETY: the number is only used while it is asked for its address; a stale one answers EBADF.
        let socket = unsafe { std::os::fd::BorrowedFd::borrow_raw(*number) };
        let local = socket2::SockRef::from(&socket).local_addr();
        local.is_ok_and(|local| local.as_socket() == Some(address))
    };
    numbers.filter(is_ours).count()
}

#[test]
fn a_port_in_use_is_an_error_unless_both_share_it() {
    on_cores(1, |_| async {
        let (listener, address) = listen().await;
        let error = TcpListener::bind(address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let share = ListenOptions::new().reuse_port(true);
        assert_eq!(share.bind(address).await.unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(listener);
        let one = share.bind("127.0.0.1:0").await.unwrap();
        let two = share.bind(one.local_addr().unwrap()).await.unwrap();
        assert_eq!(one.local_addr().unwrap(), two.local_addr().unwrap());
    });
}

#[test]
fn connections_spread_over_listeners_that_share_a_port() {
    on_cores(2, |_| async {
        let share = ListenOptions::new().reuse_port(true);
        let one = share.bind("127.0.0.1:0").await.unwrap();
        let address = one.local_addr().unwrap();
        let two = share.bind(address).await.unwrap();
        let clients: Vec<_> = (0..64).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let counts = [Cell::new(0), Cell::new(0)];
        let [first, second] = &counts;
        let accepts = async |listener: &TcpListener, count: &Cell<usize>| {
            while first.get() + second.get() < clients.len() {
                listener.accept().await.unwrap();
                count.set(count.get() + 1);
            }
        };
        // Whichever has the last one; the other waits for one that never comes.
        let (to_one, to_two) = (pin!(accepts(&one, first)), pin!(accepts(&two, second)));
        timeout(LONG, select(to_one, to_two)).await.expect("all connections come");
        assert_eq!(first.get() + second.get(), clients.len());
        assert!(counts.iter().all(|count| count.get() > 0), "{counts:?}");
    });
}

#[test]
fn a_backlog_holds_about_as_many_as_it_says() {
    within(LIMIT, || {
        let runtime = runtime(1);
        let listener = runtime.block_on(ListenOptions::new().backlog(4).bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        // The kernel takes one more than the backlog; what does not fit gets no answer to its SYN.
        let connect = |_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let connected: Vec<_> = (0..8).map_while(connect).collect();
        assert_eq!(connected.len(), 5);
    });
}

#[test]
fn a_std_listener_is_taken_over_with_what_waits_in_it() {
    on_cores(1, |_| async {
        let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std.set_nonblocking(true).unwrap();
        let client = std::net::TcpStream::connect(std.local_addr().unwrap()).unwrap();
        let listener = ListenOptions::new().from_std(std).unwrap();
        assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());
    });
}

#[test]
fn dropping_a_listener_with_an_armed_accept_frees_the_port() {
    on_cores(2, |handle| async move {
        let (listener, address) = listen().await;
        let listener = handle.spawn_on(0, move || async move {
            let mut waiting = Box::pin(listener.accept());
            assert!(poll!(waiting.as_mut()).is_pending());
            drop(waiting);
            listener
        });
        // Dropped away from the core that holds the accept.
        drop(listener.await.unwrap());
        let free = async {
            while let Err(error) = TcpListener::bind(address).await {
                assert_eq!(error.kind(), ErrorKind::AddrInUse);
                ringwork::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, free).await.expect("the port comes free");
    });
}

/// As by a server that hands its socket to its successor.
#[test]
fn a_listener_whose_descriptor_was_given_to_others_goes_on_for_them() {
    on_cores(2, |_| async {
        let (listener, address) = listen().await;
        let successor = std::net::TcpListener::from(listener.as_fd().try_clone_to_owned().unwrap());
        drop(listener);
        let client = std::net::TcpStream::connect(address).expect("somebody listens");
        let successor = TcpListener::from_std(successor).unwrap();
        let (_, peer) = timeout(LONG, successor.accept()).await.unwrap().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    });
}

#[test]
fn accepts_that_are_dropped_take_no_more_connections_than_allowed() {
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let listener = ListenOptions::new().max_connections(2).bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let clients: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            for _ in 0..20 {
                let mut dropped = Box::pin(listener.accept());
                assert!(poll!(dropped.as_mut()).is_pending());
            }
            // What they have taken has come, and what was to be cancelled is.
            for _ in 0..20 {
                ringwork::task::yield_now().await;
            }
            assert!(sockets_to(address) <= 3, "{} of ours", sockets_to(address));
            // All of them come, one after the other, each in its turn.
            for _ in &clients {
                drop(timeout(LONG, listener.accept()).await.expect("there is room").unwrap());
            }
            assert_eq!(listener.connections(), Some(0));
        });
        ran.await.unwrap();
    });
}

#[test]
fn accepting_many_that_wait_lets_other_tasks_run_in_between() {
    on_cores(1, |handle| async move {
        let ran = handle.spawn_on(0, || async {
            let (listener, address) = listen().await;
            let clients: Vec<_> = (0..600).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            let (turns, is_over) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
            let other = ringwork::spawn_local({
                let (turns, is_over) = (Rc::clone(&turns), Rc::clone(&is_over));
                async move {
                    while !is_over.get() {
                        turns.set(turns.get() + 1);
                        ringwork::task::yield_now().await;
                    }
                }
            });
            let mut streams = vec![listener.accept().await.unwrap()];
            // A multishot has taken all there was, and so nothing has to be waited for.
            while streams.len() < clients.len() {
                let before = turns.get();
                let mut at_once = 0;
                while streams.len() < clients.len() && turns.get() == before {
                    streams.push(listener.accept().await.unwrap());
                    at_once += 1;
                }
                assert!(at_once <= 130, "{at_once} without a pause");
            }
            is_over.set(true);
            other.await.unwrap();
        });
        ran.await.unwrap();
    });
}

#[test]
fn a_listener_outlives_its_runtime_and_accepts_under_another() {
    within(LIMIT, || {
        let first = runtime(2);
        let listener = first.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let armed = first.handle().spawn_on(1, move || async move {
            {
                let mut waiting = pin!(listener.accept());
                assert!(poll!(waiting.as_mut()).is_pending());
            }
            listener
        });
        let listener = first.block_on(armed).unwrap();
        assert!(first.shutdown_timeout(LONG).is_clean());
        let client = std::net::TcpStream::connect(address).unwrap();
        let second = runtime(1);
        let (_, peer) = second.block_on(listener.accept()).unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        // An accept that waits when its runtime ends says so.
        let mut waiting = Box::pin(listener.accept());
        let guard = second.handle().enter();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert!(second.shutdown_timeout(LONG).is_clean());
        let error = futures_executor::block_on(waiting).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
        drop(guard);
    });
}
