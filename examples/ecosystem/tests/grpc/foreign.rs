//! Against grpcio, by Python: not everybody has it, so these are run on request.
//!
//! `pip install grpcio grpcio-tools`, then
//! `cargo test -p ringwork-ecosystem --test grpc -- --ignored`. TLS needs the command `openssl`, too.
#![forbid(unsafe_code)]

use super::{Program, answers, failure, grpc};
use std::path::Path;
use std::process::{Command, Stdio};

fn python(part: &str) -> Command {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.arg(here.join("tests/grpc/foreign.py")).arg(part).arg(here.join("proto"));
    command
}

#[test]
#[ignore = "needs python3 with grpcio and grpcio-tools"]
fn a_foreign_client_is_answered_in_every_way() {
    let (server, address) = Program::serve(&[]);
    let called = python("client").arg(address.to_string()).status().unwrap();
    assert!(called.success());
    server.terminate();
    assert_eq!(server.ended(), Some(0));
}

#[test]
#[ignore = "needs python3 with grpcio and grpcio-tools, and openssl"]
fn clients_are_answered_over_tls() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (cert, key) = (folder.join("grpc-cert.pem"), folder.join("grpc-key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&cert)
        .arg("-keyout")
        .arg(&key)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let (_server, address) = Program::serve(&["--tls-cert", cert, "--tls-key", key]);
    let called = python("client").arg(address.to_string()).arg(cert).status().unwrap();
    assert!(called.success());
    let call = |words: &str| {
        let mut command = grpc();
        command.arg("call").args(words.split(' ')).args(["--tls-ca", cert]);
        command.args(["--server", &format!("https://{address}")]).output().unwrap()
    };
    assert_eq!(call("totals 1 2").stdout, b"1 numbers: 1\n2 numbers: 3\n");
    assert_eq!(call("count 20000").stdout.split(|&byte| byte == b'\n').count(), 20_001);
}

#[test]
#[ignore = "needs python3 with grpcio and grpcio-tools"]
fn a_foreign_server_answers_in_every_way() {
    let mut server = Program::start(python("server").stdin(Stdio::piped()));
    let address = server.address();
    assert_eq!(answers(address, "square 12"), "144\n");
    assert_eq!(failure(address, "square 4294967296"), "grpc: OutOfRange: it does not fit\n");
    assert_eq!(answers(address, "count 1000").lines().count(), 1000);
    assert_eq!(answers(address, "count 0 --take 3"), "1\n2\n3\n");
    let late = failure(address, "count 0 --deadline 300");
    assert_eq!(late, "grpc: DeadlineExceeded: the call took longer than its deadline\n");
    assert_eq!(answers(address, "sum 1 2 3"), "3 numbers: 6\n");
    assert_eq!(answers(address, "totals 1 2"), "1 numbers: 1\n2 numbers: 3\n");
    drop(server.child.stdin.take());
    assert_eq!(server.ended(), Some(0));
    assert!(failure(address, "square 2").starts_with("grpc: Unavailable: "));
}
