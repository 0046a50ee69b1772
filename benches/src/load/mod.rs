//! The load generators. This one converses over many connections from one thread with a ring of its own:
//! each connection sends a request, or several, waits until all of a reply has come back, compares every
//! byte and sends the next, at once or when `pace.rs` says so. For a proxy it is the upstream as well, so
//! that no third process shares its CPU. It promises to stop with an error, never to hang, when a server
//! loses or changes bytes. It is not a model of real clients: they think between requests.

pub(crate) mod bulk;
pub(crate) mod connect;
pub(crate) mod crew;
pub(crate) mod dialog;
pub(crate) mod http2;
mod line;
mod pace;
mod supply;
mod tenths;
pub(crate) mod tls;

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::{cqueue, opcode, squeue, types};
use socket2::SockRef;

use crate::child::Running;
use crate::meter::{Times, latencies};
use crate::raw::{Lanes, Tag};
use crate::sample::{P99_OF_A_TENTH, Sample};
use crate::usage::own_thread_ns;

use crew::{Ends, Job};
use dialog::Dialog;
use line::Line;
use pace::{Pace, Rhythm};
use supply::{Messages, Pools};
use tenths::Tenths;

const RECV: u8 = 0;
const SEND: u8 = 1;
const TICK: u8 = 2;
const CANCEL: u8 = 3;

/// How often a silent server is looked for, and for how long it may be silent.
const TICK_TIME: Duration = Duration::from_millis(250);
pub(crate) const SILENCE: Duration = Duration::from_secs(5);

/// What one run does.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    pub(crate) dialog: Arc<Dialog>,
    pub(crate) connections: usize,
    /// Requests under way on each connection.
    pub(crate) depth: usize,
    /// Requests a second; without one, each reply is followed by the next request.
    pub(crate) rate: Option<f64>,
    pub(crate) times: Times,
}

/// Ring, buffers and counters; one for the whole life of the harness, on the thread that made it.
pub(crate) struct Generator {
    lanes: Lanes,
    pools: Pools,
    messages: Messages,
    lines: Vec<Line>,
    dialog: Arc<Dialog>,
    depth: usize,
    /// Without one, a reply is followed by the next request.
    pace: Option<Pace>,
    /// Whether it asks again and again what is due, instead of sleeping until then.
    spins: bool,
    now: Instant,
    /// The time of the timeout that is armed, never freed.
    tick_time: &'static mut types::Timespec,
    tick_armed: bool,
    answered: u64,
    latency: Histogram<u64>,
}

impl Generator {
    pub(crate) fn new() -> io::Result<Generator> {
        Ok(Generator {
            lanes: Lanes::new(1024, 16384)?,
            pools: Pools::default(),
            messages: Messages::default(),
            lines: Vec::new(),
            dialog: Arc::new(Dialog::Echo { size: 0 }),
            depth: 1,
            pace: None,
            spins: false,
            now: Instant::now(),
            tick_time: Box::leak(Box::new(types::Timespec::new())),
            tick_armed: false,
            answered: 0,
            latency: latencies(),
        })
    }

    /// Loads `server` and measures both it and ourselves. With `upstream`, the server is a proxy to that
    /// listener.
    pub(crate) fn run(
        &mut self,
        traffic: &Traffic,
        server: &mut Running,
        upstream: Option<&TcpListener>,
    ) -> io::Result<Sample> {
        let result = self.measure(traffic, server, upstream);
        let closed = self.close();
        let sample = result?;
        closed.map(|()| sample)
    }

    fn measure(
        &mut self,
        traffic: &Traffic,
        server: &mut Running,
        upstream: Option<&TcpListener>,
    ) -> io::Result<Sample> {
        let sockets = traffic.connections * (1 + usize::from(upstream.is_some()));
        self.begin(traffic.dialog.clone(), traffic.depth, sockets)?;
        self.connect(traffic.connections, server.address()?, upstream)?;
        // The CPU is ours alone, so each request can leave when it is due.
        (self.pace, self.spins) = (None, traffic.rate.is_some());
        let pace = |now| traffic.rate.map(|rate| Pace::new(rate, traffic.connections, 1, now, Rhythm::Exact));
        self.now = Instant::now();
        for index in 0..self.lines.len() {
            self.arm(index)?;
        }
        self.set_going(pace(self.now))?;
        self.drive(traffic.times.warm)?;
        let before = server.reading()?;
        self.answered = 0;
        self.latency.reset();
        let mut tenths = traffic.rate.map(|_| Tenths::of(traffic.times.measure));
        if traffic.rate.is_some() {
            // What fell due while the server was asked is not the server's fault.
            self.settle()?;
            self.pace = pace(Instant::now());
        }
        let (load_before, start) = (own_thread_ns(), Instant::now());
        self.now = start;
        self.drive_while(|generator| match &mut tenths {
            Some(tenths) => tenths.go_on(start, generator.now, &mut generator.latency),
            None => generator.now < start + traffic.times.measure,
        })?;
        let (wall, load) = (start.elapsed(), own_thread_ns() - load_before);
        let used = server.reading()?.since(&before);
        let p99 = tenths.as_ref().map(Tenths::p99);
        if let Some(tenths) = tenths {
            self.latency = tenths.sum();
        }
        let mut sample = Sample::of_server(self.answered, wall, used, &self.latency);
        sample.load_cpu_ns = Some(load);
        Ok(match p99 {
            Some(p99) => sample.with(P99_OF_A_TENTH, p99),
            None => sample,
        })
    }

