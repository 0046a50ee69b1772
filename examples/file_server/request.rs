//! Reading requests out of received bytes (RFC 9112).
//!
//! Teaches: an incremental parse that looks at each byte about once however slowly they trickle in, limits on
//! everything a client may send, and the framing rules that keep two readers of one connection in agreement.
//! [`Parser::parse`] takes all bytes received so far and says: a request, more bytes needed, or a refusal.
//! Bytes behind a request stay where they are: they are the next one (pipelining).
//! Promises: a request it returns has a known method, at most one `Host`, one clear length, and its body is
//! wholly received (and ignored: no method served here gives a body a meaning).
//! It is not the judge of the path (`path.rs`) or of the conditional fields (`conditional.rs`).

mod fields;
#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;

use crate::conditional::Preconditions;
use crate::response::{Persistence, Status};
use fields::{Body, Fields};

/// Longest request line and fields together; beyond it 431.
pub(crate) const HEAD_MAX: usize = 16 * 1024;
/// Longest target; beyond it 414.
pub(crate) const TARGET_MAX: usize = 8 * 1024;
/// Longest body that is received only to be ignored; beyond it 413 or a closed connection.
pub(crate) const BODY_MAX: usize = 16 * 1024;
/// Most fields in one head; beyond it 431. Browsers send about 20.
const FIELDS_MAX: usize = 64;
/// Blank lines that a careless client may put before a request line, in bytes; beyond it 400.
const BLANK_MAX: usize = 8;

/// The methods, as far as this server tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Options,
    /// Defined by HTTP, not served here: 405.
    NotAllowed,
    /// Never heard of: 501.
    Unknown,
}

/// What the request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'b> {
    /// A path, still encoded, and the query behind the `?`.
    Path { path: &'b str, query: Option<&'b str> },
    /// `OPTIONS *`: the server as a whole. Also the target of a method that is not served.
    Server,
}

/// One request; borrows from the received bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request<'b> {
    pub(crate) method: Method,
    pub(crate) target: Target<'b>,
    pub(crate) persistence: Persistence,
    pub(crate) conditions: Preconditions<'b>,
    pub(crate) range: Option<&'b [u8]>,
    /// How many of the received bytes this request is, body included.
    pub(crate) length: usize,
}

impl Request<'_> {
    /// Whether the answer is right for one version of a file only: a part is joined with parts that the
    /// client has, and a condition may say which version it means.
    pub(crate) fn names_a_version(&self) -> bool {
        let Preconditions { if_match, if_unmodified_since, if_range, .. } = &self.conditions;
        let means_one = if_match.is_some() || if_unmodified_since.is_some() || if_range.is_some();
        self.range.is_some() || means_one
    }
}

/// A request that is not served. What follows it in the connection cannot be trusted: always close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) Status);

/// Whether what was received begins as a HEAD does: its answer has no body, also where it is a refusal
/// (RFC 9110, section 9.3.2).
pub(crate) fn begins_as_head(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"HEAD ")
}

/// Reads one request after the other from a growing buffer.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// Bytes that were searched for the end of a head without success.
    searched: usize,
    /// Bytes of a request whose head is complete while its body is not.
    needed: usize,
}

impl Parser {
    /// Looks for a request at the start of `bytes`: everything received and not yet used.
    /// After a request is returned, the caller removes its `length` bytes before the next call.
    pub(crate) fn parse<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<Request<'b>>, Refusal> {
        let first_look = self.searched == 0;
        if bytes.is_empty() || bytes.len() < self.needed {
            return Ok(None);
        }
        // Parsing starts at byte 0 each time, so it waits until there is a chance that the head is complete.
        // The first look is for garbage, which is answered at once.
        let worth_it = first_look || has_blank_line(bytes, self.searched) || bytes.len() >= HEAD_MAX;
        self.searched = bytes.len();
        if !worth_it && self.needed == 0 {
            return Ok(None);
        }
        let parsed = parse_head(bytes)?;
        match parsed {
            None if bytes.len() >= HEAD_MAX => Err(too_long(bytes)),
            None => Ok(None),
            Some(request) if request.length > bytes.len() => {
                self.needed = request.length;
                Ok(None)
            }
            Some(request) => {
                *self = Parser::default();
                Ok(Some(request))
            }
        }
    }
}

fn has_blank_line(bytes: &[u8], searched: usize) -> bool {
    // The end of a head may straddle the old and the new bytes by up to three.
    let tail = &bytes[searched.saturating_sub(3)..];
    let mut newlines = tail.iter().enumerate().filter(|&(_, &byte)| byte == b'\n').map(|(at, _)| at);
    newlines.any(|at| tail[at + 1..].starts_with(b"\n") || tail[at + 1..].starts_with(b"\r\n"))
}

