//! A client of HTTP/1.1 that can be made to say anything, and a strict reader of answers.
//!
//! What it sends is up to the test, byte for byte. What it receives must be an answer with a clear end, or it
//! panics: so each test that reads two answers from one connection also tests that the first was framed
//! rightly. It knows the framing this server may use, a length, and no other.

use crate::data;
use crate::programs::{PATIENCE, Server};
use socket2::{Domain, Socket, Type};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a field that is there at most once.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice: {:?}", self.fields);
        value
    }

    /// The value of a field that must be there.
    #[track_caller]
    pub(crate) fn the(&self, name: &str) -> &str {
        self.field(name).unwrap_or_else(|| panic!("no {name} in {}: {:?}", self.status, self.fields))
    }

    /// How many bytes the body has, or would have.
    pub(crate) fn len(&self) -> usize {
        self.the("Content-Length").parse().expect("a length is a number")
    }

    /// All fields but the date, which differs from one answer to the next.
    pub(crate) fn lasting_fields(&self) -> Vec<&(String, String)> {
        self.fields.iter().filter(|(name, _)| name != "Date").collect()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

/// One connection.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn connect(server: &Server) -> Self {
        let socket = Socket::new(Domain::for_address(server.address()), Type::STREAM, None);
        Self::through(socket.expect("a socket"), server)
    }

    /// A client that the kernel keeps next to nothing for: what it does not read soon stops the server.
    pub(crate) fn connect_narrow(server: &Server) -> Self {
        let socket = Socket::new(Domain::for_address(server.address()), Type::STREAM, None);
        let socket = socket.expect("a socket");
        socket.set_recv_buffer_size(4096).expect("an option");
        Self::through(socket, server)
    }

    fn through(socket: Socket, server: &Server) -> Self {
        socket.connect(&server.address().into()).expect("the server accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("an option");
        socket.set_write_timeout(Some(PATIENCE)).expect("an option");
        socket.set_tcp_nodelay(true).expect("an option");
        Self(BufReader::new(socket.into()))
    }

    /// Waits for each answer up to this long.
    pub(crate) fn be_patient(&self, patience: Duration) {
        self.0.get_ref().set_read_timeout(Some(patience)).expect("an option");
    }

    /// Another hold on the connection, for a thread that sends.
    pub(crate) fn sender(&self) -> TcpStream {
        self.0.get_ref().try_clone().expect("a descriptor is free")
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).expect("the server takes it");
    }

    /// Says that nothing more will be sent.
    pub(crate) fn end_sending(&self) {
        self.0.get_ref().shutdown(Shutdown::Write).expect("the connection is whole");
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        let socket = Socket::from(self.0.into_inner());
        socket.set_linger(Some(Duration::ZERO)).expect("the next close resets");
    }

    /// Sends a request, `fields` being whole lines, and reads its answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, target: &str, fields: &str) -> Answer {
        self.send(request(method, target, fields));
        self.answer_to(method)
    }

    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.ask("GET", target, "")
    }

    /// Reads the next answer to anything but HEAD.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    #[track_caller]
    pub(crate) fn answer_to(&mut self, method: &str) -> Answer {
        let mut answer = self.head();
        if method == "HEAD" || matches!(answer.status, 204 | 304) {
            return answer;
        }
        let len = answer.len();
        let read = self.0.by_ref().take(len as u64).read_to_end(&mut answer.body);
        read.expect("a body follows the head");
        assert_eq!(answer.body.len(), len, "the body is cut short");
        answer
    }

    /// Reads a head and leaves the body for later.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Answer {
        let line = self.line();
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("{line:?} is no status line"));
        let mut fields = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                return Answer { status, fields, body: Vec::new() };
            }
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is no field"));
            fields.push((name.to_owned(), value.to_owned()));
        }
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).expect("a line of the head");
        let line = String::from_utf8(line).expect("a head is text");
        let whole = line.strip_suffix("\r\n");
        whole.unwrap_or_else(|| panic!("the head ends in {line:?}")).to_owned()
    }

    /// Reads `len` bytes of a body and holds them against the endless file from `offset` on.
    #[track_caller]
    pub(crate) fn check_body(&mut self, len: usize, offset: usize) {
        let mut buf = vec![0; len.min(256 * 1024)];
        let mut received = 0;
        while received < len {
            let room = (len - received).min(buf.len());
            let count = self.0.read(&mut buf[..room]).expect("a body follows the head");
            assert_ne!(count, 0, "the body ends after {received} of {len} bytes");
            data::check(&buf[..count], offset + received);
            received += count;
        }
    }

    /// Reads until the connection ends, in whatever way, and says how much there still was.
    pub(crate) fn rest(&mut self) -> (usize, io::Result<()>) {
        let mut total = 0;
        let mut buf = vec![0; 64 * 1024];
        loop {
            match self.0.read(&mut buf) {
                Ok(0) => return (total, Ok(())),
                Ok(count) => total += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("the connection did not end"),
                Err(error) => return (total, Err(error)),
            }
        }
    }

    /// The server has said all and closed in order.
    #[track_caller]
    pub(crate) fn assert_ended(&mut self) {
        let (more, end) = self.rest();
        end.expect("the connection ends in order");
        assert_eq!(more, 0, "there is more behind the last answer");
    }
}

/// A request of HTTP/1.1.
pub(crate) fn request(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
}

/// A request that is the only one of its connection.
#[track_caller]
pub(crate) fn once(server: &Server, method: &str, target: &str, fields: &str) -> Answer {
    let mut client = Client::connect(server);
    let answer = client.ask(method, target, &format!("Connection: close\r\n{fields}"));
    assert_eq!(answer.field("Connection"), Some("close"), "{method} {target}");
    client.assert_ended();
    answer
}

#[track_caller]
pub(crate) fn get(server: &Server, target: &str) -> Answer {
    once(server, "GET", target, "")
}

/// The answer to these very bytes, after which the server ends the connection.
#[track_caller]
pub(crate) fn last_answer(server: &Server, bytes: impl AsRef<[u8]>) -> Answer {
    let mut client = Client::connect(server);
    client.send(bytes);
    let answer = client.answer();
    assert_eq!(answer.field("Connection"), Some("close"));
    client.assert_ended();
    answer
}