    /// Waits until everything that was sent has been answered.
    fn settle(&mut self) -> io::Result<()> {
        self.drive_while(|generator| match &mut generator.pace {
            Some(pace) => {
                pace.stop();
                !pace.is_done()
            }
            None => false,
        })?;
        self.answered = 0;
        self.latency.reset();
        Ok(())
    }

    /// Does `job` until its watch is over; the latencies since the watch began.
    pub(crate) fn run_job(&mut self, job: Job) -> io::Result<Histogram<u64>> {
        let result = self.work_off(job);
        let closed = self.close();
        result.and(closed)?;
        Ok(self.latency.clone())
    }

    fn work_off(&mut self, job: Job) -> io::Result<()> {
        let Job { ends: Ends { clients, upstreams }, dialog, depth, rate, seed, watch } = job;
        self.begin(dialog, depth, clients.len() + upstreams.len())?;
        self.spins = false;
        // A long tick of the job before would hold back the first messages of this one.
        while self.tick_armed {
            self.turn()?;
        }
        self.now = Instant::now();
        let pace = rate.map(|rate| Pace::new(rate, clients.len(), seed, self.now, Rhythm::Ticks));
        clients.into_iter().try_for_each(|socket| self.adopt(socket, false))?;
        upstreams.into_iter().try_for_each(|socket| self.adopt(socket, true))?;
        (0..self.lines.len()).try_for_each(|index| self.arm(index))?;
        self.set_going(pace)?;
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

    /// Makes ready for another conversation over `sockets`.
    fn begin(&mut self, dialog: Arc<Dialog>, depth: usize, sockets: usize) -> io::Result<()> {
        self.pools.choose(&self.lanes, sockets, dialog.reply_len())?;
        self.messages.make_room(sockets, dialog.request_len(), depth);
        (self.dialog, self.depth) = (dialog, depth);
        Ok(())
    }

    /// Sends the first requests, unless they are to wait for their time.
    fn set_going(&mut self, pace: Option<Pace>) -> io::Result<()> {
        self.pace = pace;
        if self.pace.is_some() {
            return Ok(());
        }
        for index in 0..self.lines.len() {
            if !self.lines[index].is_upstream {
                self.lines[index].owed = self.depth;
                self.next_messages(index, self.now)?;
            }
        }
        Ok(())
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
        make_cheap(&socket)?;
        let index = self.lines.len();
        self.lines.push(Line::new(socket, is_upstream, self.depth));
        for slot in 0..self.depth {
            self.dialog.compose(index + 1, self.messages.get(index, slot));
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
            if last_answer.0 != self.answered || self.pace.as_ref().is_some_and(Pace::is_idle) {
                last_answer = (self.answered, self.now);
            } else if self.now - last_answer.1 > SILENCE {
                return Err(io::Error::other(format!("no answer within {} s", SILENCE.as_secs())));
            }
            if self.spins {
                self.send_due()?;
            } else if !self.tick_armed {
                self.tick()?;
            }
            self.turn()?;
        }
        Ok(())
    }

    /// Sends what is due, if there is a pace.
    fn send_due(&mut self) -> io::Result<()> {
        let now = self.now;
        while let Some((index, since)) = self.pace.as_mut().and_then(|pace| pace.due(now)) {
            self.lines[index].owed += 1;
            self.next_messages(index, since)?;
        }
        Ok(())
    }

    /// Sends what is due and arms the next tick.
    fn tick(&mut self) -> io::Result<()> {
        self.send_due()?;
        let pause = self.pace.as_mut().map_or(TICK_TIME, Pace::pause);
        *self.tick_time = types::Timespec::from(pause);
        self.tick_armed = true;
        let entry = opcode::Timeout::new(&raw const *self.tick_time).build();
        self.push(entry, TICK, 0)
    }

    fn turn(&mut self) -> io::Result<()> {
        self.pools.publish();
        self.lanes.enter(usize::from(!self.spins))?;
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
        self.lines[index].armed = more;
        let Some(bid) = cqueue::buffer_select(cqe.flags()) else {
            return match cqe.result() {
                // Everything that was received has been given back by the end of this turn.
                error if error == -libc::ENOBUFS => self.arm(index),
                other => Err(failed(index, "receive", other)),
            };
        };
        let taken = match cqe.result() {
            length if length > 0 => self.take(index, bid, length as usize),
            other => Err(failed(index, "receive", other)),
        };
        self.pools.give_back(bid);
        if !more {
            self.arm(index)?;
        }
        let replies = taken?;
        if self.lines[index].is_upstream {
            return if replies > 0 { self.send(index, 0, 1) } else { Ok(()) };
        }
        for _ in 0..replies {
            let since = self.lines[index].answered_one();
            self.latency.saturating_record((self.now - since).as_nanos() as u64);
            self.answered += 1;
            match &mut self.pace {
                None => self.lines[index].owed += 1,
                Some(pace) => {
                    if let Some(late) = pace.answered(index) {
                        self.lines[index].owed += 1;
                        self.next_messages(index, late)?;
                    }
                }
            }
        }
        self.next_messages(index, self.now)
    }

    /// Compares what has come, or keeps it if it is to be sent back; how many replies are complete.
    fn take(&mut self, index: usize, bid: u16, length: usize) -> io::Result<usize> {
        let (mut piece, reply_len) = (self.pools.bytes(bid, length), self.dialog.reply_len());
        let (mut replies, line) = (0, &mut self.lines[index]);
        while !piece.is_empty() {
            let Some(slot) = line.waits_in_slot(replies) else {
                return Err(failed(index, "receive", piece.len() as i32));
            };
            let (from, n) = (line.received, piece.len().min(reply_len - line.received));
            let (now, rest) = piece.split_at(n);
            let message = self.messages.get(index, slot);
            if line.is_upstream {
                message[from..from + n].copy_from_slice(now);
            } else if !self.dialog.is_right(message, from, now) {
                let to = from + n;
                return Err(io::Error::other(format!(
                    "connection {index}: bytes {from}..{to} came back changed"
                )));
            }
            piece = rest;
            line.received = (from + n) % reply_len;
            replies += usize::from(line.received == 0);
        }
        Ok(replies)
    }

    /// Sends requests that a connection owes, as many as lie one behind the other; their latency counts from
    /// `since`. What is left follows the next reply.
    fn next_messages(&mut self, index: usize, since: Instant) -> io::Result<()> {
        let (first, count) = self.lines[index].next_slots();
        if count == 0 {
            return Ok(());
        }
        for slot in first..first + count {
            let sequence = self.lines[index].sent_one(since);
            self.dialog.stamp(sequence, self.messages.get(index, slot));
        }
        self.send(index, first, count)
    }

    fn send(&mut self, index: usize, first: usize, count: usize) -> io::Result<()> {
        let fd = types::Fd(self.lines[index].socket.as_raw_fd());
        let (from, length) = (self.messages.address(index, first), count * self.dialog.request_len());
        let entry = opcode::Send::new(fd, from, length as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            // The reply says that it was sent.
            .flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry, SEND, index)
    }

    fn arm(&mut self, index: usize) -> io::Result<()> {
        self.lines[index].armed = true;
        let fd = types::Fd(self.lines[index].socket.as_raw_fd());
        self.push(opcode::RecvMulti::new(fd, self.pools.group()).build(), RECV, index)
    }

    fn push(&mut self, entry: squeue::Entry, kind: u8, index: usize) -> io::Result<()> {
        let entry = entry.user_data(Tag { kind, index: index as u32 }.pack());
        // SAFETY: messages, pool memory and the timeout are never freed, the latter is written only while
        // none is armed, and the kernel holds the socket itself from the moment the entry is submitted;
        // `close` submits what is queued before it drops one.
        unsafe { self.lanes.push(&entry) }
    }

    /// Ends all connections and takes in what the kernel still has to say about them.
    fn close(&mut self) -> io::Result<()> {
        for line in &self.lines {
            // An error means that the server has closed it already.
            let _ = line.socket.shutdown(Shutdown::Both);
        }
        while self.lines.iter().any(|line| line.armed) {
            // A receive that is busy with much data is not always woken by the end of its socket.
            self.lanes.cancel_all(Tag { kind: CANCEL, index: 0 }.pack())?;
            self.pools.publish();
            self.lanes.enter(1)?;
            while let Some(cqe) = self.lanes.reap() {
                let Tag { kind, index } = Tag::unpack(cqe.user_data());
                if kind == TICK {
                    self.tick_armed = false;
                } else if kind == RECV {
                    self.lines[index as usize].armed = cqueue::more(cqe.flags());
                    if let Some(bid) = cqueue::buffer_select(cqe.flags()) {
                        self.pools.give_back(bid);
                    }
                }
            }
        }
        self.lines.clear();
        self.pace = None;
        Ok(())
    }
}

/// What is in `place`, made the first time it is asked for.
pub(crate) fn made<T>(place: &mut Option<T>, make: impl FnOnce() -> io::Result<T>) -> io::Result<&mut T> {
    Ok(match place {
        Some(made) => made,
        none => none.insert(make()?),
    })
}

/// Takes from our end of a connection what costs CPU and is not the subject: our CPU must not be the limit.
pub(crate) fn make_cheap(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    // The cheapest congestion control there is, where the kernel has it.
    let _ = SockRef::from(socket).set_tcp_congestion(b"reno");
    Ok(())
}

pub(crate) fn failed(index: usize, what: &str, result: i32) -> io::Error {
    io::Error::other(match result {
        0 => format!("connection {index}: closed by the server"),
        n if n < 0 => format!("connection {index}: {what}: {}", io::Error::from_raw_os_error(-n)),
        n => format!("connection {index}: {n} bytes more than were asked for"),
    })
}
