//! Conditional requests: `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`, `If-Range`
//! (RFC 9110, section 13).
//!
//! Teaches: the order in which the five are asked (13.2.2), and the two ways to compare entity tags: strong
//! where bytes will be joined or replaced, weak where a copy is only kept.
//! Promises: a field that cannot be read never turns a request into an error; what an unreadable field means
//! is said at each function.
//! It is pure: the file's validators and the time are arguments. `answer.rs` acts on the verdict.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

/// The fields of a request that make it conditional, as they were sent.
/// The two that are lists may come in several lines, which are joined by commas.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Preconditions<'b> {
    pub(crate) if_match: Option<Cow<'b, [u8]>>,
    pub(crate) if_none_match: Option<Cow<'b, [u8]>>,
    pub(crate) if_modified_since: Option<&'b [u8]>,
    pub(crate) if_unmodified_since: Option<&'b [u8]>,
    pub(crate) if_range: Option<&'b [u8]>,
}

/// What a file is compared by. A page made on the spot has neither.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Validators<'a> {
    /// A strong entity tag, with its quotes.
    pub(crate) etag: Option<&'a str>,
    /// The time sent as `Last-Modified`, in whole seconds.
    pub(crate) last_modified: Option<SystemTime>,
}

/// What the preconditions of a GET or HEAD say about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on as if there were none.
    Send,
    /// 304: the client's copy is good.
    NotModified,
    /// 412: the file is not the one the client means.
    Failed,
}

impl Preconditions<'_> {
    /// Asks the preconditions in the order of RFC 9110, section 13.2.2, steps 1 to 4.
    pub(crate) fn evaluate(&self, file: Validators<'_>) -> Verdict {
        if let Some(list) = &self.if_match {
            if !matches(list, file, Comparison::Strong) {
                return Verdict::Failed;
            }
        } else if let (Some(limit), Some(modified)) = (date(self.if_unmodified_since), file.last_modified)
            && modified > limit
        {
            return Verdict::Failed;
        }
        if let Some(list) = &self.if_none_match {
            if matches(list, file, Comparison::Weak) {
                return Verdict::NotModified;
            }
        } else if let (Some(since), Some(modified)) = (date(self.if_modified_since), file.last_modified)
            && modified <= since
        {
            return Verdict::NotModified;
        }
        Verdict::Send
    }

    /// Step 5: whether `Range` counts. Without `If-Range` it does; with one, only if the client's part comes
    /// from exactly this file. A value that cannot be read does not match: the whole file is always safe.
    pub(crate) fn range_applies(&self, file: Validators<'_>, now: SystemTime) -> bool {
        let Some(value) = self.if_range else {
            return true;
        };
        if let Some((tag, b"")) = Tag::parse(value.trim_ascii()) {
            return file.etag.is_some_and(|etag| tag.equals(etag, Comparison::Strong));
        }
        match (date(Some(value)), file.last_modified) {
            (Some(date), Some(modified)) => date == modified && is_strong_date(modified, now),
            _ => false,
        }
    }
}

/// A file may change twice in one second, so a date proves nothing until its second is over.
fn is_strong_date(modified: SystemTime, now: SystemTime) -> bool {
    now.duration_since(modified).is_ok_and(|age| age >= Duration::from_secs(1))
}

/// A date that cannot be read counts as absent, as the RFC asks.
fn date(value: Option<&[u8]>) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value?).ok()?.trim()).ok()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// Equal, and neither tag is weak.
    Strong,
    /// Equal, `W/` or not.
    Weak,
}

/// Whether `*` or one tag of the list stands for the file. Reading stops at the first thing that is no tag:
/// what comes before it has been compared, what comes after does not match.
fn matches(list: &[u8], file: Validators<'_>, comparison: Comparison) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    let mut rest = list;
    while let Some((tag, behind)) = Tag::parse(skip(rest)) {
        if file.etag.is_some_and(|etag| tag.equals(etag, comparison)) {
            return true;
        }
        let behind = behind.trim_ascii_start();
        if behind.first().is_some_and(|&byte| byte != b',') {
            return false;
        }
        rest = behind;
    }
    false
}

/// Commas and blanks between two tags; a list may have empty elements.
fn skip(list: &[u8]) -> &[u8] {
    let start = list.iter().position(|byte| !b", \t".contains(byte)).unwrap_or(list.len());
    &list[start..]
}

/// An entity tag as a client sent it.
struct Tag<'b> {
    weak: bool,
    /// With its quotes.
    opaque: &'b [u8],
}

impl<'b> Tag<'b> {
    /// The tag at the start of `text` and what stands behind it.
    fn parse(text: &'b [u8]) -> Option<(Tag<'b>, &'b [u8])> {
        let (weak, quoted) = match text.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let inner = quoted.strip_prefix(b"\"")?;
        let close = inner.iter().position(|&byte| byte == b'"')?;
        let (opaque, behind) = quoted.split_at(close + 2);
        Some((Tag { weak, opaque }, behind))
    }

    /// Compares with the file's own tag, which is strong.
    fn equals(&self, etag: &str, comparison: Comparison) -> bool {
        self.opaque == etag.as_bytes() && (comparison == Comparison::Weak || !self.weak)
    }
}

#[cfg(test)]
mod tests;
