//! Echoes return every byte, and forget who has gone.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use crate::kit::{LENGTH, Server, connect, pattern, reset_many, there_and_back};

const ECHOES: &[&str] = &[
    "floor_echo",
    "epoll_echo",
    "tokio_echo",
    "tokio-shared_echo-shared",
    "tokio-multi_echo",
    "monoio_echo",
    "glommio_echo",
    "glommio-shared_echo-shared",
    "compio_echo",
    "compio-managed_echo-one-cpu",
    "smol_echo",
    "smol-shared_echo-shared",
    #[cfg(feature = "ringwork")]
    "ringwork_echo",
    #[cfg(feature = "ringwork")]
    "ringwork-hashed_echo-all",
];

fn ping(address: SocketAddr) -> io::Result<()> {
    let mut stream = connect(address);
    let mut answer = [0; 5];
    stream.write_all(b"hello")?;
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"hello");
    Ok(())
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
fn echo_keeps_no_descriptor_of_a_connection_that_was_reset() {
    for program in ECHOES {
        let (server, address) = Server::start(program, &[]);
        ping(address).unwrap_or_else(|e| panic!("{program}: {e}"));
        let at_first = server.descriptors();
        reset_many(address);
        ping(address).unwrap_or_else(|e| panic!("{program}: {e}"));
        server.has_at_most(at_first, program);
    }
}
