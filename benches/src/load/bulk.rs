//! The load generator of streams: as many bytes as go through, in one direction. A source sends the pattern
//! below over and over; whoever receives compares every byte with it. It drains a server that is a source,
//! or is both ends of a proxy. It promises to stop with an error, never to hang, when bytes stop or change.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, squeue, types};
use socket2::SockRef;

use super::{SILENCE, failed, make_cheap};
use crate::child::Running;
use crate::meter::{Times, latencies};
use crate::raw::{BufPool, Lanes, Tag, leak};
use crate::sample::Sample;
use crate::usage::own_thread_ns;

/// Bytes of the pattern, and of what counts as one op.
pub(crate) const CHUNK: usize = 64 << 10;

const BUFFERS: u16 = 256;

/// Bytes on their way through a proxy, sent and not received, over all connections and over one. Without a
/// bound the kernel's buffers decide what is measured: whoever is a little slower than the generator has
/// megabytes waiting in each socket, copies them from memory instead of from the cache, and is three times as
/// slow then. A network bounds them, too.
const ON_THEIR_WAY: u64 = 4 << 20;
const ON_THEIR_WAY_EACH: u64 = 512 << 10;

const RECV: u8 = 0;
const SEND: u8 = 1;
const TICK: u8 = 2;
const CANCEL: u8 = 3;
const TICK_TIME: Duration = Duration::from_millis(250);

/// What every source sends: its period is no power of two, so that bytes that go missing are seen.
pub(crate) fn pattern() -> Vec<u8> {
    (0..CHUNK).map(|at| (at % 251) as u8 ^ (at >> 8) as u8).collect()
}

/// One socket that receives.
struct Sink {
    socket: TcpStream,
    armed: bool,
    /// Bytes.
    received: u64,
}

/// One socket that sends.
struct Source {
    socket: TcpStream,
    sending: bool,
    /// Bytes.
    sent: u64,
}

/// Where in the pattern a byte is.
fn place(byte: u64) -> usize {
    (byte % CHUNK as u64) as usize
}

/// Ring, buffers and sockets; one for the whole life of the harness.
pub(crate) struct Bulk {
    lanes: Lanes,
    pool: BufPool,
    /// Never freed.
    pattern: &'static [u8],
    sinks: Vec<Sink>,
    sources: Vec<Source>,
    received: u64,
    now: Instant,
    tick_time: &'static types::Timespec,
    tick_armed: bool,
    /// Sockets are being closed: errors are expected and nothing is begun.
    closing: bool,
}

impl Bulk {
    pub(crate) fn new() -> io::Result<Bulk> {
        let lanes = Lanes::new(256, 4096)?;
        let pool = BufPool::new(&lanes, 0, BUFFERS, CHUNK as u32)?;
        let memory = leak(CHUNK, 4096);
        // SAFETY: fresh memory of that length, never freed and written only here.
        let bytes = unsafe { std::slice::from_raw_parts_mut(memory, CHUNK) };
        bytes.copy_from_slice(&pattern());
        Ok(Bulk {
            lanes,
            pool,
            pattern: bytes,
            sinks: Vec::new(),
            sources: Vec::new(),
            received: 0,
            now: Instant::now(),
            tick_time: Box::leak(Box::new(types::Timespec::from(TICK_TIME))),
            tick_armed: false,
            closing: false,
        })
    }

    /// Receives from `server` over `connections`, or, with `upstream`, sends to it and receives there what it
    /// passes on. One op is [`CHUNK`] bytes.
    pub(crate) fn run(
        &mut self,
        connections: usize,
        times: Times,
        server: &mut Running,
        upstream: Option<&TcpListener>,
    ) -> io::Result<Sample> {
        let result = self.measure(connections, times, server, upstream);
        let closed = self.close();
        let sample = result?;
        closed.map(|()| sample)
    }

    fn measure(
        &mut self,
        connections: usize,
        times: Times,
        server: &mut Running,
        upstream: Option<&TcpListener>,
    ) -> io::Result<Sample> {
        let address = server.address()?;
        for _ in 0..connections {
            let socket = TcpStream::connect(address)?;
            make_cheap(&socket)?;
            match upstream {
                None => self.sinks.push(Sink { socket, armed: false, received: 0 }),
                Some(upstream) => {
                    self.sources.push(Source { socket, sending: false, sent: 0 });
                    SockRef::from(upstream).set_read_timeout(Some(SILENCE))?;
                    let socket = upstream.accept()?.0;
                    make_cheap(&socket)?;
                    self.sinks.push(Sink { socket, armed: false, received: 0 });
                }
            }
        }
        (0..self.sinks.len()).try_for_each(|index| self.arm(index))?;
        (0..self.sources.len()).try_for_each(|index| self.send(index))?;
        self.drive(times.warm)?;
        let before = server.reading()?;
        self.received = 0;
        let (load_before, start) = (own_thread_ns(), Instant::now());
        self.drive(times.measure)?;
        let (wall, load, chunks) =
            (start.elapsed(), own_thread_ns() - load_before, self.received / CHUNK as u64);
        let used = server.reading()?.since(&before);
        let mut sample = Sample::of_server(chunks, wall, used, &latencies());
        sample.load_cpu_ns = Some(load);
        Ok(sample)
    }

