//! The load generator of connections: each is made, sends one message, receives it back and is closed; some
//! are under way at any time. Source addresses change, so that ports that wait for the end of their
//! connections do not run out. It promises to stop with an error when a connection fails or hangs.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::{opcode, squeue, types};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::crew::Watch;
use super::{SILENCE, failed, make_cheap};
use crate::child::Running;
use crate::meter::{Times, latencies};
use crate::raw::{Lanes, Tag, leak};
use crate::sample::Sample;
use crate::usage::own_thread_ns;

/// Bytes of the one message.
pub(crate) const MESSAGE: usize = 64;
/// Addresses that connections come from.
const SOURCES: u32 = 64;

const CONNECT: u8 = 0;
const SEND: u8 = 1;
const RECV: u8 = 2;
const TICK: u8 = 3;
const CANCEL: u8 = 4;

/// One connection after the other.
struct Slot {
    socket: Option<TcpStream>,
    begun: Instant,
    /// Ops in the kernel.
    open: u8,
}

/// Ring and memory; one for the whole life of the harness.
pub(crate) struct Connector {
    lanes: Lanes,
    /// Per slot what is sent and, behind it, what is received.
    memory: *mut u8,
    /// The server's address, where the kernel reads it; never freed.
    server: &'static mut SockAddr,
    slots: Vec<Slot>,
    made: u32,
    answered: u64,
    latency: Histogram<u64>,
    tick_time: &'static types::Timespec,
    tick_armed: bool,
    closing: bool,
}

impl Connector {
    /// For up to `slots` connections at a time.
    pub(crate) fn new(slots: usize) -> io::Result<Connector> {
        let server = SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let now = Instant::now();
        Ok(Connector {
            lanes: Lanes::new(256, 4096)?,
            memory: leak(slots * 2 * MESSAGE, 4096),
            server: Box::leak(Box::new(server)),
            slots: (0..slots).map(|_| Slot { socket: None, begun: now, open: 0 }).collect(),
            made: 0,
            answered: 0,
            latency: latencies(),
            tick_time: Box::leak(Box::new(types::Timespec::from(Duration::from_millis(250)))),
            tick_armed: false,
            closing: false,
        })
    }

    /// Connects to `server` all the time and measures both it and ourselves. One op is one connection.
    pub(crate) fn run(&mut self, times: Times, server: &mut Running) -> io::Result<Sample> {
        let result = self.measure(times, server);
        let closed = self.close();
        let sample = result?;
        closed.map(|()| sample)
    }

