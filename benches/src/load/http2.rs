//! The load generator of HTTP/2: several streams under way on each of many connections, from one thread with
//! a ring of its own. A stream that has been answered is followed by the next. It checks of each answer the
//! status, the body byte by byte, and that it comes once and for a stream that is waited for; it does not
//! decode other header fields. Its windows are wider than a run is long, so that it is never in the way. It
//! promises to stop with an error, never to hang.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::{cqueue, opcode, squeue, types};

use super::{SILENCE, failed, make_cheap};
use crate::child::Running;
use crate::frames::{self, Frame, PREFACE, Pieces};
use crate::meter::{Times, latencies};
use crate::raw::{BufPool, Lanes, Tag};
use crate::sample::Sample;
use crate::usage::own_thread_ns;

const BUFFERS: u16 = 1024;
const BUFFER: u32 = 8192;
/// Streams of a connection that are kept in mind; more than are ever under way.
const REMEMBERED: usize = 256;

const RECV: u8 = 0;
const SEND: u8 = 1;
const TICK: u8 = 2;
const CANCEL: u8 = 3;
const TICK_TIME: Duration = Duration::from_millis(250);

/// What one run does.
pub(crate) struct Streams {
    pub(crate) connections: usize,
    /// Under way on each.
    pub(crate) streams: usize,
    pub(crate) body: &'static [u8],
    pub(crate) times: Times,
}

/// A request that waits for its answer.
#[derive(Clone, Copy)]
struct Asked {
    /// None if it has been answered.
    stream: Option<u32>,
    since: Instant,
    has_status: bool,
    received: usize,
}

struct Connection {
    socket: TcpStream,
    armed: bool,
    sending: bool,
    pieces: Pieces,
    asked: Vec<Asked>,
    next_stream: u32,
    /// Requests that are to be sent.
    owed: usize,
    /// What the kernel sends, if `sending`, and what goes before the next requests.
    out: Vec<u8>,
    replies: Vec<u8>,
}

fn place(stream: u32) -> usize {
    (stream / 2) as usize % REMEMBERED
}

