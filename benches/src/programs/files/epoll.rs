//! Static files in a hand-written epoll loop. It does what the floor of the workload does: with a cache it
//! answers whatever comes with the file that it opened when it started, without one it parses each request,
//! opens the file that it names, asks for its length and closes it. Short bodies are read behind their
//! header and sent with it, long ones go by `sendfile(2)`.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use super::{Files, Folder, SMALL, Served, ends_request, name_in, send_file_now, write_header};
use crate::plan::Plan;
use crate::programs::net::on_each_core;
use crate::programs::service::{self, Next, Service, Stream};

/// The longest head of a request.
const REQUEST: usize = 4096;

/// Serves until killed.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let files = Files::of(plan)?;
    on_each_core(plan, move |seat| {
        let server = Server::new(&files)?;
        service::serve(&seat.listen_near()?, server)
    })
}

/// What a connection has said that is no whole request yet, and the answer that it waits for.
#[derive(Default)]
struct State {
    unread: Vec<u8>,
    body: Option<Body>,
}

/// A long body, of which not all has gone.
struct Body {
    opened: Option<Served>,
    sent: u64,
}

struct Server {
    folder: Folder,
    /// The file that stays open, if one does; else one is opened for each request.
    kept: Option<Served>,
    buffer: Vec<u8>,
    /// The header of an answer; of the file that stays open always the same.
    header: Vec<u8>,
    /// Room for a header and a short body behind it.
    answer: Vec<u8>,
}

impl Server {
    fn new(files: &Files) -> io::Result<Server> {
        let (folder, mut header) = (files.folder()?, Vec::new());
        let kept = if files.cache { Some(folder.open(&files.name)?) } else { None };
        if let Some(served) = &kept {
            write_header(&mut header, served.length);
        }
        let (buffer, answer) = (vec![0; REQUEST], vec![0; SMALL as usize + 512]);
        Ok(Server { folder, kept, buffer, header, answer })
    }

    /// Answers with the file that was opened for this request, or with the one that stays open.
    fn answer(
        &mut self,
        opened: Option<Served>,
        stream: &mut Stream,
        body: &mut Option<Body>,
    ) -> io::Result<Next> {
        if let Some(served) = &opened {
            self.header.clear();
            write_header(&mut self.header, served.length);
        }
        let Served { file, length } = either(&opened, &self.kept);
        if *length <= SMALL {
            let head = self.header.len();
            let answer = &mut self.answer[..head + *length as usize];
            answer[..head].copy_from_slice(&self.header);
            file.read_exact_at(&mut answer[head..], 0)?;
            return stream.send(answer);
        }
        *body = Some(Body { opened, sent: 0 });
        match stream.send_before_more(&self.header)? {
            Next::Readable => self.go_on(stream, body),
            Next::Writable => Ok(Next::Writable),
        }
    }

    /// Sends of a long body what there is room for.
    fn go_on(&self, stream: &Stream, unsent: &mut Option<Body>) -> io::Result<Next> {
        let Some(Body { opened, sent }) = unsent else { return Ok(Next::Readable) };
        let Served { file, length } = either(opened, &self.kept);
        while *sent < *length {
            match send_file_now(stream.as_raw_fd(), file, *sent, *length - *sent) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Next::Writable),
                more => *sent += more?,
            }
        }
        *unsent = None;
        Ok(Next::Readable)
    }
}

fn either<'a>(opened: &'a Option<Served>, kept: &'a Option<Served>) -> &'a Served {
    opened.as_ref().or(kept.as_ref()).expect("what is not kept open is opened for each request")
}

impl Service for Server {
    type State = State;

    fn begin(&mut self, _: &mut TcpStream) -> io::Result<State> {
        Ok(State::default())
    }

    fn serve(&mut self, stream: &mut Stream, state: &mut State) -> io::Result<Next> {
        if state.body.is_some() {
            return self.go_on(stream, &mut state.body);
        }
        let Some(piece) = stream.receive(&mut self.buffer)? else { return Ok(Next::Readable) };
        let request = if state.unread.is_empty() && ends_request(piece) {
            piece
        } else {
            state.unread.extend_from_slice(piece);
            if !ends_request(&state.unread) {
                let is_too_long = state.unread.len() > REQUEST;
                return if is_too_long { Err(ErrorKind::InvalidData.into()) } else { Ok(Next::Readable) };
            }
            &state.unread
        };
        let opened = match self.kept {
            Some(_) => None,
            None => Some(self.folder.open(name_in(request)?)?),
        };
        state.unread.clear();
        self.answer(opened, stream, &mut state.body)
    }
}
