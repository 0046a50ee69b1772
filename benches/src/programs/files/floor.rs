//! The floors of static files, each a raw ring. One answers whatever comes with a file that it opened when it
//! started; the other parses each request, opens the file that it names, asks for its length and closes it,
//! as a server without a cache must. Short bodies are read behind their header and sent with it, long ones go
//! by `sendfile(2)` at once and, where the socket is full, when the ring says that it is not.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use io_uring::{cqueue, opcode, squeue, types};
use slab::Slab;

use super::{Files, Folder, SMALL, Served, ends_request, name_in, send_file_now, write_header};
use crate::plan::Plan;
use crate::programs::net::{Seat, on_each_core};
use crate::raw::{BufPool, Lanes, Tag};

const ACCEPT: u8 = 0;
const RECV: u8 = 1;
const SEND: u8 = 2;
const WRITABLE: u8 = 3;

/// The file is open and nobody reads the request.
pub(crate) fn open(plan: &Plan) -> io::Result<()> {
    run(plan, false)
}

/// Each request is parsed, each file opened, asked and closed.
pub(crate) fn parsing(plan: &Plan) -> io::Result<()> {
    run(plan, true)
}

fn run(plan: &Plan, parses: bool) -> io::Result<()> {
    let files = Files::of(plan)?;
    on_each_core(plan, move |seat| {
        let mut floor = Floor::new(seat, &files, parses)?;
        let result = floor.serve();
        std::mem::forget(floor);
        result
    })
}

struct Connection {
    socket: TcpStream,
    /// A receive is in the kernel.
    armed: bool,
    /// A send, or a wait for room, is in the kernel.
    busy: bool,
    gone: bool,
    /// What is sent now; its memory stays where it is while the kernel reads it.
    answer: Vec<u8>,
    sent: usize,
    /// What follows by `sendfile`, and how much of it has gone.
    body: Option<(Rc<Served>, u64)>,
}

struct Floor {
    lanes: Lanes,
    pool: BufPool,
    listener: TcpListener,
    folder: Folder,
    parses: bool,
    open: Rc<Served>,
    /// The header that goes with it.
    open_header: Vec<u8>,
    connections: Slab<Connection>,
}

impl Floor {
    fn new(seat: Seat, files: &Files, parses: bool) -> io::Result<Floor> {
        let listener = seat.listen_near()?;
        let lanes = Lanes::new(1024, 4096)?;
        let pool = BufPool::new(&lanes, 0, 1024, 1024)?;
        let (folder, mut open_header) = (files.folder()?, Vec::new());
        let open = Rc::new(folder.open(&files.name)?);
        write_header(&mut open_header, open.length);
        Ok(Floor { lanes, pool, listener, folder, parses, open, open_header, connections: Slab::new() })
    }