    fn drive(&mut self, time: Duration) -> io::Result<()> {
        self.now = Instant::now();
        let end = self.now + time;
        let mut last = (self.received, self.now);
        while self.now < end {
            if last.0 != self.received {
                last = (self.received, self.now);
            } else if self.now - last.1 > SILENCE {
                return Err(io::Error::other(format!("nothing came for {} s", SILENCE.as_secs())));
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
                SEND => self.on_send(index as usize, cqe.result())?,
                TICK => self.tick_armed = false,
                _ => {}
            }
        }
        Ok(())
    }

    fn on_recv(&mut self, index: usize, cqe: &cqueue::Entry) -> io::Result<()> {
        let sink = &mut self.sinks[index];
        sink.armed = cqueue::more(cqe.flags());
        if let Some(bid) = cqueue::buffer_select(cqe.flags()) {
            self.pool.taken();
            let length = cqe.result().max(0) as usize;
            let mut piece = self.pool.bytes(bid, length);
            let mut is_right = true;
            while !piece.is_empty() {
                let at = place(sink.received);
                let n = piece.len().min(CHUNK - at);
                is_right &= piece[..n] == self.pattern[at..at + n];
                sink.received += n as u64;
                piece = &piece[n..];
            }
            self.received += length as u64;
            self.pool.give_back(bid);
            if !is_right && !self.closing {
                return Err(io::Error::other(format!("connection {index}: bytes of the stream are changed")));
            }
        }
        if self.closing {
            return Ok(());
        }
        match cqe.result() {
            n if n <= 0 && n != -libc::ENOBUFS => return Err(failed(index, "receive", n)),
            _ if !self.sinks[index].armed => self.arm(index)?,
            _ => {}
        }
        self.send(index)
    }

    fn on_send(&mut self, index: usize, result: i32) -> io::Result<()> {
        let source = &mut self.sources[index];
        source.sending = false;
        source.sent += result.max(0) as u64;
        match result {
            _ if self.closing => Ok(()),
            n if n > 0 => self.send(index),
            n => Err(failed(index, "send", n)),
        }
    }

    fn arm(&mut self, index: usize) -> io::Result<()> {
        self.sinks[index].armed = true;
        let fd = types::Fd(self.sinks[index].socket.as_raw_fd());
        self.push(opcode::RecvMulti::new(fd, self.pool.group()).build(), RECV, index)
    }

    /// Sends to the end of the pattern, unless that is under way, or enough is on its way already.
    fn send(&mut self, index: usize) -> io::Result<()> {
        let each = ON_THEIR_WAY_EACH.min(ON_THEIR_WAY / self.sinks.len() as u64);
        let Some(source) = self.sources.get_mut(index) else { return Ok(()) };
        if source.sending || source.sent - self.sinks[index].received >= each {
            return Ok(());
        }
        source.sending = true;
        let (fd, rest) = (types::Fd(source.socket.as_raw_fd()), &self.pattern[place(source.sent)..]);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let entry = opcode::Send::new(fd, rest.as_ptr(), rest.len() as u32).flags(flags).build();
        self.push(entry, SEND, index)
    }

    fn push(&mut self, entry: squeue::Entry, kind: u8, index: usize) -> io::Result<()> {
        let entry = entry.user_data(Tag { kind, index: index as u32 }.pack());
        // SAFETY: pattern, pool and timeout are never freed; the sockets are kept until `close` has seen the
        // end of their ops.
        unsafe { self.lanes.push(&entry) }
    }

    /// Ends all connections and waits until the kernel has nothing to say about them.
    fn close(&mut self) -> io::Result<()> {
        self.closing = true;
        let sockets = self.sinks.iter().map(|sink| &sink.socket);
        for socket in sockets.chain(self.sources.iter().map(|source| &source.socket)) {
            // An error means that the server has closed it already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        while self.sinks.iter().any(|s| s.armed) || self.sources.iter().any(|s| s.sending) {
            // A receive that is busy with much data is not always woken by the end of its socket.
            self.lanes.cancel_all(Tag { kind: CANCEL, index: 0 }.pack())?;
            self.turn()?;
        }
        self.sinks.clear();
        self.sources.clear();
        self.closing = false;
        Ok(())
    }
}
