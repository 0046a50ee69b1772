//! Tests of `connection.rs` that look inside a running server: real sockets, one core. What its users can see
//! is tested from outside (`tests/file_server_example`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream as Client};
use std::path::PathBuf;

use ringwork::fs::Dir;
use ringwork::runtime::{Builder, Pin, Runtime};
use ringwork::{CoreMetrics, Serve, Server as Serving};
use socket2::{Domain, SockRef, Socket, Type};

use super::*;
use crate::cache::Cache;
use crate::site::Site;

/// Far more than a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server on the one core of a runtime, with a folder of its own that is removed at the end.
struct Served {
    serving: Option<Serving>,
    runtime: Runtime,
    address: SocketAddr,
    folder: PathBuf,
}

impl Served {
    /// Serves one file; `prepare` is done to each socket before.
    fn new(name: &str, file: &[u8], prepare: fn(SockRef<'_>)) -> Served {
        let folder = std::env::temp_dir().join(format!("file_server-{name}-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a new folder");
        std::fs::write(folder.join("file"), file).expect("a new file");
        let runtime = Builder::new().cores(1).pin(Pin::Off).build().expect("a runtime");
        let serving = runtime.block_on(async {
            let root = Dir::open(&folder).await.expect("the folder is there");
            let per_core = move || {
                let site = Site::new(root.clone(), Cache::new(Duration::ZERO, 0));
                let server = Rc::new(Server::new(site, crate::STOP.with(Rc::clone)));
                move |stream: TcpStream, _peer| {
                    prepare(SockRef::from(&stream));
                    serve(stream, Rc::clone(&server))
                }
            };
            Serve::new(SocketAddr::from(([127, 0, 0, 1], 0))).start_local(per_core).await
        });
        let serving = serving.expect("a free port");
        let address = serving.local_addr();
        Served { serving: Some(serving), runtime, address, folder }
    }

    fn connect(&self) -> Client {
        patient(Client::connect(self.address).expect("the server accepts"))
    }

    /// A client that the kernel keeps next to nothing for.
    fn connect_narrow(&self) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("an option");
        socket.connect(&self.address.into()).expect("the server accepts");
        patient(socket.into())
    }

    fn metrics(&self) -> CoreMetrics {
        self.runtime.handle().metrics().cores.swap_remove(0)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn patient(client: Client) -> Client {
    client.set_read_timeout(Some(PATIENCE)).expect("an option");
    client
}

/// Asks for something, and reads the answer, which has no body.
fn ask(mut client: &Client) {
    client.write_all(b"OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n").expect("the server takes it");
    let mut lines = BufReader::new(client).lines().map(|line| line.expect("a line of the head"));
    assert_eq!(lines.next().as_deref(), Some("HTTP/1.1 204 No Content"));
    assert!(lines.any(|line| line.is_empty()), "the head has an end");
}

#[test]
fn clients_whose_requests_do_not_come_to_their_end_hold_no_pooled_buffer() {
    let served = Served::new("unfinished", b"", |_| ());
    let other = served.connect();
    ask(&other);
    let buffers = served.metrics().pool_buffers;
    assert!(buffers > 0, "the pool could not be registered");
    let mut unfinished = Vec::new();
    for _ in 0..buffers + 8 {
        let mut client = served.connect();
        client.write_all(b"G").expect("the server takes it");
        unfinished.push(client);
        // What is answered behind it shows that the core goes on, and that it has had its turn.
        ask(&other);
    }
    assert_eq!(served.metrics().pool_misses, 0, "somebody found the pool empty");
}

#[test]
fn a_connection_that_is_to_end_waits_until_a_small_answer_has_left() {
    let file = vec![b'x'; body::SMALL_MAX as usize];
    // Together with the client's they hold about half of it.
    let mut served = Served::new("leaving", &file, |socket| {
        socket.set_send_buffer_size(1).expect("an option");
    });
    let mut client = served.connect_narrow();
    client.write_all(b"GET /file HTTP/1.1\r\nHost: test\r\n\r\n").expect("the server takes it");
    client.peek(&mut [0]).expect("the answer is on its way");

    let stopping = served.runtime.handle().call(0, || crate::STOP.with(|stop| stop.stop()));
    served.runtime.block_on(stopping).expect("the core goes on");
    let serving = served.serving.take().expect("it has not been stopped before");
    let mut stopped = pin!(serving.stop(PATIENCE));
    // Longer than an idle connection is listened to: it would be gone.
    let early = served.runtime.block_on(timeout(5 * LAST_CALL, stopped.as_mut()));
    assert!(early.is_err(), "the connection has ended while its answer was on its way");

    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("the connection ends in order");
    assert!(answer.ends_with(&file), "{} bytes have come", answer.len());
    assert!(served.runtime.block_on(stopped), "the connection did not end");
}
