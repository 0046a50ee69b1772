//! Key-value servers answer all commands in their order, whoever reads how slowly.

use std::io::{Read, Write};

use crate::kit::{LENGTH, Server, connect, connect_with_a_small_window, pattern};

const STORES: &[&str] = &[
    "floor_kv",
    "epoll_kv",
    "tokio_kv",
    "tokio-multi_kv",
    "monoio_kv",
    #[cfg(feature = "ringwork")]
    "ringwork_kv",
    #[cfg(feature = "ringwork")]
    "ringwork-ported_kv",
];

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
        server.has_at_most(with_one - 1, program);
    }
}

#[test]
fn stores_answer_a_client_that_asks_for_more_than_it_reads() {
    let value = pattern(300 << 10);
    let mut ask = format!("*3\r\n$3\r\nSET\r\n$4\r\nlong\r\n${}\r\n", value.len()).into_bytes();
    ask.extend_from_slice(&value);
    ask.extend_from_slice(b"\r\n");
    let (ask, get) = (ask, b"*2\r\n$3\r\nGET\r\n$4\r\nlong\r\n");
    let answer = [format!("${}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat();
    for program in STORES {
        let (_server, address) = Server::start(program, &[]);
        let mut stream = connect_with_a_small_window(address);
        stream.write_all(&ask).unwrap_or_else(|e| panic!("{program}: {e}"));
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).unwrap_or_else(|e| panic!("{program}: {e}"));
        assert_eq!(&heard, b"+OK\r\n", "{program}");
        let times = LENGTH / value.len();
        stream.write_all(&get.repeat(times)).unwrap_or_else(|e| panic!("{program}: {e}"));
        for time in 0..times {
            let mut heard = vec![0; answer.len()];
            stream.read_exact(&mut heard).unwrap_or_else(|e| panic!("{program}, {time}: {e}"));
            assert!(heard == answer, "{program} changed bytes of {time}");
        }
    }
}
