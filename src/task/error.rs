//! Why a task gave no output.
//!
//! Owns [`JoinError`]: cancelled or panicked, with the task's id, its name and the place it was spawned. It
//! is not where a panic is reported: the panic hook has done that already.
#![forbid(unsafe_code)]

use super::attributes::Name;
use super::cell::{Failure, Header};
use super::id::Id;
use std::any::Any;
use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};

/// The error of a [`JoinHandle`](super::JoinHandle): the task was cancelled or panicked.
///
/// ```
/// # let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
/// # runtime.block_on(async {
/// let error = ringwork::spawn(async { panic!("out of paper") }).await.unwrap_err();
/// assert!(error.is_panic());
/// assert!(error.to_string().ends_with("panicked: out of paper"));
/// # });
/// ```
// Boxed, so that the result of a join is no larger than it must be: nearly all are no errors.
pub struct JoinError(Box<What>);

struct What {
    cause: Cause,
    id: Id,
    spawned_at: &'static Location<'static>,
    name: Option<Name>,
}

enum Cause {
    Cancelled,
    // The lock makes the error `Sync`, whatever the payload is; it is never contended.
    Panicked(Mutex<Box<dyn Any + Send>>),
}

impl JoinError {
    /// The error of the task with this header.
    #[cold]
    pub(super) fn new(failure: Failure, header: &Header) -> Self {
        let cause = match failure {
            Failure::Cancelled => Cause::Cancelled,
            Failure::Panicked(payload) => Cause::Panicked(Mutex::new(payload)),
        };
        let (id, spawned_at, name) = (header.id(), header.spawned_at(), header.shared_name());
        Self(Box::new(What { cause, id, spawned_at, name }))
    }

    /// Whether the task was aborted or went down with its runtime.
    ///
    /// ```
    /// # let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
    /// # runtime.block_on(async {
    /// let handle = ringwork::spawn(std::future::pending::<()>());
    /// handle.abort();
    /// assert!(handle.await.unwrap_err().is_cancelled());
    /// # });
    /// ```
    #[must_use = "the answer is the only effect"]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.cause, Cause::Cancelled)
    }

    /// Whether the task panicked.
    #[must_use = "the answer is the only effect"]
    pub fn is_panic(&self) -> bool {
        matches!(self.0.cause, Cause::Panicked(_))
    }

    /// The payload of the panic, as from [`std::panic::catch_unwind`]; pass it to
    /// [`std::panic::resume_unwind`] to let the panic go on in the caller.
    ///
    /// # Panics
    /// If the task did not panic (see [`try_into_panic`](Self::try_into_panic)).
    ///
    /// ```
    /// # let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
    /// # runtime.block_on(async {
    /// let error = ringwork::spawn(async { panic!("out of paper") }).await.unwrap_err();
    /// assert_eq!(*error.into_panic().downcast::<&str>().unwrap(), "out of paper");
    /// # });
    /// ```
    #[track_caller]
    #[must_use = "dropping the payload loses the panic"]
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        match self.try_into_panic() {
            Ok(payload) => payload,
            Err(other) => panic!("`JoinError::into_panic` on a task that did not panic: {other}"),
        }
    }

    /// The payload of the panic.
    ///
    /// # Errors
    /// The error itself, if the task did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match self.0.cause {
            Cause::Panicked(payload) => Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner)),
            Cause::Cancelled => Err(self),
        }
    }

    /// The task's id.
    #[must_use = "the answer is the only effect"]
    pub fn id(&self) -> Id {
        self.0.id
    }

    /// The task's name, if it was given one.
    ///
    /// ```
    /// # let runtime = ringwork::runtime::Builder::new().cores(1).build().unwrap();
    /// # runtime.block_on(async {
    /// let task = ringwork::task::Builder::new().name("printer");
    /// let error = task.spawn(async { panic!("out of paper") }).await.unwrap_err();
    /// assert_eq!(error.name(), Some("printer"));
    /// assert!(error.to_string().contains(r#""printer" spawned at"#));
    /// # });
    /// ```
    #[must_use = "the answer is the only effect"]
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_ref().map(Name::as_str)
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_task(f, self.0.id, self.name(), self.0.spawned_at)?;
        match &self.0.cause {
            Cause::Cancelled => f.write_str(" was cancelled"),
            Cause::Panicked(payload) => {
                let payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
                write_panic(f, &**payload)
            }
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> Self {
        io::Error::other(error)
    }
}

/// Says which task it is about.
pub(super) fn write_task(
    f: &mut fmt::Formatter<'_>,
    id: Id,
    name: Option<&str>,
    spawned_at: &Location<'_>,
) -> fmt::Result {
    write!(f, "task {id} ")?;
    if let Some(name) = name {
        write!(f, "{name:?} ")?;
    }
    write!(f, "spawned at {spawned_at}")
}

/// Says that it panicked, and with which words.
pub(super) fn write_panic(f: &mut fmt::Formatter<'_>, payload: &(dyn Any + Send)) -> fmt::Result {
    f.write_str(" panicked")?;
    message(payload).map_or(Ok(()), |message| write!(f, ": {message}"))
}

/// The words of a panic, if they are text: what `panic!` makes.
pub(super) fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}
