//! What an HTTP server answers, asked once before it is measured: its first answer, whose body must be the
//! right one, is what all others are compared with.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::child::PATIENCE;
use crate::load::dialog::Dialog;

/// Asks `server` for `path`, which must be answered with `body`.
pub(super) fn answer(server: SocketAddr, path: &str, body: &[u8]) -> io::Result<Dialog> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes();
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&request)?;
    let (mut reply, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    let head = loop {
        match stream.read(&mut piece)? {
            0 => return Err(io::Error::other("it closed the connection instead of an answer")),
            n => reply.extend_from_slice(&piece[..n]),
        }
        let end = reply.windows(4).take(4096).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = end + 4;
            if reply.len() >= head + body.len() {
                break head;
            }
        }
    };
    let status = &reply[..reply.iter().position(|byte| *byte == b'\r').unwrap_or(0)];
    if !status.starts_with(b"HTTP/1.1 200") {
        return Err(io::Error::other(format!("it answers {}", String::from_utf8_lossy(status))));
    }
    if reply[head..] != *body {
        return Err(io::Error::other("the body is not the right one"));
    }
    let free = (status.len(), head);
    Ok(Dialog::Fixed { request, reply, free })
}
