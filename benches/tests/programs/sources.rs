//! Sources send the same bytes to each reader at its own pace.

use std::io::Read;

use crate::kit::{LENGTH, Server, connect};

const SOURCES: &[&str] = &[
    "floor_source",
    "epoll_source",
    "tokio_source",
    "tokio-multi_source",
    "monoio_source",
    "glommio_source",
    "compio_source",
    "smol_source",
    #[cfg(feature = "ringwork")]
    "ringwork_source",
];

#[test]
fn source_sends_the_same_to_fast_and_slow_readers_and_forgets_those_that_leave() {
    for program in SOURCES {
        let (server, address) = Server::start(program, &[]);
        let mut slow = connect(address);
        let mut first = vec![0; 1];
        slow.read_exact(&mut first).unwrap_or_else(|e| panic!("{program}: {e}"));
        let with_one = server.descriptors();
        let mut all = vec![0; LENGTH];
        for _ in 0..2 {
            // The other one has not read on: that must not hold this one up.
            connect(address).read_exact(&mut all).unwrap_or_else(|e| panic!("{program}: {e}"));
        }
        let of_place = |at: usize| (at % 251) as u8 ^ (at >> 8) as u8;
        let is_right = |(at, byte): (usize, &u8)| *byte == of_place(at % (64 << 10));
        assert!(all.iter().enumerate().all(is_right), "{program} changed bytes");
        first.resize(LENGTH, 0);
        slow.read_exact(&mut first[1..]).unwrap_or_else(|e| panic!("{program}: {e}"));
        assert!(first == all, "{program} sent others");
        server.has_at_most(with_one, program);
    }
}
