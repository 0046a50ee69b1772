//! The header fields a request is judged by, collected in one pass.
//!
//! Teaches: which fields may come twice and which must not, and how a body's length is told (RFC 9112,
//! section 6). Where two readers of the same bytes could disagree, the request is refused.
//! It is not a general header map: a field that nothing here asks for is not kept.

use std::borrow::Cow;

use super::{Refusal, is_authority};
use crate::conditional::Preconditions;
use crate::response::{Persistence, Status};

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// By a count of bytes; zero for a request without a body.
    Length(usize),
    /// By a chunk of length zero.
    Chunked,
}

/// What was found.
#[derive(Default)]
pub(super) struct Fields<'b> {
    pub(super) conditions: Preconditions<'b>,
    pub(super) range: Option<&'b [u8]>,
    /// `Expect: 100-continue`.
    pub(super) expects_continue: bool,
    /// `Expect` with anything else in it.
    pub(super) expects_the_unknown: bool,
    host_lines: usize,
    host_is_good: bool,
    content_length: Option<usize>,
    transfer_encoding: Option<Cow<'b, [u8]>>,
    asks_close: bool,
    asks_keep_alive: bool,
}

impl<'b> Fields<'b> {
    /// Goes through the lines once. Names are compared in any case, as the RFC asks.
    pub(super) fn collect(lines: &[httparse::Header<'b>]) -> Result<Fields<'b>, Refusal> {
        let mut fields = Fields::default();
        let mut range_lines = 0;
        for &httparse::Header { name, value } in lines {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("host") {
                fields.host_lines += 1;
                fields.host_is_good = is_authority(value.trim_ascii());
            } else if is("connection") {
                fields.connection(value);
            } else if is("content-length") {
                fields.content_length(value)?;
            } else if is("transfer-encoding") {
                join(&mut fields.transfer_encoding, value);
            } else if is("range") {
                range_lines += 1;
                fields.range = Some(value);
            } else if is("expect") {
                let known = value.trim_ascii().eq_ignore_ascii_case(b"100-continue");
                fields.expects_continue |= known;
                fields.expects_the_unknown |= !known;
            } else {
                fields.condition(name, value);
            }
        }
        if range_lines > 1 {
            fields.range = None;
        }
        Ok(fields)
    }

    /// How the body that follows the head ends.
    pub(super) fn body(&self, minor_version: u8) -> Result<Body, Refusal> {
        let Some(codings) = &self.transfer_encoding else {
            return Ok(Body::Length(self.content_length.unwrap_or(0)));
        };
        // Two lengths are how one request is smuggled behind another, and HTTP/1.0 knows no codings. A body
        // that is not chunked last has no end that could be found. All three: 400, and the connection ends.
        let mut codings = codings.rsplit(|&byte| byte == b',').map(|coding| coding.trim_ascii());
        let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
        let framed = codings.next().is_some_and(is_chunked) && !codings.any(is_chunked);
        if self.content_length.is_some() || minor_version == 0 || !framed {
            return Err(Refusal(Status::BadRequest));
        }
        Ok(Body::Chunked)
    }

    /// HTTP/1.1 needs exactly one; an older client may leave it out.
    pub(super) fn check_host(&self, minor_version: u8) -> Result<(), Refusal> {
        match self.host_lines {
            0 if minor_version == 0 => Ok(()),
            1 if self.host_is_good => Ok(()),
            _ => Err(Refusal(Status::BadRequest)),
        }
    }

    /// Connections of HTTP/1.1 stay open unless the client objects, those of 1.0 only if it asks.
    pub(super) fn persistence(&self, minor_version: u8) -> Persistence {
        match (minor_version, self.asks_close, self.asks_keep_alive) {
            (_, true, _) | (0, _, false) => Persistence::Close,
            (0, false, true) => Persistence::KeepOldClient,
            _ => Persistence::Keep,
        }
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',') {
            self.asks_close |= option.trim_ascii().eq_ignore_ascii_case(b"close");
            self.asks_keep_alive |= option.trim_ascii().eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// One number, or the same number again: anything else leaves the end of the body in doubt.
    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for part in value.split(|&byte| byte == b',') {
            let length = number(part.trim_ascii()).ok_or(Refusal(Status::BadRequest))?;
            if self.content_length.is_some_and(|earlier| earlier != length) {
                return Err(Refusal(Status::BadRequest));
            }
            self.content_length = Some(length);
        }
        Ok(())
    }

    /// The lists may go on in another line. A second date is a contradiction: the last one is as good as any.
    fn condition(&mut self, name: &str, value: &'b [u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let conditions = &mut self.conditions;
        if is("if-match") {
            join(&mut conditions.if_match, value);
        } else if is("if-none-match") {
            join(&mut conditions.if_none_match, value);
        } else if is("if-modified-since") {
            conditions.if_modified_since = Some(value);
        } else if is("if-unmodified-since") {
            conditions.if_unmodified_since = Some(value);
        } else if is("if-range") {
            conditions.if_range = Some(value);
        }
    }
}

/// Adds a line to a field that is a list. Only a second line costs an allocation.
fn join<'b>(list: &mut Option<Cow<'b, [u8]>>, value: &'b [u8]) {
    match list {
        None => *list = Some(Cow::Borrowed(value)),
        Some(earlier) => {
            let earlier = earlier.to_mut();
            earlier.extend_from_slice(b", ");
            earlier.extend_from_slice(value);
        }
    }
}

/// Digits only: `+5` parses in Rust but is no length. One that does not fit is too large for us anyway.
fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(std::str::from_utf8(digits).ok()?.parse().unwrap_or(usize::MAX))
}
