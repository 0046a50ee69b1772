//! What to say to a request, once it is known what the request found: status, fields, and which bytes of a
//! file are to follow.
//!
//! Teaches: the order of decisions in RFC 9110 (preconditions, then `Range`), written as plain functions from
//! facts to bytes. Nothing here waits, opens or sends, so all of it is tested without a socket.
//! Promises: HEAD gets exactly the fields GET would get; a body that is a page is already behind the head.
//! It is not where files are found (`site.rs`) or sent (`body.rs`).

use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::conditional::{Validators, Verdict};
use crate::media;
use crate::range::{self, Wanted};
use crate::request::{Method, Request};
use crate::response::{Head, Persistence, Status, http_time};

/// What is known about an open file, and the fields that say it, which are written once for all answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) len: u64,
    /// In whole seconds, if HTTP can write it.
    last_modified: Option<SystemTime>,
    /// Strong: another size, time of change or file is another tag.
    pub(crate) etag: String,
    content_type: &'static str,
    /// The fields that tell one version from another; 304 repeats them.
    version: Vec<u8>,
    /// The fields about the bytes, if all of them follow.
    whole: Vec<u8>,
    /// What they were made from, beside the length and the type.
    modified: SystemTime,
    inode: u64,
}

impl Facts {
    /// From a file's metadata as it is `now`; the path only says what its bytes mean.
    pub(crate) fn new(path: &Path, len: u64, modified: SystemTime, inode: u64, now: SystemTime) -> Facts {
        let name = path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
        let changed = match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_nanos() as i128,
            Err(before) => -(before.duration().as_nanos() as i128),
        };
        let etag = format!("\"{len:x}-{:x}-{inode:x}\"", changed as u64);
        // A file from the future is said to be of now: RFC 9110, section 8.8.2.1.
        let last_modified = http_time(modified.min(now));
        let content_type = media::type_of(name);
        let version = Head::fields_only().field("ETag", &etag);
        let version = match last_modified {
            Some(modified) => version.field("Last-Modified", httpdate::HttpDate::from(modified)),
            None => version,
        };
        let whole = content_fields(Head::fields_only(), content_type, len);
        let (version, whole) = (version.into_lines(), whole.into_lines());
        Facts { len, last_modified, etag, content_type, version, whole, modified, inode }
    }

    /// Whether they would be made of this file at any time.
    pub(crate) fn are_of(&self, path: &Path, len: u64, modified: SystemTime, inode: u64) -> bool {
        let name = path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
        (self.len, self.modified, self.inode) == (len, modified, inode)
            && self.content_type == media::type_of(name)
            && self.last_modified == http_time(modified)
    }
}

/// The bytes that answer a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The head, and the body behind it if that is a page.
    pub(crate) bytes: Vec<u8>,
    /// The part of the file that follows.
    pub(crate) file: Option<Range<u64>>,
    pub(crate) persistence: Persistence,
}

/// Everything about an answer that does not depend on what was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply<'a> {
    /// The request was HEAD: fields only.
    pub(crate) head_only: bool,
    pub(crate) persistence: Persistence,
    pub(crate) now: SystemTime,
    /// `now` as HTTP writes it.
    pub(crate) date: &'a str,
}

impl Reply<'_> {
    /// A file was found: 200, 206, 304, 412 or 416.
    pub(crate) fn file(&self, out: Vec<u8>, request: &Request<'_>, facts: &Facts) -> Answer {
        let validators = Validators { etag: Some(&facts.etag), last_modified: facts.last_modified };
        match request.conditions.evaluate(validators) {
            Verdict::Failed => return self.error(out, Status::PreconditionFailed),
            Verdict::NotModified => {
                let head = Head::start(out, Status::NotModified, self.date);
                return self.head_answer(head.lines(&facts.version));
            }
            Verdict::Send => {}
        }
        let in_part = request.method == Method::Get && request.conditions.range_applies(validators, self.now);
        let wanted = match request.range {
            Some(field) if in_part => range::wanted(field, facts.len),
            _ => Wanted::All,
        };
        let (head, part) = match wanted {
            Wanted::All => {
                let head = Head::start(out, Status::Ok, self.date);
                (head.lines(&facts.version).lines(&facts.whole), 0..facts.len)
            }
            Wanted::Part(part) => {
                let Range { start, end } = part;
                let head = Head::start(out, Status::PartialContent, self.date)
                    .field("Content-Range", format_args!("bytes {start}-{}/{}", end - 1, facts.len))
                    .lines(&facts.version);
                (content_fields(head, facts.content_type, end - start), part)
            }
            Wanted::Nothing => {
                let head = Head::start(out, Status::RangeNotSatisfiable, self.date)
                    .field("Content-Range", format_args!("bytes */{}", facts.len));
                return self.with_page(head, &Status::RangeNotSatisfiable.page());
            }
        };
        let file = (!self.head_only && !part.is_empty()).then_some(part);
        Answer { file, ..self.head_answer(head) }
    }

    /// A folder was found, and this is the page that shows it.
    pub(crate) fn listing(&self, out: Vec<u8>, request: &Request<'_>, html: &str) -> Answer {
        match request.conditions.evaluate(Validators::default()) {
            Verdict::Failed => self.error(out, Status::PreconditionFailed),
            Verdict::NotModified => self.head_answer(Head::start(out, Status::NotModified, self.date)),
            Verdict::Send => self.with_page(Head::start(out, Status::Ok, self.date), html),
        }
    }

    /// A folder was asked for without the slash at its end.
    pub(crate) fn moved(&self, out: Vec<u8>, location: &str) -> Answer {
        let head = Head::start(out, Status::MovedPermanently, self.date).field("Location", location);
        self.with_page(head, &Status::MovedPermanently.page())
    }

    /// OPTIONS: what may be done with any file here.
    pub(crate) fn allowed(&self, out: Vec<u8>) -> Answer {
        self.head_answer(Head::start(out, Status::NoContent, self.date).field("Allow", ALLOWED))
    }

    /// Something else: a short page with the status.
    pub(crate) fn error(&self, out: Vec<u8>, status: Status) -> Answer {
        let head = Head::start(out, status, self.date);
        let head = match status {
            Status::MethodNotAllowed => head.field("Allow", ALLOWED),
            Status::ServiceUnavailable => head.field("Retry-After", 1),
            _ => head,
        };
        self.with_page(head, &status.page())
    }

    fn with_page(&self, head: Head, html: &str) -> Answer {
        let head = head
            .field("Content-Type", "text/html; charset=utf-8")
            .field("Content-Length", html.len())
            .field("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
        let mut answer = self.head_answer(head);
        if !self.head_only {
            answer.bytes.extend_from_slice(html.as_bytes());
        }
        answer
    }

    fn head_answer(&self, head: Head) -> Answer {
        Answer { bytes: head.finish(self.persistence), file: None, persistence: self.persistence }
    }
}

/// The fields about `length` bytes of a file that follow.
fn content_fields(head: Head, content_type: &str, length: u64) -> Head {
    head.field("Content-Type", content_type)
        .field("Content-Length", length)
        .field("Accept-Ranges", "bytes")
        .field("X-Content-Type-Options", "nosniff")
}

const ALLOWED: &str = "GET, HEAD, OPTIONS";

#[cfg(test)]
mod tests;
