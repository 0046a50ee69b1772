//! What the example servers share: how a signal ends them, how many clients their descriptors allow, and what
//! they say when something is short.
//!
//! Teaches: the first SIGINT or SIGTERM asks for an orderly end, the second for an end at once (`stop`); as
//! many clients as there are descriptors for are accepted, and the others wait (`clients`); and a server that
//! cannot go on says so, with cause and cure, but not twenty times a second.
//! Promises: from the moment a [`Stop`] is made no signal is missed; a line on stderr that nobody reads stops
//! no server.
//! It starts no server.
#![forbid(unsafe_code)]
#![allow(dead_code, unreachable_pub, reason = "a program takes what it needs")]

pub mod clients;
mod stop;

pub use stop::Stop;

use ringwork::net::ListenOptions;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines about the same trouble, for as long as it lasts.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// A line on stderr. Whoever reads there may be gone.
pub fn complain(program: &str, line: impl Display) {
    let _ = writeln!(io::stderr(), "{program}: {line}");
}

/// Something that is said now and then while it lasts.
#[derive(Default)]
pub struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether it is time to say it (again).
    pub fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now.duration_since(last) >= SAY_EVERY);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

/// Why a server does not start: what it cannot do, the system's answer and, where it is known, what to do.
pub fn cannot(what: impl Display, error: &io::Error) -> String {
    let cure = match error.raw_os_error() {
        Some(libc::EMFILE) => "; start it under a higher limit of open files (`ulimit -n`)",
        Some(libc::ENFILE) => "; raise `sysctl fs.file-max`, or close files anywhere on this machine",
        _ => "",
    };
    format!("cannot {what}: {error}{cure}")
}

/// The same, if it is listening on the address that `argument` has given.
pub fn cannot_listen(address: impl Display, argument: &str, error: &io::Error) -> String {
    let line = cannot(format_args!("listen on {address}"), error);
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "{line}; another program listens there: {argument} takes another address, with port 0 any free \
             one"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("{line}; no interface of this machine has that address (see `ip addr`)")
        }
        io::ErrorKind::PermissionDenied => {
            format!("{line}; a port below 1024 needs the capability CAP_NET_BIND_SERVICE")
        }
        _ => line,
    }
}

/// How to listen: when there is no room for a new connection, one line on stderr says why and what to do.
pub fn listen_options(program: &'static str) -> ListenOptions {
    let told = Seldom::default();
    ListenOptions::new().on_accept_error(move |error| {
        if told.is_due() {
            complain(program, format_args!("cannot accept connections: {error}; {}", cure(error)));
        }
    })
}

fn cure(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => {
            "clients wait until others leave; start it under a higher limit of open files (`ulimit -n`)"
        }
        Some(libc::ENFILE) => {
            "clients wait until files are closed anywhere on this machine; raise `sysctl fs.file-max`"
        }
        _ => "clients wait until the machine has memory for their sockets",
    }
}
