//! Writing the head of a response: status line and fields, into one `Vec<u8>`.
//!
//! Teaches: a response head needs no map and no string per field. [`Head`] appends to a buffer that the
//! caller brings and takes back, so that a body read behind it leaves in the same send.
//! Promises: each head has `Date` and `Server`, ends in an empty line, and says what becomes of the
//! connection. Values come from this program alone; none holds a line break.
//! It is not where a status is chosen: see `answer.rs`.

use std::fmt::{Display, Write as _};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The status codes this server uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    NoContent,
    PartialContent,
    MovedPermanently,
    NotModified,
    BadRequest,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    PreconditionFailed,
    ContentTooLarge,
    UriTooLong,
    RangeNotSatisfiable,
    ExpectationFailed,
    FieldsTooLarge,
    InternalServerError,
    NotImplemented,
    ServiceUnavailable,
    VersionNotSupported,
}

impl Status {
    /// Number and reason phrase, as in the status line.
    pub(crate) const fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::NoContent => "204 No Content",
            Status::PartialContent => "206 Partial Content",
            Status::MovedPermanently => "301 Moved Permanently",
            Status::NotModified => "304 Not Modified",
            Status::BadRequest => "400 Bad Request",
            Status::Forbidden => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::RequestTimeout => "408 Request Timeout",
            Status::PreconditionFailed => "412 Precondition Failed",
            Status::ContentTooLarge => "413 Content Too Large",
            Status::UriTooLong => "414 URI Too Long",
            Status::RangeNotSatisfiable => "416 Range Not Satisfiable",
            Status::ExpectationFailed => "417 Expectation Failed",
            Status::FieldsTooLarge => "431 Request Header Fields Too Large",
            Status::InternalServerError => "500 Internal Server Error",
            Status::NotImplemented => "501 Not Implemented",
            Status::ServiceUnavailable => "503 Service Unavailable",
            Status::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }

    /// A short HTML page that says it to a person.
    pub(crate) fn page(self) -> String {
        let line = self.line();
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{line}</title>\n\
             <style>body{{font:1.1rem system-ui,sans-serif;margin:15vh auto;max-width:32rem;padding:0 1rem}}\
             h1{{font-size:1.4rem;font-weight:600}}</style>\n<h1>{line}</h1>\n<p>{}</p>\n",
            self.explanation()
        )
    }

    const fn explanation(self) -> &'static str {
        match self {
            Status::MovedPermanently => "This folder\u{2019}s address ends in a slash.",
            Status::BadRequest => "The request does not follow the rules of HTTP/1.1.",
            Status::Forbidden => "This may not be read.",
            Status::NotFound => "There is nothing at this address.",
            Status::MethodNotAllowed => "Files here can be read with GET and HEAD, and not changed.",
            Status::RequestTimeout => "The request did not arrive in time.",
            Status::PreconditionFailed => "The file is not the version that was asked for.",
            Status::ContentTooLarge => "The request has a body that is too long to skip.",
            Status::UriTooLong => "The address is too long.",
            Status::RangeNotSatisfiable => "The file has no bytes in this range.",
            Status::ExpectationFailed => "The request expects something this server does not do.",
            Status::FieldsTooLarge => "The header fields of the request are too long or too many.",
            Status::NotImplemented => "This server does not know how to do that.",
            Status::ServiceUnavailable => "The server is at a limit. Try again soon.",
            Status::VersionNotSupported => "This server speaks HTTP/1.1.",
            _ => "Something went wrong.",
        }
    }
}

/// What becomes of the connection behind a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// The next request may follow; HTTP/1.1 needs no word about it.
    Keep,
    /// The same for a client of HTTP/1.0, who has to be told.
    KeepOldClient,
    /// The connection ends behind this response.
    Close,
}

/// A response head that is being written.
pub(crate) struct Head {
    out: Vec<u8>,
}

