//! `Range`: which bytes of a file a client asks for (RFC 9110, section 14).
//!
//! Teaches: the three forms of a byte range, and which mistakes are errors and which are ignored. Only a
//! proper range that lies outside the file is an error (416). A unit other than `bytes`, bad syntax, or more
//! than one range is ignored and the whole file sent, as the RFC allows for each of them.
//! It is not the judge of `If-Range`: `conditional.rs` decides whether the field counts at all.

use std::ops::Range;

/// What a `Range` field asks of a file of a known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nothing that we serve in part: send it all, status 200.
    All,
    /// These bytes, not empty and inside the file: status 206.
    Part(Range<u64>),
    /// A proper range with no byte of this file in it: status 416.
    Nothing,
}

/// Reads the value of a `Range` field against a file of `len` bytes.
pub(crate) fn wanted(field: &[u8], len: u64) -> Wanted {
    match parse(field) {
        None => Wanted::All,
        Some(Spec::From(first, _)) if first >= len => Wanted::Nothing,
        Some(Spec::From(first, last)) => Wanted::Part(first..last.saturating_add(1).min(len)),
        Some(Spec::Suffix(0)) => Wanted::Nothing,
        // The last n bytes of an empty file are the empty file, which no Content-Range can describe.
        Some(Spec::Suffix(_)) if len == 0 => Wanted::All,
        Some(Spec::Suffix(count)) => Wanted::Part(len.saturating_sub(count)..len),
    }
}

/// One range as written, not yet held against a length.
enum Spec {
    /// `a-b`, both included; `a-` has `u64::MAX` as its end.
    From(u64, u64),
    /// `-n`: the last `n` bytes.
    Suffix(u64),
}

fn parse(field: &[u8]) -> Option<Spec> {
    let field = std::str::from_utf8(field).ok()?;
    let (unit, set) = field.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    // A comma makes a set of several, and a part of one is no number either: both end in `None`.
    let (first, last) = set.trim_matches([' ', '\t']).split_once('-')?;
    match (first, last) {
        ("", count) => Some(Spec::Suffix(number(count)?)),
        (first, "") => Some(Spec::From(number(first)?, u64::MAX)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::From(first, last))
        }
    }
}

/// Digits only. A number too large for 64 bits is beyond the end of every file, which is all that matters.
fn number(digits: &str) -> Option<u64> {
    let only_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    only_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(field: &str, len: u64) -> Wanted {
        wanted(field.as_bytes(), len)
    }

    #[test]
    fn both_ends_given() {
        assert_eq!(ask("bytes=0-0", 10), Wanted::Part(0..1));
        assert_eq!(ask("bytes=2-5", 10), Wanted::Part(2..6));
        assert_eq!(ask("bytes=0-9", 10), Wanted::Part(0..10));
        assert_eq!(ask("bytes=5-99", 10), Wanted::Part(5..10));
    }

    #[test]
    fn open_end_and_suffix() {
        assert_eq!(ask("bytes=7-", 10), Wanted::Part(7..10));
        assert_eq!(ask("bytes=0-", 10), Wanted::Part(0..10));
        assert_eq!(ask("bytes=-3", 10), Wanted::Part(7..10));
        assert_eq!(ask("bytes=-99", 10), Wanted::Part(0..10));
    }

    #[test]
    fn outside_the_file_is_unsatisfiable() {
        assert_eq!(ask("bytes=10-", 10), Wanted::Nothing);
        assert_eq!(ask("bytes=10-20", 10), Wanted::Nothing);
        assert_eq!(ask("bytes=-0", 10), Wanted::Nothing);
        assert_eq!(ask("bytes=0-", 0), Wanted::Nothing);
        assert_eq!(ask("bytes=0-0", 0), Wanted::Nothing);
    }

    #[test]
    fn the_suffix_of_an_empty_file_is_the_whole_of_it() {
        assert_eq!(ask("bytes=-5", 0), Wanted::All);
    }

    #[test]
    fn several_ranges_are_ignored() {
        assert_eq!(ask("bytes=0-1,3-4", 10), Wanted::All);
        assert_eq!(ask("bytes=-1,0-", 10), Wanted::All);
        assert_eq!(ask("bytes=0-1,", 10), Wanted::All);
    }

    #[test]
    fn bad_syntax_and_foreign_units_are_ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=5-2",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=--1",
            "bytes=1--2",
            "bytes=0x1-2",
            "bytes=1 -2",
            "lines=0-1",
            "0-1",
            "bytes=0-1-2",
            "bytes=\u{664}-",
        ] {
            assert_eq!(ask(field, 10), Wanted::All, "{field:?}");
        }
        assert_eq!(wanted(b"bytes=\xff-", 10), Wanted::All);
    }

    #[test]
    fn unit_in_any_case_and_blanks_around_are_fine() {
        assert_eq!(ask("Bytes=1-2", 10), Wanted::Part(1..3));
        assert_eq!(ask("bytes = 1-2 ", 10), Wanted::Part(1..3));
    }

    #[test]
    fn huge_numbers_do_not_wrap() {
        assert_eq!(ask("bytes=0-18446744073709551615", 10), Wanted::Part(0..10));
        assert_eq!(ask("bytes=1-99999999999999999999999", 10), Wanted::Part(1..10));
        assert_eq!(ask("bytes=99999999999999999999999-", 10), Wanted::Nothing);
        assert_eq!(ask("bytes=-99999999999999999999999", 10), Wanted::Part(0..10));
        let end = u64::MAX;
        assert_eq!(ask("bytes=18446744073709551614-", end), Wanted::Part(end - 1..end));
    }
}
