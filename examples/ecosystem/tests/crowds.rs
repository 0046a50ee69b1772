//! Many clients: ten thousand that keep their connection, and more than the process has descriptors for.

mod kit;

use kit::{Program, connect};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

const CLIENTS: u64 = 10_000;
/// Descriptors that the processes have besides.
const OTHERS: u64 = 300;

fn ask(client: &mut TcpStream) {
    client.write_all(b"GET /hello/all HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
}

/// Reads an answer whole: it is JSON, and of a known length, so nothing follows the brace that ends it.
fn hear(client: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut more = [0; 1024];
        let n = client.read(&mut more).unwrap();
        assert!(n > 0, "the connection ended: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&more[..n]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
}

/// All ask, some hundred at a time.
fn ask_all(clients: &mut [TcpStream]) {
    for some in clients.chunks_mut(200) {
        some.iter_mut().for_each(ask);
        some.iter_mut().for_each(hear);
    }
}

/// Raises the limit of descriptors, which children inherit, as far as may be; returns it.
fn descriptors() -> u64 {
    use nix::sys::resource::{Resource::RLIMIT_NOFILE, getrlimit, setrlimit};
    let (_, most) = getrlimit(RLIMIT_NOFILE).unwrap();
    setrlimit(RLIMIT_NOFILE, most, most).unwrap();
    most
}

#[test]
fn ten_thousand_idle_clients_are_held_by_the_proxy() {
    let clients = CLIENTS.min(descriptors() - OTHERS);
    let app = Program::app();
    let proxy = Program::proxy(app.address);
    let mut clients: Vec<TcpStream> = (0..clients).map(|_| connect(proxy.address)).collect();
    ask_all(&mut clients);
    // Each on the connection that it had, after all the others.
    ask_all(&mut clients);
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.child.id())).unwrap();
    let memory = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    println!("{} clients held; the proxy has {memory}", clients.len());
}

#[test]
fn more_clients_than_descriptors_wait_for_their_turn() {
    let program = env!("CARGO_BIN_EXE_axum_app");
    let few = format!("ulimit -n 64; exec {program} --listen 127.0.0.1:0 --cores 1");
    let app = Program::spawn(Command::new("sh").args(["-c", &few]));
    let mut clients: Vec<TcpStream> = (0..200).map(|_| connect(app.address)).collect();
    clients.iter_mut().for_each(ask);
    // In the order they came; each goes when it has its answer.
    for mut client in clients {
        hear(&mut client);
    }
    ask_all(&mut [connect(app.address)]);
}