/// The head was not complete within its limit: it is the target's fault or the fields'.
fn too_long(bytes: &[u8]) -> Refusal {
    let line = bytes.trim_ascii_start();
    let mut words = line.split(|&byte| byte == b' ' || byte == b'\r' || byte == b'\n');
    let target = words.nth(1).unwrap_or_default();
    Refusal(if target.len() > TARGET_MAX { Status::UriTooLong } else { Status::FieldsTooLarge })
}

fn parse_head(bytes: &[u8]) -> Result<Option<Request<'_>>, Refusal> {
    let blank = bytes.iter().take_while(|byte| b"\r\n".contains(byte)).count();
    if blank > BLANK_MAX {
        return Err(Refusal(Status::BadRequest));
    }
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut []);
    let head_len = match head.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal(Status::FieldsTooLarge)),
        Err(httparse::Error::Version) => return Err(Refusal(version_refusal(bytes))),
        Err(_) => return Err(Refusal(Status::BadRequest)),
    };
    // A complete head has all three; the fallbacks are refused below.
    let (method, target) = (head.method.unwrap_or_default(), head.path.unwrap_or_default());
    let minor_version = head.version.unwrap_or(0);
    if target.len() > TARGET_MAX {
        return Err(Refusal(Status::UriTooLong));
    }
    if head_len > HEAD_MAX {
        return Err(Refusal(Status::FieldsTooLarge));
    }
    let fields = Fields::collect(head.headers)?;
    let body = fields.body(minor_version)?;
    fields.check_host(minor_version)?;
    let method = known_method(method);
    let target = parse_target(method, target)?;
    if fields.expects_the_unknown {
        return Err(Refusal(Status::ExpectationFailed));
    }
    let length = match body {
        Body::Length(body_len) if body_len <= BODY_MAX => head_len + body_len,
        Body::Length(_) => return Err(unskippable(method, Status::ContentTooLarge)),
        Body::Chunked => return Err(unskippable(method, Status::NotImplemented)),
    };
    if length > bytes.len() && fields.expects_continue && minor_version > 0 {
        // The client waits for leave to send a body that has no use here.
        return Err(unskippable(method, Status::ExpectationFailed));
    }
    let persistence = fields.persistence(minor_version);
    let Fields { conditions, range, .. } = fields;
    Ok(Some(Request { method, target, persistence, conditions, range, length }))
}

/// The body stays unread, so the connection has to end; a method that is not served is the better reason.
fn unskippable(method: Method, reason: Status) -> Refusal {
    Refusal(match method {
        Method::NotAllowed => Status::MethodNotAllowed,
        Method::Unknown => Status::NotImplemented,
        Method::Get | Method::Head | Method::Options => reason,
    })
}

/// The parser knows HTTP/1.0 and 1.1. Another version is one thing, a line that names none another.
fn version_refusal(bytes: &[u8]) -> Status {
    let mut lines = bytes.trim_ascii_start().split(|&byte| byte == b'\n');
    let line = lines.next().unwrap_or_default().trim_ascii_end();
    match line.rsplit(|&byte| byte == b' ').next() {
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
            if major.is_ascii_digit()
                && minor.is_ascii_digit()
                && line.split(|&b| b == b' ').count() == 3 =>
        {
            Status::VersionNotSupported
        }
        _ => Status::BadRequest,
    }
}

fn known_method(method: &str) -> Method {
    match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "OPTIONS" => Method::Options,
        "POST" | "PUT" | "DELETE" | "PATCH" | "CONNECT" | "TRACE" => Method::NotAllowed,
        _ => Method::Unknown,
    }
}

/// The forms of RFC 9112, section 3.2, but for the one of CONNECT.
fn parse_target(method: Method, target: &str) -> Result<Target<'_>, Refusal> {
    if matches!(method, Method::NotAllowed | Method::Unknown) {
        return Ok(Target::Server);
    }
    if target == "*" && method == Method::Options {
        return Ok(Target::Server);
    }
    let origin = if target.starts_with('/') { target } else { absolute_form(target)? };
    if origin.contains('#') {
        return Err(Refusal(Status::BadRequest));
    }
    let (path, query) = match origin.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (origin, None),
    };
    Ok(match path {
        // `OPTIONS http://host` is `OPTIONS *` on its way through a proxy.
        "" if method == Method::Options && query.is_none() => Target::Server,
        "" => Target::Path { path: "/", query },
        path => Target::Path { path, query },
    })
}

/// What follows the authority of `http://authority/path`. This server has one site, whatever its name.
fn absolute_form(target: &str) -> Result<&str, Refusal> {
    let (scheme, rest) = target.split_once("://").ok_or(Refusal(Status::BadRequest))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, origin) = rest.split_at(end);
    let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    if is_http && !authority.is_empty() && is_authority(authority.as_bytes()) {
        Ok(origin)
    } else {
        Err(Refusal(Status::BadRequest))
    }
}

/// Host and port as characters go; a name is not looked up, so no more is needed.
fn is_authority(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte))
}