impl Connection {
    fn new(socket: TcpStream, streams: usize) -> Connection {
        let mut replies = PREFACE.to_vec();
        // No server pushes, and no window is ever in the way: that of a stream holds any body of ours, that
        // of the connection all bodies of a run.
        let settings = [0, 2, 0, 0, 0, 0, 0, 4, 0x7F, 0xFF, 0xFF, 0xFF];
        frames::put(&mut replies, frames::SETTINGS, 0, 0, &settings);
        let more = 0x7FFF_FFFF - 65_535u32;
        frames::put(&mut replies, frames::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        let none = Asked { stream: None, since: Instant::now(), has_status: false, received: 0 };
        Connection {
            socket,
            armed: false,
            sending: false,
            pieces: Pieces::default(),
            asked: vec![none; REMEMBERED],
            next_stream: 1,
            owed: streams,
            out: Vec::new(),
            replies,
        }
    }

    /// Writes what is to be sent next; false if that is nothing.
    fn compose(&mut self, block: &[u8], now: Instant) -> bool {
        self.out.clear();
        std::mem::swap(&mut self.out, &mut self.replies);
        // A stream that takes longer than hundreds after it holds the rest up.
        while self.owed > 0 && self.asked[place(self.next_stream)].stream.is_none() {
            let stream = self.next_stream;
            let flags = frames::END_HEADERS | frames::END_STREAM;
            frames::put(&mut self.out, frames::HEADERS, flags, stream, block);
            self.asked[place(stream)] =
                Asked { stream: Some(stream), since: now, has_status: false, received: 0 };
            self.next_stream += 2;
            self.owed -= 1;
        }
        !self.out.is_empty()
    }

    /// Takes what has come; when the requests that it answers were sent goes to `latency`.
    fn take(&mut self, piece: &[u8], body: &[u8], mut answered: impl FnMut(Instant)) -> Result<(), String> {
        let Connection { pieces, asked, replies, owed, .. } = self;
        pieces.feed(piece, |frame| match frame.kind {
            frames::HEADERS | frames::DATA => {
                let asked = &mut asked[place(frame.stream)];
                take_answer(asked, &frame, body)?;
                if asked.stream.is_none() {
                    *owed += 1;
                    answered(asked.since);
                }
                Ok(())
            }
            frames::SETTINGS | frames::PING if !frame.is_ack() => {
                let payload = if frame.kind == frames::PING { frame.payload } else { &[] };
                frames::put(replies, frame.kind, frames::ACK, 0, payload);
                Ok(())
            }
            frames::RST_STREAM | frames::GOAWAY => {
                Err(format!("frame {} of the server: {:?}", frame.kind, frame.payload))
            }
            _ => Ok(()),
        })
    }
}

/// Compares a part of an answer; the last one ends the wait for it.
fn take_answer(asked: &mut Asked, frame: &Frame<'_>, body: &[u8]) -> Result<(), String> {
    let stream = frame.stream;
    if asked.stream != Some(stream) {
        return Err(format!("stream {stream} is answered and was not asked, or twice"));
    }
    if frame.kind == frames::HEADERS {
        // Changes of the size of the table may stand before the first field.
        let first = frame.payload.iter().find(|byte| **byte & 0xE0 != 0x20);
        if first != Some(&frames::STATUS_200) || asked.has_status {
            return Err(format!("stream {stream}: not one header with status 200: {:?}", frame.payload));
        }
        asked.has_status = true;
    } else {
        let end = asked.received + frame.payload.len();
        if body.get(asked.received..end) != Some(frame.payload) {
            return Err(format!("stream {stream}: another body than was asked for"));
        }
        asked.received = end;
    }
    if frame.ends_stream() {
        if asked.received != body.len() || !asked.has_status {
            return Err(format!("stream {stream} ends after {} bytes", asked.received));
        }
        asked.stream = None;
    }
    Ok(())
}

/// Ring, buffers and connections; one for the whole life of the harness.
pub(crate) struct Multiplexer {
    lanes: Lanes,
    pool: BufPool,
    connections: Vec<Connection>,
    body: &'static [u8],
    /// The header block of every request.
    block: Vec<u8>,
    answered: u64,
    latency: Histogram<u64>,
    now: Instant,
    tick_time: &'static types::Timespec,
    tick_armed: bool,
    /// Sockets are being closed: errors are expected and nothing is begun.
    closing: bool,
}

impl Multiplexer {
    pub(crate) fn new() -> io::Result<Multiplexer> {
        let lanes = Lanes::new(1024, 16384)?;
        let pool = BufPool::new(&lanes, 0, BUFFERS, BUFFER)?;
        // `:method: GET`, `:scheme: http` and `:path: /` of the static table, the authority as a literal.
        let mut block = vec![0x82, 0x86, 0x84, 0x01, 9];
        block.extend_from_slice(b"localhost");
        Ok(Multiplexer {
            lanes,
            pool,
            connections: Vec::new(),
            body: &[],
            block,
            answered: 0,
            latency: latencies(),
            now: Instant::now(),
            tick_time: Box::leak(Box::new(types::Timespec::from(TICK_TIME))),
            tick_armed: false,
            closing: false,
        })
    }

    /// Loads `server` and measures both it and ourselves. One op is one request.
    pub(crate) fn run(&mut self, streams: &Streams, server: &mut Running) -> io::Result<Sample> {
        let result = self.measure(streams, server);
        let closed = self.close();
        let sample = result?;
        closed.map(|()| sample)
    }

    fn measure(&mut self, streams: &Streams, server: &mut Running) -> io::Result<Sample> {
        let address = server.address()?;
        self.body = streams.body;
        for index in 0..streams.connections {
            let socket = TcpStream::connect(address)?;
            make_cheap(&socket)?;
            self.connections.push(Connection::new(socket, streams.streams));
            self.arm(index)?;
            self.send(index)?;
        }
        self.drive(streams.times.warm)?;
        let before = server.reading()?;
        self.answered = 0;
        self.latency.reset();
        let (load_before, start) = (own_thread_ns(), Instant::now());
        self.drive(streams.times.measure)?;
        let (wall, load) = (start.elapsed(), own_thread_ns() - load_before);
        let used = server.reading()?.since(&before);
        let mut sample = Sample::of_server(self.answered, wall, used, &self.latency);
        sample.load_cpu_ns = Some(load);
        Ok(sample)
    }

