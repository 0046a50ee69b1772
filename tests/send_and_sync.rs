//! Which types and futures may go to another thread: those that must, and not those that must not.
//!
//! Most of it is checked when this compiles.

use ringwork::buf::{AlignedBuf, PooledBuf, Slice};
use ringwork::fs::{self, Dir, File, OpenOptions};
use ringwork::net::{self, ListenOptions, TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use ringwork::runtime::{
    AliveTask, Builder, EnterGuard, Handle, PanicPolicy, Runtime, ShutdownReport, StartError,
};
use ringwork::signal::{Signal, ctrl_c, shutdown};
use ringwork::task::{
    self, AbortHandle, AbortOnDrop, AccessError, Id, JoinError, JoinHandle, JoinSet, LocalKey,
    TaskLocalFuture,
};
use ringwork::time::{self, Duration, Instant, Interval, Sleep};
use ringwork::{Balance, CoreMetrics, LaneMetrics, Metrics, Serve, Server};
use std::cell::Cell;
use std::future::Ready;
use std::marker::{PhantomData, PhantomPinned};
use std::net::SocketAddr;
use std::rc::Rc;

fn both<T: Send + Sync + 'static>() {}
fn movable<T: Unpin>() {}

/// Takes what another thread may poll.
fn goes<F: Future + Send>(_: F) {}

/// Answers whether `T` is `Send`: the inherent constant is found only if the bound holds.
struct Probe<T>(PhantomData<T>);

trait Otherwise {
    const IS_SEND: bool = false;
}

impl<T> Otherwise for Probe<T> {}

impl<T: Send> Probe<T> {
    const IS_SEND: bool = true;
}

#[test]
fn handles_may_be_shared_by_threads() {
    both::<TcpStream>();
    both::<TcpListener>();
    both::<ListenOptions>();
    both::<net::OwnedRecvHalf>();
    both::<net::OwnedSendHalf>();
    both::<net::RecvHalf<'static>>();
    both::<net::SendHalf<'static>>();
    both::<UdpSocket>();
    both::<net::udp::Datagram>();
    both::<UnixStream>();
    both::<UnixListener>();
    both::<net::unix::OwnedRecvHalf>();
    both::<net::unix::OwnedSendHalf>();
    both::<net::unix::UCred>();
    both::<File>();
    both::<Dir>();
    both::<OpenOptions>();
    both::<fs::Metadata>();
    both::<Signal>();
    both::<PooledBuf>();
    both::<AlignedBuf>();
    both::<Slice<Vec<u8>>>();
    both::<Runtime>();
    both::<Handle>();
    both::<Builder>();
    both::<StartError>();
    both::<PanicPolicy>();
    both::<ShutdownReport>();
    both::<AliveTask>();
    both::<Metrics>();
    both::<CoreMetrics>();
    both::<LaneMetrics>();
    both::<Serve>();
    both::<Balance>();
    both::<Server>();
    both::<JoinHandle<Vec<u8>>>();
    both::<AbortHandle>();
    both::<AbortOnDrop<Vec<u8>>>();
    both::<JoinError>();
    both::<Id>();
    both::<task::Builder>();
    both::<JoinSet<Vec<u8>>>();
    both::<LocalKey<Rc<()>>>();
    both::<AccessError>();
    both::<Sleep>();
    both::<Interval>();
    both::<Instant>();
}

#[test]
fn what_belongs_to_a_thread_stays_there() {
    const { assert!(!Probe::<EnterGuard>::IS_SEND) };
    const { assert!(!Probe::<JoinHandle<Rc<()>>>::IS_SEND) };
    const { assert!(Probe::<JoinHandle<()>>::IS_SEND) };
    const { assert!(!Probe::<JoinSet<Rc<()>>>::IS_SEND) };
    const { assert!(!Probe::<TaskLocalFuture<Rc<()>, Ready<()>>>::IS_SEND) };
    const { assert!(Probe::<TaskLocalFuture<Cell<u8>, Ready<()>>>::IS_SEND) };
    const { assert!(!Probe::<AbortOnDrop<Rc<()>>>::IS_SEND) };
}

#[test]
fn handles_and_timers_may_be_moved_while_they_are_polled() {
    movable::<JoinHandle<Rc<()>>>();
    movable::<JoinSet<Rc<()>>>();
    movable::<TaskLocalFuture<PhantomPinned, Ready<()>>>();
    movable::<AbortOnDrop<Rc<()>>>();
    movable::<Sleep>();
    movable::<net::Recv<'static, Vec<u8>>>();
    movable::<net::RecvPooled<'static>>();
    movable::<net::Send<'static, Vec<u8>>>();
    movable::<net::SendAll<'static, Vec<u8>>>();
    movable::<net::Accept<'static>>();
    movable::<net::Accept<'static, UnixStream>>();
    movable::<net::udp::Recv<'static, Vec<u8>>>();
    movable::<net::udp::RecvFrom<'static, Vec<u8>>>();
    movable::<net::udp::Send<'static, Vec<u8>>>();
    movable::<fs::ReadAt<'static, Vec<u8>>>();
    movable::<fs::WriteAt<'static, Vec<u8>>>();
    movable::<task::YieldNow>();
}

fn connected() -> (TcpListener, TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let listener = ListenOptions::new().from_std(listener).unwrap();
    (listener, TcpStream::from_std(client).unwrap())
}

#[test]
fn futures_of_the_network_may_move_with_their_task() {
    let (listener, stream) = connected();
    let address: SocketAddr = listener.local_addr().unwrap();
    goes(TcpStream::connect(address));
    goes(TcpStream::connect("localhost:80"));
    goes(TcpListener::bind("localhost:80"));
    goes(listener.accept());
    goes(listener.accept_stream());
    goes(stream.recv(Vec::new()));
    goes(stream.recv([0; 16]));
    goes(stream.peek([0; 16]));
    goes(stream.recv_exact(Vec::new()));
    goes(stream.recv_pooled());
    goes(stream.send("bytes"));
    goes(stream.send_all(vec![1]));
    goes(stream.send_vectored(vec![vec![1], vec![2]]));
    goes(stream.shutdown_write());
    goes(stream.recv_pooled().timeout(Duration::ZERO));
    goes(stream.send_all("bytes").cancel());
    let file = File::from_std(std::fs::File::open("Cargo.toml").unwrap());
    goes(stream.send_file(&file, 0, 10));
    goes(stream.send_file_with_head("head", &file, 0, 10));
    goes(stream.release());
    goes(ringwork::serve_per_core(address, |_, _| async {}));
}

#[test]
fn futures_of_other_sockets_may_move_with_their_task() {
    let socket = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    goes(UdpSocket::bind("localhost:80"));
    goes(socket.connect(address));
    goes(socket.recv(Vec::new()));
    goes(socket.recv_from([0; 16]));
    goes(socket.peek_from([0; 16]));
    goes(socket.recv_datagram(Vec::new()).timeout(Duration::ZERO));
    goes(socket.send("bytes"));
    goes(socket.send_to(vec![1], address).cancel());
    let (stream, _other) = UnixStream::pair().unwrap();
    goes(UnixStream::connect("path"));
    goes(stream.recv_exact(Vec::new()));
    goes(stream.send_vectored(vec![vec![1], vec![2]]));
    goes(stream.shutdown_write());
    goes(stream.release());
}

#[test]
fn futures_of_sets_may_move_with_their_task() {
    let mut set = JoinSet::<Vec<u8>>::new();
    goes(set.join_next());
    goes(set.join_next_with_id());
    goes(set.shutdown());
    goes(set.join_all());
}

#[test]
fn futures_of_files_signals_and_time_may_move_with_their_task() {
    let file = File::from_std(std::fs::File::open("Cargo.toml").unwrap());
    goes(File::open("path"));
    goes(File::create("path"));
    goes(OpenOptions::new().read(true).open("path"));
    goes(Dir::open("path"));
    goes(file.read_at(Vec::new(), 0));
    goes(file.write_at("bytes", 0));
    goes(file.read_exact_at(Vec::new(), 0));
    goes(file.write_all_at("bytes", 0));
    goes(file.sync_all());
    goes(file.sync_data());
    goes(file.set_len(1));
    goes(file.allocate(0, 1));
    goes(file.metadata());
    goes(fs::read("path"));
    goes(fs::write("path", "bytes"));
    goes(fs::metadata("path"));
    goes(time::sleep(Duration::ZERO));
    goes(time::advance(Duration::ZERO));
    goes(time::timeout(Duration::ZERO, async {}));
    goes(task::yield_now());
    goes(task::coop::consume_budget());
    goes(task::coop::unconstrained(async {}));
    goes(task::coop::cooperative(async {}));
    // Made, they would listen: only their types are looked at.
    fn of<F: Future + Send>(_: fn() -> F) {}
    of(ctrl_c);
    of(shutdown);
}

/// A future that held its buffer inline would make every task as large as its largest buffer.
#[test]
fn futures_of_ops_are_small() {
    let (listener, stream) = connected();
    let file = File::from_std(std::fs::File::open("Cargo.toml").unwrap());
    for (what, size) in [
        ("accept", size_of_val(&listener.accept_stream())),
        ("recv", size_of_val(&stream.recv(Vec::new()))),
        ("recv_exact", size_of_val(&stream.recv_exact(Vec::new()))),
        ("recv_pooled", size_of_val(&stream.recv_pooled())),
        ("send_all", size_of_val(&stream.send_all(Vec::new()))),
        ("read_at", size_of_val(&file.read_at(Vec::new(), 0))),
        ("write_at", size_of_val(&file.write_at(Vec::new(), 0))),
        ("sleep", size_of_val(&time::sleep(Duration::ZERO))),
    ] {
        println!("{what}: {size} bytes");
        assert!(size <= 512, "{what}: {size} bytes");
    }
}
