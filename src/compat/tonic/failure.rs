//! What failed below a call, as a status of gRPC.
//!
//! tonic does this only with its `transport`; without it every failure would be `Unknown`, and clients that
//! try again what is `Unavailable` would not.
#![forbid(unsafe_code)]

use ::tonic::{Code, Status};
use h2::Reason;
use hyper_util::client::legacy;
use std::error::Error;
use std::io;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// The status for an error of a connection or a body. A status stays what it is.
pub(super) fn status(error: BoxError) -> Status {
    let error = match error.downcast::<Status>() {
        Ok(status) => return *status,
        Err(error) => error,
    };
    let mut link: Option<&(dyn Error + 'static)> = Some(&*error);
    while let Some(cause) = link {
        if let Some(code) = code(cause) {
            return Status::new(code, chain(&*error));
        }
        link = cause.source();
    }
    Status::from_error(error)
}

/// What one error of a chain says of itself; `None` leaves the word to its source.
fn code(error: &(dyn Error + 'static)) -> Option<Code> {
    if let Some(error) = error.downcast_ref::<legacy::Error>() {
        return error.is_connect().then_some(Code::Unavailable);
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        // A ping that nobody answered, or a connection that was gone before it took the call.
        return (error.is_timeout() || error.is_canceled() || error.is_closed()).then_some(Code::Unavailable);
    }
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return Some(code_of_h2(error));
    }
    error.downcast_ref::<io::Error>().map(|_| Code::Unavailable)
}

/// The table of the protocol for streams that were reset; a lost connection can be tried again.
fn code_of_h2(error: &h2::Error) -> Code {
    if error.is_io() || error.is_go_away() {
        return Code::Unavailable;
    }
    match error.reason() {
        Some(Reason::REFUSED_STREAM) => Code::Unavailable,
        Some(Reason::CANCEL) => Code::Cancelled,
        Some(Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
        Some(Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
        Some(Reason::STREAM_CLOSED | Reason::HTTP_1_1_REQUIRED) => Code::Unknown,
        Some(_) => Code::Internal,
        None => Code::Unknown,
    }
}

/// All that a chain of errors says, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut link = error.source();
    while let Some(cause) = link {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        link = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(BoxError);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("outside")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&*self.0)
        }
    }

    #[test]
    fn a_reset_is_what_the_protocol_says() {
        for (reason, expected) in [
            (Reason::NO_ERROR, Code::Internal),
            (Reason::PROTOCOL_ERROR, Code::Internal),
            (Reason::FLOW_CONTROL_ERROR, Code::Internal),
            (Reason::REFUSED_STREAM, Code::Unavailable),
            (Reason::CANCEL, Code::Cancelled),
            (Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
            (Reason::INADEQUATE_SECURITY, Code::PermissionDenied),
            (Reason::STREAM_CLOSED, Code::Unknown),
        ] {
            let status = status(Outer(h2::Error::from(reason).into()).into());
            assert_eq!(status.code(), expected, "{reason:?}");
        }
    }

    #[test]
    fn a_status_stays_what_it_is_and_a_broken_connection_can_be_tried_again() {
        let told = status(Status::not_found("gone").into());
        assert_eq!((told.code(), told.message()), (Code::NotFound, "gone"));
        let broken = status(Outer(io::Error::from(io::ErrorKind::ConnectionReset).into()).into());
        assert_eq!(broken.code(), Code::Unavailable);
        assert!(broken.message().starts_with("outside: "), "{}", broken.message());
        assert_eq!(status("what?".into()).code(), Code::Unknown);
    }
}
