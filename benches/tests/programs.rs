//! The programs under measurement do the work they claim: an echo that loses bytes or a proxy that swallows
//! an end of stream would be fast and worthless.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

const ECHOES: &[&str] = &[
    "floor_echo",
    "epoll_echo",
    "tokio_echo",
    "tokio-multi_echo",
    "monoio_echo",
    "glommio_echo",
    "compio_echo",
    "smol_echo",
    #[cfg(feature = "ringwork")]
    "ringwork_echo",
];
const PROXIES: &[&str] = &[
    "floor_proxy",
    "tokio_proxy",
    "tokio-multi_proxy",
    "monoio_proxy",
    "glommio_proxy",
    "compio_proxy",
    "smol_proxy",
    #[cfg(feature = "ringwork")]
    "ringwork_proxy",
];
const STORES: &[&str] = &[
    "floor_kv",
    "tokio_kv",
    "tokio-multi_kv",
    "monoio_kv",
    #[cfg(feature = "ringwork")]
    "ringwork_kv",
    #[cfg(feature = "ringwork")]
    "ringwork-ported_kv",
];
/// Peers of every workload that need nothing but this package.
#[cfg(feature = "ringwork")]
const NO_FOREIGN: &str =
    "floor,epoll,pread,tokio,tokio-multi,monoio,glommio,compio,smol,ringwork,ringwork-bare";
#[cfg(not(feature = "ringwork"))]
const NO_FOREIGN: &str = "floor,epoll,pread,tokio,tokio-multi,monoio,glommio,compio,smol";
/// More than sockets and buffer pools hold together.
const LENGTH: usize = 24 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

struct Server(Child);

impl Server {
    fn start(program: &str, args: &[&str]) -> (Server, SocketAddr) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringwork-bench"))
            .args(["serve", program])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the harness starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("asked for");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim().parse().expect("an address");
        (Server(child), address)
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0.id())).expect("it runs").count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    stream
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

fn ping(address: SocketAddr) -> io::Result<()> {
    let mut stream = connect(address);
    let mut answer = [0; 5];
    stream.write_all(b"hello")?;
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"hello");
    Ok(())
}

/// Writes everything and ends the stream; reads slowly, through a small window, until the end comes back,
/// so that the program has to hold back what it was sent.
fn there_and_back(address: SocketAddr) -> Vec<u8> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
    socket.set_recv_buffer_size(32 << 10).expect("a valid size");
    socket.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    socket.connect(&address.into()).expect("it listens");
    let mut reader = TcpStream::from(socket);
    let mut writer = reader.try_clone().expect("a descriptor");
    let sending = thread::spawn(move || {
        writer.write_all(&pattern(LENGTH))?;
        writer.shutdown(Shutdown::Write)
    });
    let (mut received, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        match reader.read(&mut piece) {
            // A process that is stopped and goes on: a socket with a time limit is not read again by itself.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) => break,
            Ok(n) => received.extend_from_slice(&piece[..n]),
            Err(error) => panic!("the stream goes on: {error}"),
        }
    }
    sending.join().expect("no panic").expect("all was sent");
    received
}

#[test]
fn echo_returns_more_than_its_buffers_hold_and_passes_the_end_on() {
    for program in ECHOES {
        let (_server, address) = Server::start(program, &[]);
        assert!(there_and_back(address) == pattern(LENGTH), "{program} changed bytes");
        ping(address).unwrap_or_else(|e| panic!("{program}: {e}"));
    }
}

#[test]
fn proxy_passes_bytes_and_half_closes_on_both_ways() {
    for program in PROXIES {
        let upstream = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let upstream_address = upstream.local_addr().expect("bound").to_string();
        let (_server, address) = Server::start(program, &[&format!("upstream={upstream_address}")]);
        let serving = thread::spawn(move || {
            let (mut stream, _) = upstream.accept().expect("the proxy connects");
            let mut all = Vec::new();
            // Answers only after the client's end has arrived: a swallowed half-close would hang here.
            stream.read_to_end(&mut all).expect("the stream ends");
            stream.write_all(&all).expect("the proxy takes it");
        });
        assert!(there_and_back(address) == pattern(LENGTH), "{program} changed bytes");
        serving.join().expect("no panic");
    }
}

