//! No descriptor left: accepting pauses and says so, nobody is refused, and it goes on when there is room
//! again. A server that ends then leaves some, too.
//!
//! The limit is the process's, so the server runs in a child of its own: this binary again, told by a
//! variable.

use ringwork::Serve;
use ringwork::net::{ListenOptions, TcpListener};
use ringwork::runtime::Handle;
use ringwork::time::{Instant, timeout};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

mod events;
mod support;
use events::Events;
use support::{LIMIT, alone, descriptors, runtime, within};

const ROLE: &str = "RINGWORK_TEST_ROLE";
const DESCRIPTORS: u64 = 64;
const CLIENTS: usize = 200;

/// Times that the program was told that accepting pauses, and the events that said so.
static TOLD: AtomicUsize = AtomicUsize::new(0);
static EVENTS: AtomicUsize = AtomicUsize::new(0);

/// Counts, and then panics, which must stop no accept.
fn tell(error: &std::io::Error) {
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    TOLD.fetch_add(1, Ordering::SeqCst);
    std::panic::resume_unwind(Box::new("who is told may fail"));
}

/// The server: echoes one byte at a time, and says on demand how often its core has entered the kernel.
fn serve_with_few_descriptors() -> ! {
    let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
    nix::sys::resource::setrlimit(limit, DESCRIPTORS, DESCRIPTORS).unwrap();
    let runtime = runtime(1);
    let handle = runtime.handle().clone();
    let told = || {
        EVENTS.fetch_add(1, Ordering::SeqCst);
    };
    Events { target: "ringwork::accept", told }.listen();
    let options = ListenOptions::new().on_accept_error(tell);
    let listener = runtime.block_on(options.bind("127.0.0.1:0")).unwrap();
    println!("\nlistening {}", listener.local_addr().unwrap());
    let before = descriptors();
    drop(handle.spawn_on(0, move || accept_all(listener)));
    for line in std::io::stdin().lines() {
        match line.unwrap().as_str() {
            "enters" => println!("enters {}", handle.metrics().cores[0].enters),
            "descriptors" => println!("descriptors {}", descriptors() as i64 - before as i64),
            "pauses" => println!("pauses {}", handle.metrics().cores[0].accept_pauses),
            "told" => println!("told {}", TOLD.load(Ordering::SeqCst)),
            "events" => println!("events {}", EVENTS.load(Ordering::SeqCst)),
            other => panic!("no such question: {other}"),
        }
    }
    assert!(runtime.shutdown_timeout(LIMIT).is_clean());
    std::process::exit(0)
}

async fn accept_all(listener: TcpListener) {
    let handle = Handle::current();
    loop {
        let (stream, _) = listener.accept().await.expect("a full table is no error");
        drop(handle.spawn(async move {
            while let Ok(buf) = stream.recv_pooled().await {
                if buf.is_empty() || stream.send_all(buf).await.0.is_err() {
                    break;
                }
            }
        }));
    }
}

/// A server that is told to stop before its core looks at any client, and says how many files can be opened
/// behind that.
fn stop_with_few_descriptors() -> ! {
    let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
    nix::sys::resource::setrlimit(limit, DESCRIPTORS, DESCRIPTORS).unwrap();
    let runtime = runtime(1);
    // So many that there is no limit, and yet it has to accept one by one.
    let options = ListenOptions::new().max_connections(10 * CLIENTS);
    let serve = Serve::new("127.0.0.1:0".parse().unwrap()).options(options);
    let server = runtime.block_on(serve.start(|stream, _| async move { drop(stream.recv_pooled().await) }));
    let server = server.unwrap();
    let address = server.local_addr();
    let (hold, held) = std::sync::mpsc::channel();
    let (go, going) = std::sync::mpsc::channel();
    let stopped = runtime.handle().spawn_on(0, move || async move {
        hold.send(()).unwrap();
        going.recv().unwrap();
        server.stop(LIMIT).await
    });
    held.recv().unwrap();
    println!("\nlistening {address}");
    for line in std::io::stdin().lines() {
        match line.unwrap().as_str() {
            "stop" => go.send(()).unwrap(),
            "spare" => {
                let files = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok());
                println!("spare {}", files.collect::<Vec<_>>().len());
            }
            other => panic!("no such word: {other}"),
        }
    }
    assert!(runtime.block_on(stopped).unwrap());
    assert!(runtime.shutdown_timeout(LIMIT).is_clean());
    std::process::exit(0)
}

/// A listener whose accepts are given up, each after a moment, while the table is full.
fn give_accepts_up_without_descriptors() -> ! {
    let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
    nix::sys::resource::setrlimit(limit, DESCRIPTORS, DESCRIPTORS).unwrap();
    let runtime = runtime(1);
    let options = ListenOptions::new().on_accept_error(tell);
    runtime.block_on(async {
        let listener = options.bind("127.0.0.1:0").await.unwrap();
        let _files: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        let begun = Instant::now();
        for _ in 0..200 {
            timeout(Duration::from_millis(1), listener.accept()).await.expect_err("there is no room");
        }
        let pauses = begun.elapsed().as_millis() / 50;
        let told = TOLD.load(Ordering::SeqCst);
        assert!((1..=pauses + 2).contains(&(told as u128)), "told {told} times in {pauses} pauses");
    });
    std::process::exit(0)
}