    fn measure(&mut self, times: Times, server: &mut Running) -> io::Result<Sample> {
        self.set_going(server.address()?)?;
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

    /// Connects to `server` until `watch` is over; the latencies since it began.
    pub(crate) fn run_until_over(&mut self, server: SocketAddr, watch: &Watch) -> io::Result<Histogram<u64>> {
        let result = self.set_going(server).and_then(|()| self.drive_until_over(watch));
        let closed = self.close();
        result.and(closed)?;
        Ok(self.latency.clone())
    }

    fn drive_until_over(&mut self, watch: &Watch) -> io::Result<()> {
        let (mut counted, mut has_begun) = (self.answered, false);
        self.drive_while(|connector, _| {
            watch.add_answered(connector.answered - counted);
            counted = connector.answered;
            if watch.has_begun() && !has_begun {
                has_begun = true;
                connector.latency.reset();
            }
            !watch.is_over()
        })
    }

    fn set_going(&mut self, server: SocketAddr) -> io::Result<()> {
        *self.server = SockAddr::from(server);
        (0..self.slots.len()).try_for_each(|index| self.begin(index))
    }

    fn drive(&mut self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        self.drive_while(|_, now| now < end)
    }

    /// Turns of the ring for as long as `goes_on`, which is asked before each.
    fn drive_while(&mut self, mut goes_on: impl FnMut(&mut Connector, Instant) -> bool) -> io::Result<()> {
        let mut now = Instant::now();
        let mut last = (self.answered, now);
        while goes_on(self, now) {
            if last.0 != self.answered {
                last = (self.answered, now);
            } else if now - last.1 > SILENCE {
                return Err(io::Error::other(format!("no connection within {} s", SILENCE.as_secs())));
            }
            if !self.tick_armed {
                self.tick_armed = true;
                let entry = opcode::Timeout::new(&raw const *self.tick_time).build();
                self.push(entry, TICK, 0)?;
            }
            self.turn()?;
            now = Instant::now();
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        self.lanes.enter(1)?;
        while let Some(cqe) = self.lanes.reap() {
            let Tag { kind, index } = Tag::unpack(cqe.user_data());
            match kind {
                TICK => self.tick_armed = false,
                CANCEL => {}
                _ => self.on_end(index as usize, kind, cqe.result())?,
            }
        }
        Ok(())
    }

    /// The ops of a connection are linked: the last one ends it.
    fn on_end(&mut self, index: usize, kind: u8, result: i32) -> io::Result<()> {
        self.slots[index].open -= 1;
        if self.closing {
            return Ok(());
        }
        let wanted = if kind == CONNECT { 0 } else { MESSAGE as i32 };
        if result != wanted {
            let what = ["connect", "send", "receive"][usize::from(kind)];
            return Err(failed(index, what, result));
        }
        if kind != RECV {
            return Ok(());
        }
        let there = self.memory.wrapping_add(index * 2 * MESSAGE);
        // SAFETY: both halves are this slot's, never freed, and no op of it is in the kernel any more.
        let (sent, received) = unsafe { std::slice::from_raw_parts(there, 2 * MESSAGE) }.split_at(MESSAGE);
        if sent != received {
            return Err(io::Error::other(format!("connection {index}: bytes came back changed")));
        }
        self.latency.saturating_record(self.slots[index].begun.elapsed().as_nanos() as u64);
        self.answered += 1;
        self.begin(index)
    }

    /// Closes the connection of a slot, if it has one, and makes the next.
    fn begin(&mut self, index: usize) -> io::Result<()> {
        self.slots[index].socket = None;
        self.made = self.made.wrapping_add(1);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + self.made % SOURCES);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        let socket = TcpStream::from(socket);
        make_cheap(&socket)?;
        let fd = types::Fd(socket.as_raw_fd());
        self.slots[index] = Slot { socket: Some(socket), begun: Instant::now(), open: 3 };
        let there = self.memory.wrapping_add(index * 2 * MESSAGE);
        // SAFETY: this slot's half, and none of its ops is in the kernel.
        let message = unsafe { std::slice::from_raw_parts_mut(there, MESSAGE) };
        message.fill(index as u8);
        message[..4].copy_from_slice(&self.made.to_le_bytes());
        let connect = opcode::Connect::new(fd, self.server.as_ptr().cast(), self.server.len()).build();
        let send = opcode::Send::new(fd, there, MESSAGE as u32).flags(libc::MSG_NOSIGNAL).build();
        let back = there.wrapping_add(MESSAGE);
        let recv = opcode::Recv::new(fd, back, MESSAGE as u32).flags(libc::MSG_WAITALL).build();
        self.push(connect.flags(squeue::Flags::IO_LINK), CONNECT, index)?;
        self.push(send.flags(squeue::Flags::IO_LINK), SEND, index)?;
        self.push(recv, RECV, index)
    }

    fn push(&mut self, entry: squeue::Entry, kind: u8, index: usize) -> io::Result<()> {
        let entry = entry.user_data(Tag { kind, index: index as u32 }.pack());
        // SAFETY: messages, address and timeout are never freed, and the address is written only between two
        // runs; a socket is dropped when all its ops have ended.
        unsafe { self.lanes.push(&entry) }
    }

    /// Ends what is under way and waits for it.
    fn close(&mut self) -> io::Result<()> {
        self.closing = true;
        while self.slots.iter().any(|slot| slot.open > 0) {
            self.lanes.cancel_all(Tag { kind: CANCEL, index: 0 }.pack())?;
            self.turn()?;
        }
        self.slots.iter_mut().for_each(|slot| slot.socket = None);
        self.closing = false;
        Ok(())
    }
}
