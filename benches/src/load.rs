//! The load generator: ping-pong over many connections from one thread with a ring of its own. Each
//! connection sends a message, waits until all of it has come back, compares every byte and sends the
//! next, at once or when `pace.rs` says so. For a proxy it is the upstream as well, so that no third process
//! shares its CPU. It promises to stop with an error, never to hang, when a server loses or changes bytes.
//! It is not a model of real clients: they think between requests.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::{cqueue, opcode, squeue, types};
use socket2::SockRef;

use crate::crew::Job;
use crate::meter::{Times, latencies};
use crate::pace::Pace;
use crate::raw::{BufPool, Lanes, Tag, leak};
use crate::sample::Sample;
use crate::usage::{Usage, own_thread_ns};

/// The most sockets of one run: both ends of a proxy with 512 connections.
const SOCKETS: usize = 1024;
/// The longest message.
const MESSAGE: usize = 4096;

const RECV: u8 = 0;
const SEND: u8 = 1;
const TICK: u8 = 2;

/// How often a silent server is looked for, and for how long it may be silent.
const TICK_TIME: Duration = Duration::from_millis(250);
const SILENCE: Duration = Duration::from_secs(5);

/// What one run does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    pub(crate) size: usize,
    pub(crate) connections: usize,
    pub(crate) times: Times,
}

struct Connection {
    socket: TcpStream,
    /// The far end of a proxy: sends back what it has received.
    is_upstream: bool,
    armed: bool,
    /// Bytes of the current message received so far.
    received: usize,
    sequence: u64,
    sent_at: Instant,
}

/// Ring, buffers and counters; one for the whole life of the harness, on the thread that made it.
pub(crate) struct Generator {
    lanes: Lanes,
    pool: BufPool,
    /// One outgoing message per socket, never freed: a send of a socket that was given up may still read
    /// it.
    messages: *mut u8,
    connections: Vec<Connection>,
    size: usize,
    /// Without one, an answer is followed by the next message.
    pace: Option<Pace>,
    now: Instant,
    /// The time of the timeout that is armed, never freed.
    tick_time: &'static mut types::Timespec,
    tick_armed: bool,
    answered: u64,
    latency: Histogram<u64>,
}

impl Generator {
    pub(crate) fn new() -> io::Result<Generator> {
        let lanes = Lanes::new(1024, 8192)?;
        let pool = BufPool::new(&lanes, 0, 2048, MESSAGE as u32)?;
        Ok(Generator {
            lanes,
            pool,
            messages: leak(SOCKETS * MESSAGE, 4096),
            connections: Vec::new(),
            size: 0,
            pace: None,
            now: Instant::now(),
            tick_time: Box::leak(Box::new(types::Timespec::new())),
            tick_armed: false,
            answered: 0,
            latency: latencies(),
        })
    }

    /// Loads `server`, whose process is `pid`, and measures both it and ourselves. With `upstream`, the
    /// server is a proxy to that listener.
    pub(crate) fn run(
        &mut self,
        traffic: &Traffic,
        server: SocketAddr,
        upstream: Option<&TcpListener>,
        pid: u32,
    ) -> io::Result<Sample> {
        assert!(traffic.connections <= SOCKETS / 2 && traffic.size <= MESSAGE, "beyond the arenas");
        let result = self.measure(traffic, server, upstream, pid);
        let closed = self.close();
        let sample = result?;
        closed.map(|()| sample)
    }

    fn measure(
        &mut self,
        traffic: &Traffic,
        server: SocketAddr,
        upstream: Option<&TcpListener>,
        pid: u32,
    ) -> io::Result<Sample> {
        (self.size, self.pace) = (traffic.size, None);
        self.connect(traffic.connections, server, upstream)?;
        for index in 0..self.connections.len() {
            self.arm(index)?;
            if !self.connections[index].is_upstream {
                self.next_message(index, self.now)?;
            }
        }
        self.drive(traffic.times.warm)?;
        self.answered = 0;
        self.latency.reset();
        let (load_before, before, start) = (own_thread_ns(), Usage::of(pid)?, Instant::now());
        self.drive(traffic.times.measure)?;
        let (wall, after, load_after) = (start.elapsed(), Usage::of(pid)?, own_thread_ns());
        let mut sample = Sample::new(self.answered, wall, after.since(&before), &self.latency);
        sample.load_cpu_ns = Some(load_after - load_before);
        Ok(sample)
    }

    /// Does `job` until its watch is over; the latencies since the watch began.
    pub(crate) fn run_job(&mut self, job: Job) -> io::Result<Histogram<u64>> {
        assert!(job.sockets.len() <= SOCKETS && job.size <= MESSAGE, "beyond the arenas");
        let result = self.work_off(job);
        let closed = self.close();
        result.and(closed)?;
        Ok(self.latency.clone())
    }