struct Server {
    child: Child,
    answers: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(test: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([test, "--exact", "--nocapture"]).env(ROLE, "server");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self { child, answers, address: "127.0.0.1:0".parse().unwrap() };
        server.address = server.answer("listening").parse().unwrap();
        server
    }

    /// The rest of the next line that starts with `key`; the harness's own lines are skipped.
    fn answer(&mut self, key: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "the server ended early");
            if let Some(rest) = line.strip_prefix(key) {
                return rest.trim().to_owned();
            }
        }
    }

    fn tell(&self, word: &str) {
        writeln!(self.child.stdin.as_ref().unwrap(), "{word}").unwrap();
    }

    fn ask(&mut self, key: &str) -> i64 {
        self.tell(key);
        self.answer(key).parse().unwrap()
    }

    fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success(), "the server ended in order");
    }
}

/// Whether the connection is served within `patience`.
fn is_served(client: &mut TcpStream, patience: Duration) -> bool {
    client.set_read_timeout(Some(patience)).unwrap();
    let mut answer = [0];
    match client.read(&mut answer) {
        Ok(1) => true,
        Ok(_) => panic!("the server closed a connection"),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => false,
        Err(error) => panic!("a connection was reset: {error}"),
    }
}

#[test]
fn accepting_pauses_without_descriptors_and_goes_on_with_them() {
    if std::env::var(ROLE).is_ok() {
        serve_with_few_descriptors();
    }
    let _alone = alone();
    within(LIMIT, || {
        let mut server = Server::start("accepting_pauses_without_descriptors_and_goes_on_with_them");
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(server.address).unwrap()).collect();
        for client in &mut clients {
            client.write_all(b"?").unwrap();
        }
        // In the order they came: some are served, then the table is full, or nearly.
        let patience = Duration::from_secs(1);
        let served = clients.iter_mut().map_while(|client| is_served(client, patience).then_some(())).count();
        assert!(served >= 16 && served < DESCRIPTORS as usize, "{served} were served at first");
        // Full: no busy loop, whatever is tried meanwhile.
        let enters = server.ask("enters");
        assert!(!is_served(&mut clients[served], Duration::from_millis(500)), "the table is full");
        let enters = server.ask("enters") - enters;
        assert!(enters < 500, "{enters} enters in half a second of waiting for room");
        // And each pause is told to whoever wants to know; a subscriber hears of it now and then.
        let (told, pauses) = (server.ask("told"), server.ask("pauses"));
        assert!(told > 1 && pauses >= told, "told of {told} of {pauses} pauses");
        let events = server.ask("events");
        assert!(events >= 1 && events < told, "{events} events of {told} pauses");
        // Room comes: everybody is served in turn, and nobody was turned away.
        let mut waiting = clients.split_off(served);
        drop(clients);
        while !waiting.is_empty() {
            let mut client = waiting.remove(0);
            assert!(is_served(&mut client, Duration::from_secs(20)), "{} wait for ever", waiting.len());
        }
        let mut last = TcpStream::connect(server.address).unwrap();
        last.write_all(b"!").unwrap();
        assert!(is_served(&mut last, Duration::from_secs(20)));
        drop(last);
        while server.ask("descriptors") > 1 {
            std::thread::sleep(Duration::from_millis(5));
        }
        server.stop();
    });
}

#[test]
fn the_pause_is_the_listeners_and_not_that_of_an_accept_that_is_given_up() {
    if std::env::var(ROLE).is_ok() {
        give_accepts_up_without_descriptors();
    }
    let _alone = alone();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["the_pause_is_the_listeners_and_not_that_of_an_accept_that_is_given_up", "--exact"]);
    let ended = command.arg("--nocapture").env(ROLE, "listener").output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn a_server_that_stops_serves_as_many_as_leave_the_process_some_descriptors() {
    if std::env::var(ROLE).is_ok() {
        stop_with_few_descriptors();
    }
    let _alone = alone();
    within(LIMIT, || {
        let name = "a_server_that_stops_serves_as_many_as_leave_the_process_some_descriptors";
        let mut server = Server::start(name);
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(server.address).unwrap()).collect();
        server.tell("stop");
        // The last one has no place, which it hears when the listener is closed.
        let reset = clients[CLIENTS - 1].read(&mut [0]).unwrap_err();
        assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
        let spare = server.ask("spare");
        assert!((10..DESCRIPTORS as i64 / 2).contains(&spare), "{spare} descriptors are left");
        drop(clients);
        server.stop();
    });
}
