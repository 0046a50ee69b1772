//! Tests of `conditional.rs`: one group per field, then the order in which they are asked.

use std::time::UNIX_EPOCH;

use super::*;

const ETAG: &str = "\"abc\"";
const BEFORE: &[u8] = b"Sun, 06 Nov 1994 08:49:36 GMT";
const EXACT: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &[u8] = b"Sun, 06 Nov 1994 08:49:38 GMT";

fn modified() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(784_111_777)
}

fn file() -> Validators<'static> {
    Validators { etag: Some(ETAG), last_modified: Some(modified()) }
}

fn none_match(list: &str) -> Verdict {
    Preconditions { if_none_match: Some(list.as_bytes().into()), ..Default::default() }.evaluate(file())
}

fn must_match(list: &str) -> Verdict {
    Preconditions { if_match: Some(list.as_bytes().into()), ..Default::default() }.evaluate(file())
}

fn modified_since(date: &[u8]) -> Verdict {
    Preconditions { if_modified_since: Some(date), ..Default::default() }.evaluate(file())
}

fn unmodified_since(date: &[u8]) -> Verdict {
    Preconditions { if_unmodified_since: Some(date), ..Default::default() }.evaluate(file())
}

fn range_applies(if_range: &[u8], age: Duration) -> bool {
    Preconditions { if_range: Some(if_range), ..Default::default() }.range_applies(file(), modified() + age)
}

#[test]
fn without_fields_the_file_is_sent() {
    assert_eq!(Preconditions::default().evaluate(file()), Verdict::Send);
    assert!(Preconditions::default().range_applies(file(), modified()));
}

#[test]
fn if_none_match_compares_weakly_and_takes_lists() {
    for list in [
        "\"abc\"",
        "W/\"abc\"",
        "*",
        " * ",
        "\"x\", \"abc\"",
        "\"x\",W/\"y\" ,\tW/\"abc\"",
        ",, \"abc\",",
        "\"a,b\", \"abc\"",
        "\"\", \"abc\"",
    ] {
        assert_eq!(none_match(list), Verdict::NotModified, "{list}");
    }
    for list in ["\"x\"", "abc", "\"abc", "W/abc", "", ",", "\"ABC\"", "w/\"abc\"", "\"x\" \"abc\"", "*, *"] {
        assert_eq!(none_match(list), Verdict::Send, "{list}");
    }
}

#[test]
fn if_match_compares_strongly() {
    for list in ["\"abc\"", "*", "\"x\", \"abc\"", "W/\"abc\", \"abc\""] {
        assert_eq!(must_match(list), Verdict::Send, "{list}");
    }
    for list in ["W/\"abc\"", "\"x\"", "abc", ""] {
        assert_eq!(must_match(list), Verdict::Failed, "{list}");
    }
}

#[test]
fn if_modified_since_compares_whole_seconds() {
    assert_eq!(modified_since(EXACT), Verdict::NotModified);
    assert_eq!(modified_since(AFTER), Verdict::NotModified);
    assert_eq!(modified_since(BEFORE), Verdict::Send);
    assert_eq!(modified_since(b"yesterday"), Verdict::Send);
    assert_eq!(modified_since(b"\xff"), Verdict::Send);
}

#[test]
fn the_two_old_date_formats_are_read_too() {
    assert_eq!(modified_since(b"Sunday, 06-Nov-94 08:49:37 GMT"), Verdict::NotModified);
    assert_eq!(modified_since(b"Sun Nov  6 08:49:37 1994"), Verdict::NotModified);
}

#[test]
fn if_unmodified_since_fails_on_a_newer_file() {
    assert_eq!(unmodified_since(EXACT), Verdict::Send);
    assert_eq!(unmodified_since(AFTER), Verdict::Send);
    assert_eq!(unmodified_since(BEFORE), Verdict::Failed);
    assert_eq!(unmodified_since(b"tomorrow"), Verdict::Send);
}

#[test]
fn tags_hide_dates() {
    let hidden = Preconditions {
        if_match: Some(ETAG.as_bytes().into()),
        if_unmodified_since: Some(BEFORE),
        if_none_match: Some(b"\"other\"".into()),
        if_modified_since: Some(AFTER),
        ..Default::default()
    };
    assert_eq!(hidden.evaluate(file()), Verdict::Send);
}

#[test]
fn failing_comes_before_not_modified() {
    let both = Preconditions {
        if_match: Some(b"\"other\"".into()),
        if_none_match: Some(ETAG.as_bytes().into()),
        ..Default::default()
    };
    assert_eq!(both.evaluate(file()), Verdict::Failed);
    let second = Preconditions {
        if_match: Some(ETAG.as_bytes().into()),
        if_none_match: Some(ETAG.as_bytes().into()),
        ..Default::default()
    };
    assert_eq!(second.evaluate(file()), Verdict::NotModified);
    let dates = Preconditions {
        if_unmodified_since: Some(BEFORE),
        if_modified_since: Some(AFTER),
        ..Default::default()
    };
    assert_eq!(dates.evaluate(file()), Verdict::Failed);
}

#[test]
fn a_page_without_validators_matches_only_the_star() {
    let page = Validators::default();
    let ask = |if_match: Option<&'static [u8]>, if_none_match: Option<&'static [u8]>| {
        let conditions = Preconditions {
            if_match: if_match.map(Cow::from),
            if_none_match: if_none_match.map(Cow::from),
            if_modified_since: Some(AFTER),
            ..Default::default()
        };
        conditions.evaluate(page)
    };
    assert_eq!(ask(None, None), Verdict::Send);
    assert_eq!(ask(None, Some(b"*")), Verdict::NotModified);
    assert_eq!(ask(None, Some(b"\"abc\"")), Verdict::Send);
    assert_eq!(ask(Some(b"*"), None), Verdict::Send);
    assert_eq!(ask(Some(b"\"abc\""), None), Verdict::Failed);
}

#[test]
fn if_range_needs_the_same_strong_tag() {
    let old = Duration::from_secs(60);
    assert!(range_applies(b"\"abc\"", old));
    assert!(range_applies(b" \"abc\" ", old));
    assert!(!range_applies(b"W/\"abc\"", old));
    assert!(!range_applies(b"\"x\"", old));
    assert!(!range_applies(b"\"abc\", \"x\"", old));
    assert!(!range_applies(b"*", old));
    assert!(!range_applies(b"", old));
    assert!(!range_applies(b"\xff", old));
}

#[test]
fn if_range_takes_only_the_exact_date_and_only_once_it_is_strong() {
    let old = Duration::from_secs(60);
    assert!(range_applies(EXACT, old));
    assert!(!range_applies(AFTER, old));
    assert!(!range_applies(BEFORE, old));
    assert!(!range_applies(EXACT, Duration::from_millis(900)));
    assert!(range_applies(EXACT, Duration::from_secs(1)));
}
