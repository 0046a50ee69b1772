//! The load generator of TLS: each connection sends a message, waits until all of it has come back, compares
//! it and sends the next. Handshakes are rustls's and done before; after them the generator seals and opens
//! its records itself, to be as little in the way as it can. It promises to stop with an error, never to
//! hang, when a server loses or changes bytes.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::{cqueue, opcode, squeue, types};
use rustls::ClientConfig;

use super::dialog::Dialog;
use super::{SILENCE, failed, make_cheap};
use crate::child::{PATIENCE, Running};
use crate::meter::{Times, latencies};
use crate::raw::{BufPool, Lanes, Tag};
use crate::sample::Sample;
use crate::tls::{self, Records};
use crate::usage::own_thread_ns;

const BUFFERS: u16 = 1024;
const BUFFER: u32 = 4096;

const RECV: u8 = 0;
const SEND: u8 = 1;
const TICK: u8 = 2;
const CANCEL: u8 = 3;
const TICK_TIME: Duration = Duration::from_millis(250);

struct Connection {
    socket: TcpStream,
    records: Records,
    message: Vec<u8>,
    sequence: u64,
    /// Bytes of the message that have come back.
    received: usize,
    since: Instant,
    armed: bool,
    sending: bool,
    /// The answer has come before the kernel said that the message was sent.
    is_due: bool,
    out: Vec<u8>,
}

impl Connection {
    /// Takes what has come; whether the message is complete.
    fn take(&mut self, piece: &[u8], dialog: &Dialog) -> io::Result<bool> {
        let Connection { records, message, received, .. } = self;
        records.feed(piece, |plain| {
            let end = *received + plain.len();
            if end > message.len() || !dialog.is_right(message, *received, plain) {
                return Err(io::Error::other(format!("bytes {received}..{end} came back changed")));
            }
            *received = end;
            Ok(())
        })?;
        Ok(self.received == self.message.len())
    }
}

/// Ring, buffers and connections; one for the whole life of the harness.
pub(crate) struct Sealed {
    lanes: Lanes,
    pool: BufPool,
    config: Arc<ClientConfig>,
    connections: Vec<Connection>,
    dialog: Dialog,
    answered: u64,
    latency: Histogram<u64>,
    now: Instant,
    tick_time: &'static types::Timespec,
    tick_armed: bool,
    /// Sockets are being closed: errors are expected and nothing is begun.
    closing: bool,
}

impl Sealed {
    pub(crate) fn new() -> io::Result<Sealed> {
        let lanes = Lanes::new(1024, 16384)?;
        let pool = BufPool::new(&lanes, 0, BUFFERS, BUFFER)?;
        Ok(Sealed {
            lanes,
            pool,
            config: Arc::new(tls::client_config()?),
            connections: Vec::new(),
            dialog: Dialog::Echo { size: 0 },
            answered: 0,
            latency: latencies(),
            now: Instant::now(),
            tick_time: Box::leak(Box::new(types::Timespec::from(TICK_TIME))),
            tick_armed: false,
            closing: false,
        })
    }

    /// Loads `server` over `connections` with messages of `size` bytes and measures both it and ourselves.
    pub(crate) fn run(
        &mut self,
        connections: usize,
        size: usize,
        times: Times,
        server: &mut Running,
    ) -> io::Result<Sample> {
        let result = self.measure(connections, size, times, server);
        let closed = self.close();
        let sample = result?;
        closed.map(|()| sample)
    }

    fn measure(
        &mut self,
        connections: usize,
        size: usize,
        times: Times,
        server: &mut Running,
    ) -> io::Result<Sample> {
        let address = server.address()?;
        self.dialog = Dialog::Echo { size };
        for _ in 0..connections {
            self.connect(address, size)?;
        }
        self.now = Instant::now();
        for index in 0..self.connections.len() {
            self.arm(index)?;
            self.send(index)?;
        }
        self.drive(times.warm)?;
        let before = server.reading()?;
        self.answered = 0;
        self.latency.reset();
        let (load_before, start) = (own_thread_ns(), Instant::now());
        self.drive(times.measure)?;
        let (wall, load) = (start.elapsed(), own_thread_ns() - load_before);
        let used = server.reading()?.since(&before);
        let mut sample = Sample::of_server(self.answered, wall, used, &self.latency);
        sample.load_cpu_ns = Some(load);
        Ok(sample)
    }

    fn connect(&mut self, address: SocketAddr, size: usize) -> io::Result<()> {
        let mut socket = TcpStream::connect(address)?;
        make_cheap(&socket)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let records = tls::connect(&self.config, &mut socket)?;
        let mut message = vec![0; size];
        self.dialog.compose(self.connections.len() + 1, &mut message);
        self.connections.push(Connection {
            socket,
            records,
            message,
            sequence: 0,
            received: 0,
            since: Instant::now(),
            armed: false,
            sending: false,
            is_due: false,
            out: Vec::new(),
        });
        Ok(())
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
        let mut taken = Ok(false);
        if let Some(bid) = cqueue::buffer_select(cqe.flags()) {
            self.pool.taken();
            let piece = self.pool.bytes(bid, cqe.result().max(0) as usize);
            if !self.closing {
                taken = connection.take(piece, &self.dialog);
            }
            self.pool.give_back(bid);
        }
        let is_answered = taken.map_err(|what| io::Error::other(format!("connection {index}: {what}")))?;
        if self.closing {
            return Ok(());
        }
        if is_answered {
            self.latency.saturating_record((self.now - connection.since).as_nanos() as u64);
            self.answered += 1;
            connection.is_due = true;
            self.send_if_due(index)?;
        }
        match cqe.result() {
            n if n <= 0 && n != -libc::ENOBUFS => Err(failed(index, "receive", n)),
            _ if !self.connections[index].armed => self.arm(index),
            _ => Ok(()),
        }
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
        self.send_if_due(index)
    }

    fn send_if_due(&mut self, index: usize) -> io::Result<()> {
        let connection = &self.connections[index];
        if connection.is_due && !connection.sending { self.send(index) } else { Ok(()) }
    }

    fn arm(&mut self, index: usize) -> io::Result<()> {
        self.connections[index].armed = true;
        let fd = types::Fd(self.connections[index].socket.as_raw_fd());
        self.push(opcode::RecvMulti::new(fd, self.pool.group()).build(), RECV, index)
    }

    /// Sends the next message. No send is under way.
    fn send(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.sequence += 1;
        self.dialog.stamp(connection.sequence, &mut connection.message);
        connection.out.clear();
        connection.records.seal(&connection.message, &mut connection.out);
        (connection.received, connection.is_due, connection.sending) = (0, false, true);
        connection.since = self.now;
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