impl Head {
    /// Appends the status line, `Date` and `Server` to `out`.
    pub(crate) fn start(mut out: Vec<u8>, status: Status, date: &str) -> Head {
        for part in ["HTTP/1.1 ", status.line(), "\r\nDate: ", date, "\r\nServer: ringwork-file-server\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        Head { out }
    }

    /// No status line: fields that are written once, for many heads.
    pub(crate) fn fields_only() -> Head {
        // Room for the fields of a file, so that the buffer does not grow five times.
        Head { out: Vec::with_capacity(192) }
    }

    /// The fields so far, for [`Head::lines`].
    pub(crate) fn into_lines(self) -> Vec<u8> {
        self.out
    }

    /// Appends fields that were written before.
    pub(crate) fn lines(mut self, written: &[u8]) -> Head {
        self.out.extend_from_slice(written);
        self
    }

    /// Appends one field. The value must not hold a line break.
    pub(crate) fn field(mut self, name: &str, value: impl Display) -> Head {
        let start = self.out.len();
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        // A `String` that lives in the same memory would spare the adapter, not the formatting.
        write!(Ascii(&mut self.out), "{value}").expect("writing to a Vec does not fail");
        debug_assert!(!self.out[start..].contains(&b'\n'), "a line break in a field of the response");
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Appends `Connection` where it is needed and the empty line, and gives the buffer back.
    pub(crate) fn finish(mut self, persistence: Persistence) -> Vec<u8> {
        let end: &[u8] = match persistence {
            Persistence::Keep => b"\r\n",
            Persistence::KeepOldClient => b"Connection: keep-alive\r\n\r\n",
            Persistence::Close => b"Connection: close\r\n\r\n",
        };
        self.out.extend_from_slice(end);
        self.out
    }
}

/// Lets `write!` append to bytes.
struct Ascii<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Ascii<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// The date as HTTP writes it, looked up and formatted once a second.
pub(crate) struct DateCache {
    /// In whole seconds.
    second: SystemTime,
    text: String,
    /// When the next second begins.
    until: Option<Instant>,
}

impl Default for DateCache {
    fn default() -> DateCache {
        DateCache { second: UNIX_EPOCH, text: String::new(), until: None }
    }
}

impl DateCache {
    /// The second that `now` is in, and its text, such as `Sun, 06 Nov 1994 08:49:37 GMT`. `look` is asked
    /// for the date if it may be another one than last time.
    pub(crate) fn at(&mut self, now: Instant, look: impl FnOnce() -> SystemTime) -> (SystemTime, &str) {
        if self.until.is_none_or(|until| now >= until) {
            let date = look();
            self.second = http_time(date).unwrap_or(UNIX_EPOCH);
            self.text = httpdate::fmt_http_date(self.second);
            let into = date.duration_since(self.second).unwrap_or_default();
            self.until = now.checked_add(Duration::from_secs(1).saturating_sub(into));
        }
        (self.second, &self.text)
    }
}

/// `time` in whole seconds, if HTTP can write it: from 1970 to the end of 9999.
pub(crate) fn http_time(time: SystemTime) -> Option<SystemTime> {
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    (seconds < YEAR_10000).then(|| UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The first second of the year 10000, which has too many digits for an HTTP date.
const YEAR_10000: u64 = 253_402_300_800;

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_head_is_a_status_line_fields_and_an_empty_line() {
        let bytes = Head::start(Vec::new(), Status::Ok, DATE)
            .field("Content-Length", 12_345_u64)
            .field("Content-Type", "text/plain")
            .finish(Persistence::Keep);
        assert_eq!(
            String::from_utf8(bytes).expect("a head is text"),
            "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: ringwork-file-server\r\n\
             Content-Length: 12345\r\nContent-Type: text/plain\r\n\r\n"
        );
    }

    #[test]
    fn a_head_is_appended_behind_what_the_buffer_holds() {
        let bytes = Head::start(b"before".to_vec(), Status::NotFound, DATE).finish(Persistence::Close);
        assert!(bytes.starts_with(b"beforeHTTP/1.1 404 Not Found\r\n"));
        assert!(bytes.ends_with(b"\r\nConnection: close\r\n\r\n"));
    }

    #[test]
    fn an_old_client_is_told_that_the_connection_stays() {
        let bytes = Head::start(Vec::new(), Status::Ok, DATE).finish(Persistence::KeepOldClient);
        assert!(bytes.ends_with(b"\r\nConnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn the_date_is_formatted_again_only_in_another_second() {
        let (mut cache, start) = (DateCache::default(), Instant::now());
        let second = at(784_111_777);
        let half = Duration::from_millis(500);
        assert_eq!(cache.at(start, || second + half), (second, DATE));
        let later = start + half * 9 / 10;
        assert_eq!(cache.at(later, || unreachable!("it is the same second")), (second, DATE));
        assert_eq!(cache.at(start + half, || at(784_111_778)).1, "Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(cache.at(start + half * 4, || at(0)).1, "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn times_that_http_cannot_write_are_none() {
        assert_eq!(http_time(at(5) + Duration::from_nanos(7)), Some(at(5)));
        assert_eq!(http_time(UNIX_EPOCH - Duration::from_secs(1)), None);
        assert_eq!(http_time(at(YEAR_10000)), None);
        let last = http_time(at(YEAR_10000 - 1)).expect("the last second of 9999");
        assert_eq!(httpdate::fmt_http_date(last), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn every_page_says_its_status() {
        for status in [Status::BadRequest, Status::NotFound, Status::InternalServerError] {
            let page = status.page();
            assert!(page.contains(&format!("<h1>{}</h1>", status.line())));
            assert!(page.len() < 1024);
        }
    }
}