    fn serve(&mut self) -> io::Result<()> {
        self.accept()?;
        loop {
            self.pool.publish();
            self.lanes.enter(1)?;
            while let Some(cqe) = self.lanes.reap() {
                let Tag { kind, index } = Tag::unpack(cqe.user_data());
                match kind {
                    ACCEPT => self.on_accept(&cqe)?,
                    RECV => self.on_recv(index as usize, &cqe)?,
                    _ => self.on_room(index as usize, kind, cqe.result())?,
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let fd = types::Fd(self.listener.as_raw_fd());
        self.push(opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build(), ACCEPT, 0)
    }

    fn on_accept(&mut self, cqe: &cqueue::Entry) -> io::Result<()> {
        if !cqueue::more(cqe.flags()) {
            self.accept()?;
        }
        if cqe.result() < 0 {
            return Err(io::Error::from_raw_os_error(-cqe.result()));
        }
        // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
        let socket = unsafe { TcpStream::from_raw_fd(cqe.result()) };
        // For `sendfile`, which has no flag for it.
        socket.set_nonblocking(self.open.length > SMALL)?;
        let (answer, body) = (Vec::with_capacity(SMALL as usize + 512), None);
        let new = Connection { socket, armed: false, busy: false, gone: false, answer, sent: 0, body };
        let index = self.connections.insert(new);
        self.arm(index)
    }

    fn arm(&mut self, index: usize) -> io::Result<()> {
        self.connections[index].armed = true;
        let fd = types::Fd(self.connections[index].socket.as_raw_fd());
        self.push(opcode::RecvMulti::new(fd, self.pool.group()).build(), RECV, index)
    }

    fn on_recv(&mut self, index: usize, cqe: &cqueue::Entry) -> io::Result<()> {
        self.connections[index].armed = cqueue::more(cqe.flags());
        if let Some(bid) = cqueue::buffer_select(cqe.flags()) {
            self.pool.taken();
            let request = self.pool.bytes(bid, cqe.result().max(0) as usize);
            let body = match (ends_request(request), self.parses) {
                (false, _) => None,
                (true, false) => Some(self.open.clone()),
                (true, true) => Some(Rc::new(self.folder.open(name_in(request)?)?)),
            };
            self.pool.give_back(bid);
            if let Some(body) = body {
                self.answer(index, body)?;
            }
        }
        let connection = &mut self.connections[index];
        match cqe.result() {
            n if n <= 0 && n != -libc::ENOBUFS => {
                connection.gone = true;
                self.settle(index);
                Ok(())
            }
            _ if !connection.armed => self.arm(index),
            _ => Ok(()),
        }
    }

    fn answer(&mut self, index: usize, body: Rc<Served>) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.answer.clear();
        if self.parses {
            write_header(&mut connection.answer, body.length);
        } else {
            connection.answer.extend_from_slice(&self.open_header);
        }
        connection.sent = 0;
        if body.length > SMALL {
            connection.body = Some((body, 0));
            return self.send_long(index);
        }
        let head = connection.answer.len();
        connection.answer.resize(head + body.length as usize, 0);
        // From the page cache this is no slower than a read in the ring, and saves its completion.
        body.file.read_exact_at(&mut connection.answer[head..], 0)?;
        self.send_short(index)
    }

    fn send_short(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.busy = true;
        let (fd, rest) = (types::Fd(connection.socket.as_raw_fd()), &connection.answer[connection.sent..]);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let send = opcode::Send::new(fd, rest.as_ptr(), rest.len() as u32).flags(flags).build();
        self.push(send, SEND, index)
    }

    /// Sends header and body inline for as long as the socket takes them, then waits for room in the ring.
    fn send_long(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let fd = connection.socket.as_raw_fd();
        while let Some((body, gone)) = &mut connection.body {
            let sent = if connection.sent < connection.answer.len() {
                send_now(fd, &connection.answer[connection.sent..]).map(|n| connection.sent += n)
            } else {
                send_file_now(fd, &body.file, *gone, body.length - *gone).map(|n| *gone += n)
            };
            match sent {
                Ok(()) if *gone == body.length => connection.body = None,
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.busy = true;
                    let poll = opcode::PollAdd::new(types::Fd(fd), libc::POLLOUT as u32).build();
                    return self.push(poll, WRITABLE, index);
                }
                Err(_) => {
                    connection.body = None;
                    connection.gone = true;
                }
            }
        }
        Ok(())
    }

    fn on_room(&mut self, index: usize, kind: u8, result: i32) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.busy = false;
        if kind == WRITABLE {
            self.send_long(index)?;
        } else {
            connection.sent += result.max(0) as usize;
            if result > 0 && connection.sent < connection.answer.len() {
                return self.send_short(index);
            }
        }
        self.settle(index);
        Ok(())
    }

    /// Forgets a connection that has ended and has nothing in the kernel.
    fn settle(&mut self, index: usize) {
        let connection = &self.connections[index];
        if connection.gone && !connection.armed && !connection.busy {
            self.connections.remove(index);
        }
    }

    fn push(&mut self, entry: squeue::Entry, kind: u8, index: usize) -> io::Result<()> {
        let entry = entry.user_data(Tag { kind, index: index as u32 }.pack());
        // SAFETY: a connection, with its socket and what it sends, stays until its ops have ended; it asks
        // for nothing new, so its answer is not touched, while one is under way. The pool is never freed.
        unsafe { self.lanes.push(&entry) }
    }
}

fn send_now(fd: i32, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_MORE;
    // SAFETY: the call reads `bytes` and returns before they can go away.
    let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