    fn work_off(&mut self, job: Job) -> io::Result<()> {
        let Job { sockets, size, rate, seed, watch } = job;
        self.size = size;
        // A long tick of the job before would hold back the first messages of this one.
        while self.tick_armed {
            self.turn()?;
        }
        self.now = Instant::now();
        self.pace = rate.map(|rate| Pace::new(rate, sockets.len(), seed, self.now));
        for (index, socket) in sockets.into_iter().enumerate() {
            self.adopt(socket, false)?;
            self.arm(index)?;
            if self.pace.is_none() {
                self.next_message(index, self.now)?;
            }
        }
        let (mut counted, mut has_begun) = (self.answered, false);
        self.drive_while(|generator| {
            watch.add_answered(generator.answered - counted);
            counted = generator.answered;
            if watch.has_begun() && !has_begun {
                has_begun = true;
                generator.latency.reset();
            }
            match &mut generator.pace {
                Some(pace) if watch.is_draining() => {
                    pace.stop();
                    !pace.is_done()
                }
                _ => !watch.is_over(),
            }
        })
    }

    fn connect(&mut self, n: usize, server: SocketAddr, upstream: Option<&TcpListener>) -> io::Result<()> {
        for _ in 0..n {
            let socket = TcpStream::connect(server)?;
            self.adopt(socket, false)?;
        }
        if let Some(upstream) = upstream {
            SockRef::from(upstream).set_read_timeout(Some(SILENCE))?;
            for _ in 0..n {
                self.adopt(upstream.accept()?.0, true)?;
            }
        }
        Ok(())
    }

    fn adopt(&mut self, socket: TcpStream, is_upstream: bool) -> io::Result<()> {
        socket.set_nodelay(true)?;
        // The cheapest congestion control there is, where the kernel has it: our CPU must not be the
        // limit.
        let _ = SockRef::from(&socket).set_tcp_congestion(b"reno");
        let sent_at = Instant::now();
        let connection = Connection { socket, is_upstream, armed: false, received: 0, sequence: 0, sent_at };
        self.connections.push(connection);
        let seed = self.connections.len();
        for (at, byte) in self.message(seed - 1).iter_mut().enumerate() {
            *byte = (at * 31 + seed * 7) as u8;
        }
        Ok(())
    }

    /// Turns of the ring until `time` has passed.
    fn drive(&mut self, time: Duration) -> io::Result<()> {
        self.now = Instant::now();
        let end = self.now + time;
        self.drive_while(|generator| generator.now < end)
    }

    /// Turns of the ring for as long as `goes_on`, which is asked before each.
    fn drive_while(&mut self, mut goes_on: impl FnMut(&mut Generator) -> bool) -> io::Result<()> {
        let mut last_answer = (self.answered, self.now);
        while goes_on(self) {
            if !self.tick_armed {
                if last_answer.0 != self.answered {
                    last_answer = (self.answered, self.now);
                } else if self.now - last_answer.1 > SILENCE {
                    return Err(io::Error::other(format!("no answer within {} s", SILENCE.as_secs())));
                }
                self.tick()?;
            }
            self.turn()?;
        }
        Ok(())
    }

    /// Sends what is due, if there is a pace, and arms the next tick.
    fn tick(&mut self) -> io::Result<()> {
        let now = self.now;
        while let Some(index) = self.pace.as_mut().and_then(|pace| pace.due(now)) {
            self.next_message(index, now)?;
        }
        let pause = self.pace.as_mut().map_or(TICK_TIME, Pace::pause);
        *self.tick_time = types::Timespec::from(pause);
        self.tick_armed = true;
        let entry = opcode::Timeout::new(&raw const *self.tick_time).build();
        self.push(entry, TICK, 0)
    }

    fn turn(&mut self) -> io::Result<()> {
        self.pool.publish();
        self.lanes.enter(1)?;
        self.now = Instant::now();
        while let Some(cqe) = self.lanes.reap() {
            let Tag { kind, index } = Tag::unpack(cqe.user_data());
            match kind {
                RECV => self.on_recv(index as usize, &cqe)?,
                TICK => self.tick_armed = false,
                _ => return Err(failed(index as usize, "send", cqe.result())),
            }
        }
        Ok(())
    }