    fn drive(&mut self, time: Duration) -> io::Result<()> {
        self.now = Instant::now();
        let end = self.now + time;
        let mut last = (self.answered, self.now);
        while self.now < end {
            if last.0 != self.answered {
                last = (self.answered, self.now);
            } else if self.now - last.1 > SILENCE {
                return Err(io::Error::other(format!("no answer within {} s", SILENCE.as_secs())));
            }
            if !self.tick_armed {
                self.tick_armed = true;
                let entry = opcode::Timeout::new(&raw const *self.tick_time).build();
                self.push(entry, TICK, 0)?;
            }
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        self.pool.publish();
        self.lanes.enter(1)?;
        self.now = Instant::now();
        while let Some(cqe) = self.lanes.reap() {
            let Tag { kind, index } = Tag::unpack(cqe.user_data());
            match kind {
                RECV => self.on_recv(index as usize, &cqe)?,
                SEND => self.on_sent(index as usize, cqe.result())?,
                TICK => self.tick_armed = false,
                _ => {}
            }
        }
        Ok(())
    }

    fn on_recv(&mut self, index: usize, cqe: &cqueue::Entry) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.armed = cqueue::more(cqe.flags());
        let mut taken = Ok(());
        if let Some(bid) = cqueue::buffer_select(cqe.flags()) {
            self.pool.taken();
            let piece = self.pool.bytes(bid, cqe.result().max(0) as usize);
            if !self.closing {
                let (now, latency, count) = (self.now, &mut self.latency, &mut self.answered);
                taken = connection.take(piece, self.body, |since| {
                    *count += 1;
                    latency.saturating_record((now - since).as_nanos() as u64);
                });
            }
            self.pool.give_back(bid);
        }
        taken.map_err(|what| io::Error::other(format!("connection {index}: {what}")))?;
        if self.closing {
            return Ok(());
        }
        match cqe.result() {
            n if n <= 0 && n != -libc::ENOBUFS => return Err(failed(index, "receive", n)),
            _ if !self.connections[index].armed => self.arm(index)?,
            _ => {}
        }
        self.send(index)
    }

    fn on_sent(&mut self, index: usize, result: i32) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.sending = false;
        if self.closing {
            return Ok(());
        }
        if result != connection.out.len() as i32 {
            return Err(failed(index, "send", result.min(-1)));
        }
        self.send(index)
    }

    fn arm(&mut self, index: usize) -> io::Result<()> {
        self.connections[index].armed = true;
        let fd = types::Fd(self.connections[index].socket.as_raw_fd());
        self.push(opcode::RecvMulti::new(fd, self.pool.group()).build(), RECV, index)
    }

    /// Sends what is owed, unless a send is under way.
    fn send(&mut self, index: usize) -> io::Result<()> {
        let (now, block) = (self.now, &self.block);
        let connection = &mut self.connections[index];
        if connection.sending || !connection.compose(block, now) {
            return Ok(());
        }
        connection.sending = true;
        let (fd, out) = (types::Fd(connection.socket.as_raw_fd()), &connection.out);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let entry = opcode::Send::new(fd, out.as_ptr(), out.len() as u32).flags(flags).build();
        self.push(entry, SEND, index)
    }

    fn push(&mut self, entry: squeue::Entry, kind: u8, index: usize) -> io::Result<()> {
        let entry = entry.user_data(Tag { kind, index: index as u32 }.pack());
        // SAFETY: pool and timeout are never freed; a connection, with its socket and what it sends, is kept
        // until `close` has seen the end of its ops, and `out` is not touched while it is sent.
        unsafe { self.lanes.push(&entry) }
    }

    /// Ends all connections and waits until the kernel has nothing to say about them.
    fn close(&mut self) -> io::Result<()> {
        self.closing = true;
        for connection in &self.connections {
            // An error means that the server has closed it already.
            let _ = connection.socket.shutdown(Shutdown::Both);
        }
        while self.connections.iter().any(|connection| connection.armed || connection.sending) {
            // A receive that is busy with much data is not always woken by the end of its socket.
            self.lanes.cancel_all(Tag { kind: CANCEL, index: 0 }.pack())?;
            self.turn()?;
        }
        self.connections.clear();
        self.closing = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(stream: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frames::put(&mut bytes, frames::HEADERS, frames::END_HEADERS, stream, &[frames::STATUS_200]);
        frames::put(&mut bytes, frames::DATA, frames::END_STREAM, stream, body);
        bytes
    }

    #[test]
    fn an_answer_must_be_asked_for_whole_and_the_right_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let socket = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let mut connection = Connection::new(socket, 3);
        assert!(connection.compose(&[0x82], Instant::now()));
        let mut count = 0;
        let mut take = |bytes: &[u8]| connection.take(bytes, b"Hello", |_| count += 1);
        take(&answer(3, b"Hello")).expect("asked for");
        take(&answer(3, b"Hello")).expect_err("answered already");
        take(&answer(1, b"Hell")).expect_err("too short");
        take(&answer(5, b"Hallo")).expect_err("changed");
        take(&answer(7, b"Hello")).expect_err("never asked for");
        assert_eq!((count, connection.owed), (1, 1));
    }
}
