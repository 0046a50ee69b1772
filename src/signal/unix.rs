//! Signals one by one, under the names that tokio gives them.
//!
//! Owns nothing: a [`Signal`] here is one of the module above for a single kind, which says `None` where that
//! says an error.
#![forbid(unsafe_code)]

use std::io;

/// Listens for one kind of signal from now on.
///
/// ```no_run
/// use ringwork::signal::unix::{SignalKind, signal};
/// # async fn example() -> std::io::Result<()> {
/// let mut hangups = signal(SignalKind::hangup())?;
/// while hangups.recv().await.is_some() {
///     println!("reloading");
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`Signal::new`](super::Signal::new).
///
/// # Panics
/// As there.
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    super::Signal::new(&[kind.0]).map(Signal)
}

/// Deliveries of one kind of signal; made by [`signal`].
#[derive(Debug)]
pub struct Signal(super::Signal);

impl Signal {
    /// Waits until the signal has come since the last call. Several deliveries may be seen as one. Dropping
    /// the future loses no delivery.
    ///
    /// `None` says that none will come: the runtime is going down, or, in a forked child, there was no
    /// descriptor left ([`Signal::recv`](super::Signal::recv) says which).
    pub async fn recv(&mut self) -> Option<()> {
        self.0.recv().await.ok()
    }
}

/// A kind of signal (`signal(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalKind(i32);

impl SignalKind {
    /// The kind of this number, for those that have no name here.
    ///
    /// ```
    /// use ringwork::signal::unix::SignalKind;
    /// assert_eq!(SignalKind::from_raw(libc::SIGTERM), SignalKind::terminate());
    /// ```
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn as_raw_value(self) -> i32 {
        self.0
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:ident;)*) => {
        impl SignalKind {
            $(
                $(#[$doc])*
                pub const fn $name() -> Self {
                    Self(libc::$number)
                }
            )*
        }
    };
}

kinds! {
    /// SIGALRM: a timer has expired.
    alarm = SIGALRM;
    /// SIGCHLD: a child has changed state.
    child = SIGCHLD;
    /// SIGHUP: the terminal is gone; by custom, reload.
    hangup = SIGHUP;
    /// SIGINT: ctrl-c.
    interrupt = SIGINT;
    /// SIGIO: a descriptor is ready.
    io = SIGIO;
    /// SIGPIPE: a write to nobody.
    pipe = SIGPIPE;
    /// SIGQUIT: ctrl-backslash.
    quit = SIGQUIT;
    /// SIGTERM: end, please.
    terminate = SIGTERM;
    /// SIGUSR1.
    user_defined1 = SIGUSR1;
    /// SIGUSR2.
    user_defined2 = SIGUSR2;
    /// SIGWINCH: the window has another size.
    window_change = SIGWINCH;
}

impl From<SignalKind> for i32 {
    fn from(kind: SignalKind) -> Self {
        kind.0
    }
}
