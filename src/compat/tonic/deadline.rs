//! When a call must be over.
#![forbid(unsafe_code)]

use crate::time::{Sleep, sleep};
use ::tonic::Status;
use hyper::HeaderMap;
use hyper::header::HeaderName;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The header in which a client says how long it waits.
pub(super) const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The longest that it can say: eight digits, and hours.
pub(super) const LONGEST: Duration = Duration::from_secs(99_999_999 * 3600);

/// The end of a call's time; calls that may take for ever have none.
#[derive(Debug)]
pub(super) struct Deadline(Option<Sleep>);

impl Deadline {
    /// So long from now, whichever is shorter.
    pub(super) fn of(headers: &HeaderMap, limit: Option<Duration>) -> Self {
        let asked = headers.get(TIMEOUT).and_then(|value| parse(value.as_bytes()));
        Self(asked.into_iter().chain(limit).min().map(sleep))
    }

    /// Ready with what the caller is told when the time is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        match &mut self.0 {
            Some(sleep) => Pin::new(sleep).poll(cx).map(|()| expired()),
            None => Poll::Pending,
        }
    }
}

fn expired() -> Status {
    Status::deadline_exceeded("the call took longer than its deadline")
}

/// At most eight digits and a unit, as the protocol has it. What is not so is no deadline.
fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0, |amount, digit| amount * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        for (value, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("030m", Some(Duration::from_millis(30))),
            ("5u", Some(Duration::from_micros(5))),
            ("0n", Some(Duration::ZERO)),
            ("100000000S", None),
            ("S", None),
            ("", None),
            ("5", None),
            ("5s", None),
            ("-5S", None),
            ("+5S", None),
            ("5 S", None),
        ] {
            assert_eq!(parse(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn the_shorter_of_what_is_asked_and_what_is_allowed_holds() {
        let mut headers = HeaderMap::new();
        let left =
            |deadline: Deadline| deadline.0.map(|sleep| sleep.deadline() - crate::time::Instant::now());
        assert_eq!(left(Deadline::of(&headers, None)), None);
        headers.insert(TIMEOUT, "1H".parse().unwrap());
        let minute = Duration::from_secs(60);
        assert!(left(Deadline::of(&headers, None)).unwrap() > minute);
        assert!(left(Deadline::of(&headers, Some(minute))).unwrap() <= minute);
    }
}