    fn on_recv(&mut self, index: usize, cqe: &cqueue::Entry) -> io::Result<()> {
        let more = cqueue::more(cqe.flags());
        self.connections[index].armed = more;
        let Some(bid) = cqueue::buffer_select(cqe.flags()) else {
            return match cqe.result() {
                // Everything that was received has been given back by the end of this turn.
                error if error == -libc::ENOBUFS => self.arm(index),
                other => Err(failed(index, "receive", other)),
            };
        };
        self.pool.taken();
        let checked = self.check(index, bid, cqe.result());
        self.pool.give_back(bid);
        if !more {
            self.arm(index)?;
        }
        if !checked? {
            return Ok(());
        }
        if self.connections[index].is_upstream {
            return self.send(index);
        }
        let waited = self.now - self.connections[index].sent_at;
        self.latency.saturating_record(waited.as_nanos() as u64);
        self.answered += 1;
        match &mut self.pace {
            None => self.next_message(index, self.now),
            Some(pace) => match pace.answered(index) {
                Some(late) => self.next_message(index, late),
                None => Ok(()),
            },
        }
    }

    /// Compares a piece of a message, or keeps it if it is to be sent back; true if the message is
    /// complete.
    fn check(&mut self, index: usize, bid: u16, result: i32) -> io::Result<bool> {
        let connection = &mut self.connections[index];
        let (from, to) = (connection.received, connection.received + result.max(0) as usize);
        let is_upstream = connection.is_upstream;
        connection.received = if to == self.size { 0 } else { to };
        if result <= 0 || to > self.size {
            return Err(failed(index, "receive", result));
        }
        let message = self.messages.wrapping_add(index * MESSAGE);
        // SAFETY: inside this socket's part of the arena. The kernel only reads it, and has finished: the
        // send of the message that is being answered was complete before its last byte could come back.
        let message = unsafe { std::slice::from_raw_parts_mut(message, MESSAGE) };
        let piece = self.pool.bytes(bid, to - from);
        if is_upstream {
            message[from..to].copy_from_slice(piece);
        } else if message[from..to] != *piece {
            return Err(io::Error::other(format!(
                "connection {index}: bytes {from}..{to} came back changed"
            )));
        }
        Ok(to == self.size)
    }

    fn message(&mut self, index: usize) -> &mut [u8] {
        // SAFETY: inside this socket's part of the arena, and the borrow of `self` keeps a second one
        // away. No send of this socket is under way: it is new, or its last message has been answered.
        unsafe { std::slice::from_raw_parts_mut(self.messages.add(index * MESSAGE), MESSAGE) }
    }

    /// Sends the next message of a connection; its latency counts from `sent_at`.
    fn next_message(&mut self, index: usize, sent_at: Instant) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.sequence += 1;
        connection.sent_at = sent_at;
        let sequence = connection.sequence;
        self.message(index)[..8].copy_from_slice(&sequence.to_le_bytes());
        self.send(index)
    }

    fn send(&mut self, index: usize) -> io::Result<()> {
        let fd = types::Fd(self.connections[index].socket.as_raw_fd());
        let message = self.messages.wrapping_add(index * MESSAGE);
        let entry = opcode::Send::new(fd, message, self.size as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            // The answer says that it was sent.
            .flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry, SEND, index)
    }

    fn arm(&mut self, index: usize) -> io::Result<()> {
        self.connections[index].armed = true;
        let fd = types::Fd(self.connections[index].socket.as_raw_fd());
        self.push(opcode::RecvMulti::new(fd, self.pool.group()).build(), RECV, index)
    }

    fn push(&mut self, entry: squeue::Entry, kind: u8, index: usize) -> io::Result<()> {
        let entry = entry.user_data(Tag { kind, index: index as u32 }.pack());
        // SAFETY: messages, pool memory and the timeout are never freed, the latter is written only while
        // none is armed, and the kernel holds
        // the socket itself from the moment the entry is submitted; `close` submits what is queued before
        // it drops one.
        unsafe { self.lanes.push(&entry) }
    }

    /// Ends all connections and takes in what the kernel still has to say about them.
    fn close(&mut self) -> io::Result<()> {
        for connection in &self.connections {
            // An error means that the server has closed it already.
            let _ = connection.socket.shutdown(Shutdown::Both);
        }
        while self.connections.iter().any(|c| c.armed) {
            self.pool.publish();
            self.lanes.enter(1)?;
            while let Some(cqe) = self.lanes.reap() {
                let Tag { kind, index } = Tag::unpack(cqe.user_data());
                if kind == TICK {
                    self.tick_armed = false;
                } else if kind == RECV {
                    self.connections[index as usize].armed = cqueue::more(cqe.flags());
                    if let Some(bid) = cqueue::buffer_select(cqe.flags()) {
                        self.pool.taken();
                        self.pool.give_back(bid);
                    }
                }
            }
        }
        self.connections.clear();
        Ok(())
    }
}

fn failed(index: usize, what: &str, result: i32) -> io::Error {
    io::Error::other(match result {
        0 => format!("connection {index}: closed by the server"),
        n if n < 0 => format!("connection {index}: {what}: {}", io::Error::from_raw_os_error(-n)),
        n => format!("connection {index}: {n} bytes more than were sent"),
    })
}