#[test]
fn proxy_closes_the_client_when_the_upstream_refuses() {
    for program in PROXIES {
        let closed = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
        let (_server, address) = Server::start(program, &[&format!("upstream={closed}")]);
        for _ in 0..20 {
            let mut rest = Vec::new();
            // Reset or end: either tells the client.
            let _ = connect(address).read_to_end(&mut rest);
            assert!(rest.is_empty(), "{program}");
        }
    }
}

#[test]
fn echo_keeps_no_descriptor_of_a_connection_that_was_reset() {
    for program in ECHOES {
        let (server, address) = Server::start(program, &[]);
        ping(address).unwrap_or_else(|e| panic!("{program}: {e}"));
        let at_first = server.descriptors();
        let message = pattern(64 << 10);
        for round in 0..200 {
            let mut stream = connect(address);
            let _ = stream.write(&message[..1 + round * 300]);
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a valid option");
        }
        ping(address).unwrap_or_else(|e| panic!("{program}: {e}"));
        let deadline = Instant::now() + PATIENCE;
        while server.descriptors() > at_first {
            assert!(Instant::now() < deadline, "{program}: {} descriptors", server.descriptors());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn stores_answer_in_order_however_the_commands_are_cut() {
    let (long, mut say) = (pattern(300 << 10), Vec::new());
    say.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*3\r\n$3\r\nset\r\n$1\r\na\r\n$4\r\n\r\n$9\r\n");
    say.extend_from_slice(format!("*3\r\n$3\r\nSET\r\n$4\r\nlong\r\n${}\r\n", long.len()).as_bytes());
    say.extend_from_slice(&long);
    say.extend_from_slice(b"\r\n*1\r\n$4\r\nWHAT\r\n*2\r\n$3\r\nGET\r\n$4\r\nlong\r\n");
    say.extend_from_slice(b"*2\r\n$3\r\nget\r\n$1\r\na\r\n");
    let mut hear = b"$-1\r\n+OK\r\n+OK\r\n-ERR unknown command\r\n".to_vec();
    hear.extend_from_slice(format!("${}\r\n", long.len()).as_bytes());
    hear.extend_from_slice(&long);
    hear.extend_from_slice(b"\r\n$4\r\n\r\n$9\r\n");
    for program in STORES {
        let (server, address) = Server::start(program, &[]);
        let mut stream = connect(address);
        // The beginning and the end in pieces that end anywhere, each in a segment of its own.
        stream.set_nodelay(true).expect("a valid option");
        let (first, rest) = say.split_at(40);
        let (middle, last) = rest.split_at(rest.len() - 40);
        for piece in first.chunks(3).chain([middle]).chain(last.chunks(7)) {
            stream.write_all(piece).unwrap_or_else(|e| panic!("{program}: {e}"));
        }
        let mut heard = vec![0; hear.len()];
        stream.read_exact(&mut heard).unwrap_or_else(|e| panic!("{program}: {e}"));
        assert!(heard == hear, "{program}: {}", String::from_utf8_lossy(&heard[..60]));
        let with_one = server.descriptors();
        let mut wrong = connect(address);
        wrong.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap_or_else(|e| panic!("{program}: {e}"));
        // An end or a reset: either says that nothing more will come.
        assert!(!matches!(wrong.read(&mut heard), Ok(1..)), "{program}");
        drop((stream, wrong));
        let deadline = Instant::now() + PATIENCE;
        while server.descriptors() >= with_one {
            assert!(Instant::now() < deadline, "{program}: {} descriptors", server.descriptors());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn comparison_prints_a_table_and_writes_json() {
    let json = std::env::temp_dir().join(format!("ringwork-bench-{}.json", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_ringwork-bench"))
        .args(["compare", "--only", "echo-64x1,proxy-64x64", "--peers", "floor,tokio"])
        .args(["--rounds", "2", "--warm", "20", "--measure", "50", "--json"])
        .arg(&json)
        .output()
        .expect("the harness starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("echo-64x1") && text.contains("CPU per op"), "{text}");
    let document: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&json).expect("it was written")).expect("JSON");
    fs::remove_file(&json).expect("it was ours");
    assert_eq!(document["workloads"][1]["peers"][1]["samples"].as_array().map(Vec::len), Some(2));
    assert!(document["workloads"][0]["peers"][0]["ratios"]["CPU per op"]["tokio"]["median"].is_f64());
}

/// Runs one short round of `workloads` with all their peers; the document that it writes.
fn short_comparison(workloads: &str, options: &[&str]) -> serde_json::Value {
    let name = format!("ringwork-bench-{}-{workloads}.json", std::process::id());
    let json = std::env::temp_dir().join(name);
    let output = Command::new(env!("CARGO_BIN_EXE_ringwork-bench"))
        .args(["compare", "--only", workloads, "--rounds", "1", "--warm", "5", "--measure", "20", "--json"])
        .arg(&json)
        .args(options)
        .output()
        .expect("the harness starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let document = serde_json::from_str(&fs::read_to_string(&json).expect("it was written")).expect("JSON");
    fs::remove_file(&json).expect("it was ours");
    document
}

/// The samples of all peers of all workloads, with names, in a document that has one round.
fn samples(document: &serde_json::Value) -> Vec<(String, serde_json::Value)> {
    let array = |value: &serde_json::Value| value.as_array().expect("an array").clone();
    let mut all = Vec::new();
    for workload in array(&document["workloads"]) {
        for peer in array(&workload["peers"]) {
            let name = format!("{} {}", workload["name"], peer["peer"]);
            // Somebody else's program may be missing on this machine, and one of ours not built.
            if peer["skipped"].is_null() {
                assert_eq!(array(&peer["samples"]).len(), 1, "{name}");
            } else {
                continue;
            }
            all.push((name, peer["samples"][0].clone()));
        }
    }
    all
}

#[test]
fn operations_of_local_tasks_are_done_by_every_peer() {
    let document = short_comparison("spawn-join,yield,ping-pong,chained-spawn,timers", &["--idle", "1000"]);
    let samples = samples(&document);
    // glommio takes part in two ways.
    assert_eq!(samples.len(), 5 * (6 + usize::from(cfg!(feature = "ringwork"))));
    for (name, sample) in samples {
        let ops = sample["ops"].as_u64().expect("a number");
        assert!(ops >= 1000 && ops.is_multiple_of(1000), "{name}: {ops} ops");
        assert_eq!(sample["cpus"], 1, "{name}");
    }
}

#[test]
fn operations_of_send_tasks_are_done_by_every_peer_on_two_cpus() {
    let document = short_comparison("spawn-many,yield-many,pair-ping-pong,chained-spawn-send", &[]);
    let samples = samples(&document);
    assert_eq!(samples.len(), 4 * (1 + usize::from(cfg!(feature = "ringwork"))));
    for (name, sample) in samples {
        let ops = sample["ops"].as_u64().expect("a number");
        assert!(ops >= 1000 && ops.is_multiple_of(1000), "{name}: {ops} ops");
        assert_eq!(sample["cpus"], 2, "{name}");
    }
}

#[test]
fn a_burst_of_tasks_is_worked_off_by_every_peer_however_it_is_born() {
    let document = short_comparison("hot-core,hot-core-balanced", &["--tasks", "401"]);
    let samples = samples(&document);
    assert_eq!(samples.len(), 2 * (1 + 2 * usize::from(cfg!(feature = "ringwork"))));
    for (name, sample) in samples {
        assert_eq!(sample["ops"], 401, "{name}");
        // Every task has noted when it ended: else there would be a life of no time.
        assert!(sample["p50_ns"].as_u64() > Some(1000), "{name}: {sample}");
        let steals = sample["counters"]["steals"].as_u64();
        assert_eq!(steals.is_some(), name.contains("ringwork"), "{name}");
        assert!(!name.contains("never") || steals == Some(0), "{name}: {steals:?}");
    }
}

#[test]
fn every_server_of_two_workers_stands_even_load_below_its_saturation() {
    let document = short_comparison("even-30", &["--measure", "400"]);
    let samples = samples(&document);
    assert_eq!(samples.len(), 1 + 2 * usize::from(cfg!(feature = "ringwork")));
    for (name, sample) in samples {
        assert!(sample["ops"].as_u64() > Some(0), "{name}: {sample}");
        let polls = sample["counters"]["polls"].as_array();
        assert_eq!(polls.is_some(), name.contains("ringwork"), "{name}: {sample}");
        let is_at_work = |polls: &serde_json::Value| polls.as_u64() > Some(0);
        assert!(
            polls.is_none_or(|polls| polls.len() == 2 && polls.iter().all(is_at_work)),
            "{name}: {sample}"
        );
    }
}

#[test]
fn a_worker_that_is_blocked_in_a_poll_is_no_reason_to_fail() {
    let document = short_comparison("stuck-core,stuck-core-alone", &["--rate", "50000", "--block", "1000"]);
    let samples = samples(&document);
    assert_eq!(samples.len(), 2 * (2 + 2 * usize::from(cfg!(feature = "ringwork"))));
    for (name, sample) in samples {
        let stuck = &sample["stuck"];
        assert!(sample["ops"].as_u64() >= stuck["answered"].as_u64(), "{name}: {sample}");
        assert!(sample["p999_ns"].as_u64() > Some(0), "{name}: {sample}");
        let tasks = if name.contains("alone") { 0 } else { 1000 };
        // What waits at the end of a worker's own queue is nobody else's with tokio.
        let is_enough = |run: u64| run == tasks || name.contains("tokio-multi-stuck") && run < tasks;
        assert!(stuck["culprit"]["tasks_run"].as_u64().is_some_and(is_enough), "{name}: {sample}");
        if name.contains("ringwork") {
            // Half of them came for the stuck core. The last few may have come too late on a busy machine.
            assert!(stuck["new_served"].as_u64() >= Some(40), "{name}: {sample}");
        }
        let is_told = stuck["culprit"]["reported_ns"].is_u64();
        assert!(is_told || !name.contains("ringwork-stuck"), "{name}: {sample}");
        assert!(!is_told || name.contains("ringwork"), "{name}: {sample}");
    }
}

#[test]
fn work_from_outside_the_workers_and_between_threads_is_done_by_every_peer() {
    // Not glommio: on a busy machine one of its threads was seen to miss a wake from another.
    let peers = if cfg!(feature = "ringwork") { "ringwork," } else { "" }.to_owned()
        + "tokio,tokio-multi,compio,smol";
    let work = "remote-8,blocking-8,cross-ping-pong,cross-stream,start-*";
    let document = short_comparison(work, &["--peers", &peers, "--measure", "100"]);
    let samples = samples(&document);
    // remote, blocking, start-two: tokio multi-thread; between threads and start-one the others.
    assert_eq!(samples.len(), 3 + 3 * 3 + 6 * usize::from(cfg!(feature = "ringwork")));
    for (name, sample) in samples {
        assert!(sample["ops"].as_u64() > Some(0), "{name}: {sample}");
    }
}

#[test]
fn idle_connections_and_sleeping_tasks_are_weighed_in_every_peer() {
    let document = short_comparison("idle-10k,sleepers-10k", &["--idle", "300", "--peers", NO_FOREIGN]);
    for (name, sample) in samples(&document) {
        let heap = sample["special"]["heap each"].as_f64();
        assert!(heap > Some(0.0) && heap < Some(65536.0), "{name}: {sample}");
    }
}

#[test]
fn a_file_is_read_written_and_served_by_every_peer() {
    let work = "read-4096x1,write-4096x32,log-x64,file-1k,file-64k-nocache,file-10m";
    let document = short_comparison(work, &["--peers", NO_FOREIGN, "--measure", "100"]);
    for (name, sample) in samples(&document) {
        // A turn this short may be too short for 10 MiB on a busy machine; what came was compared all the
        // same.
        assert!(sample["ops"].as_u64() > Some(0) || name.contains("10m"), "{name}: {sample}");
        assert!(sample["cpu_ns"].as_u64() > Some(0), "{name}: {sample}");
    }
}

#[test]
fn http_and_tls_are_spoken_by_every_peer() {
    let document = short_comparison("hyper-hello,axum-json,hyper-http2,tls-echo", &["--measure", "300"]);
    let samples = samples(&document);
    let ours = usize::from(cfg!(feature = "ringwork"));
    // Floor, epoll loop and tokio; no epoll loop speaks HTTP/2 or TLS, which is spoken in three ways by ours.
    assert_eq!(samples.len(), 3 + 3 + 2 + 2 + 6 * ours);
    for (name, sample) in samples {
        assert!(sample["ops"].as_u64() > Some(0), "{name}: {sample}");
    }
}

#[test]
fn values_are_found_by_every_peer() {
    for (name, sample) in samples(&short_comparison("redis-64x1,redis-64x64,redis-64x64-p16", &[])) {
        assert!(sample["ops"].as_u64() > Some(0), "{name}: {sample}");
    }
}

#[test]
fn streams_connections_and_open_loops_are_served_by_every_peer() {
    let work = "stream-x1,proxy-bulk-x1,connect,open-10,echo-64x64-p16,echo-65536x64,echo-64x64-all";
    let options = ["--peers", NO_FOREIGN, "--rate", "20000", "--measure", "300"];
    for (name, sample) in samples(&short_comparison(work, &options)) {
        let ops = sample["ops"].as_u64();
        if name.contains("open-10") {
            // A tenth of 20,000 a second, for three tenths of a second: in closed loop it would be thousands.
            assert!(ops < Some(1200), "{name}: {sample}");
        } else {
            assert!(ops > Some(0), "{name}: {sample}");
        }
    }
}

#[test]
fn a_run_can_be_compared_with_itself_and_drawn() {
    let folder = std::env::temp_dir().join(format!("ringwork-bench-plots-{}", std::process::id()));
    let json = folder.join("run.json");
    fs::create_dir_all(&folder).expect("a folder for temporary files");
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringwork-bench"));
        let output = command.args(args).current_dir(&folder).output().expect("the harness starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    let short = ["--rounds", "2", "--warm", "5", "--measure", "20", "--peers", "tokio,compio"];
    let args = ["compare", "--only", "yield", "--json", "run.json", "--plots", "."];
    run(&[&args[..], &short].concat());
    let path = json.to_str().expect("a plain path");
    let diff = run(&["diff", path, path]);
    assert!(diff.contains("0 of 2 ratios have changed"), "{diff}");
    let drawn = fs::read_to_string(folder.join("yield.svg")).expect("it was drawn");
    assert!(drawn.starts_with("<svg") && drawn.contains("compio"), "{drawn}");
    fs::remove_dir_all(&folder).expect("it was ours");
}

#[test]
fn help_goes_to_standard_output_and_zero_is_refused_by_name() {
    let run = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_ringwork-bench")).args(args).output().expect("it starts")
    };
    let help = run(&["--help"]);
    assert!(help.status.success() && help.stderr.is_empty());
    assert!(String::from_utf8_lossy(&help.stdout).contains("compare"));
    for option in ["--tasks", "--rounds"] {
        let refused = run(&["compare", option, "0"]);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains(option), "{text}");
    }
}

#[test]
fn unknown_names_are_one_clear_line() {
    for args in [["compare", "--only=nothing"], ["compare", "--peers=nothing"], ["serve", "nothing"]] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_ringwork-bench")).args(args).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains("nothing"), "{args:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
    }
}
