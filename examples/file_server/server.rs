//! What the connections of one core share, and the answer to a request.
//!
//! Teaches: state per core. Each core has its own [`Server`] behind an `Rc`: open files, the date and the
//! list of who is connected, none of it locked, none of it seen by another core.
//! Promises: every request gets an answer, in a buffer whose memory a former answer had, if one has left.
//! It does not touch a socket: `connection.rs` does.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use percent_encoding::{CONTROLS, utf8_percent_encode};
use ringwork::buf::SpareBuf;

use crate::answer::{Answer, Reply};
use crate::body;
use crate::path::{PathError, SitePath};
use crate::request::{Method, Request, Target};
use crate::response::{DateCache, Persistence, Status};
use crate::site::{Found, OpenFile, Site};
use crate::stop::Stop;

/// One core's part of the server.
pub(crate) struct Server {
    pub(crate) stop: Rc<Stop>,
    site: Rc<Site>,
    date: RefCell<DateCache>,
}

impl Server {
    pub(crate) fn new(site: Rc<Site>, stop: Rc<Stop>) -> Server {
        Server { stop, site, date: RefCell::default() }
    }

    /// Answers a request: the bytes to send, and the file whose part follows them.
    pub(crate) async fn answer(&self, request: &Request<'_>) -> (Answer, Option<OpenFile>) {
        // The clock is read once for a request.
        let now = Instant::now();
        let outcome = match request.method {
            Method::Get | Method::Head => self.find(request, now).await.unwrap_or_else(Outcome::Error),
            Method::Options => Outcome::Allowed,
            Method::NotAllowed => Outcome::Error(Status::MethodNotAllowed),
            Method::Unknown => Outcome::Error(Status::NotImplemented),
        };
        // Who is refused because something is short takes as little of it as he can: his connection ends.
        let ends = self.stop.is_stopping() || matches!(outcome, Outcome::Error(Status::ServiceUnavailable));
        let persistence = if ends { Persistence::Close } else { request.persistence };
        self.reply(now, request.method == Method::Head, persistence, |reply, out| match outcome {
            Outcome::File(file) => (reply.file(out, request, &file.facts), Some(file)),
            Outcome::Listing(html) => (reply.listing(out, request, &html), None),
            Outcome::Moved(location) => (reply.moved(out, &location), None),
            Outcome::Allowed => (reply.allowed(out), None),
            Outcome::Error(status) => (reply.error(out, status), None),
        })
    }

    /// The answer to something that is not served; the connection ends behind it.
    pub(crate) fn refuse(&self, status: Status, head_only: bool) -> Answer {
        self.reply(Instant::now(), head_only, Persistence::Close, |reply, out| reply.error(out, status))
    }

    async fn find(&self, request: &Request<'_>, now: Instant) -> Result<Outcome, Status> {
        let Target::Path { path, query } = &request.target else {
            return Err(Status::BadRequest);
        };
        let path = SitePath::decode(path).map_err(|error| match error {
            PathError::Malformed => Status::BadRequest,
            PathError::Unnameable => Status::NotFound,
        })?;
        if !request.names_a_version()
            && let Some(file) = self.site.find_open(&path, now)
        {
            return Ok(Outcome::File(file));
        }
        // In a box: a task is as large as its largest wait, and this one is large and seldom.
        Ok(match Box::pin(self.site.find(&path, now)).await? {
            Found::File(file) => Outcome::File(file),
            Found::Listing(html) => Outcome::Listing(html),
            Found::Folder => Outcome::Moved(match query {
                // As it came, but for what is no ASCII: a location has none (RFC 3986, 2).
                Some(query) => format!("{}?{}", path.folder_url(), utf8_percent_encode(query, CONTROLS)),
                None => path.folder_url(),
            }),
        })
    }

    fn reply<T>(
        &self,
        now: Instant,
        head_only: bool,
        persistence: Persistence,
        write: impl FnOnce(Reply<'_>, Vec<u8>) -> T,
    ) -> T {
        let mut out = SpareBuf::new().into_vec();
        out.reserve(BUFFER);
        let mut date = self.date.borrow_mut();
        let (now, date) = date.at(now, SystemTime::now);
        write(Reply { head_only, persistence, now, date }, out)
    }
}

/// What came of a request, before it is put into words.
enum Outcome {
    File(OpenFile),
    Listing(String),
    /// With the address that is right.
    Moved(String),
    Allowed,
    Error(Status),
}

/// Room for a head and the largest body that is read behind it.
const BUFFER: usize = body::SMALL_MAX as usize + 1024;
