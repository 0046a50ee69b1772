//! A panic of a task, as it is told to whoever is to know of it.
//!
//! Owns [`TaskPanic`] (what is told) and [`OnPanic`] (who is told). What is done about panics is the
//! runtime's policy; that they end one task and no more is `run.rs`.
#![forbid(unsafe_code)]

use super::Id;
use super::cell::Header;
use super::error::{message, write_panic, write_task};
use std::any::Any;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// A task that panicked: in a poll, while its future was dropped, or while its output was dropped before
/// anybody took it.
///
/// ```
/// use ringwork::runtime::{Builder, PanicPolicy};
/// use std::sync::mpsc::channel;
///
/// let (sender, receiver) = channel();
/// let policy = PanicPolicy::call(move |panic| sender.send((panic.id(), panic.to_string())).unwrap());
/// let runtime = Builder::new().cores(1).on_task_panic(policy).build()?;
/// let task = runtime.spawn(async { panic!("out of paper") });
/// let (id, text) = receiver.recv().unwrap();
/// assert_eq!(id, task.id());
/// assert!(text.ends_with("panicked: out of paper"));
/// # Ok::<(), ringwork::runtime::StartError>(())
/// ```
pub struct TaskPanic<'a> {
    task: &'a Header,
    payload: &'a (dyn Any + Send),
}

impl<'a> TaskPanic<'a> {
    pub(super) fn new(task: &'a Header, payload: &'a (dyn Any + Send)) -> Self {
        Self { task, payload }
    }

    /// The task's id.
    #[must_use = "the answer is the only effect"]
    pub fn id(&self) -> Id {
        self.task.id()
    }

    /// The task's name, if it was given one.
    #[must_use = "the answer is the only effect"]
    pub fn name(&self) -> Option<&str> {
        self.task.name()
    }

    /// Where the task was spawned. Where it panicked is what the panic hook says.
    #[must_use = "the answer is the only effect"]
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.task.spawned_at()
    }

    /// The words of the panic, if they are text: what `panic!` makes.
    #[must_use = "the answer is the only effect"]
    pub fn message(&self) -> Option<&str> {
        message(self.payload)
    }

    /// What the panic carries, as from [`std::panic::catch_unwind`]. The task's handle gets it afterwards.
    #[must_use = "the answer is the only effect"]
    pub fn payload(&self) -> &(dyn Any + Send) {
        self.payload
    }
}

impl fmt::Display for TaskPanic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_task(f, self.id(), self.name(), self.spawned_at())?;
        write_panic(f, self.payload)
    }
}

impl fmt::Debug for TaskPanic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskPanic({self})")
    }
}

/// Whom a scheduler tells of its tasks' panics: nobody, or a function.
#[derive(Clone, Default)]
pub(crate) struct OnPanic(Option<Arc<dyn Fn(&TaskPanic<'_>) + Send + Sync>>);

impl OnPanic {
    /// Calls `function` for each panic.
    pub(crate) fn call(function: Arc<dyn Fn(&TaskPanic<'_>) + Send + Sync>) -> Self {
        Self(Some(function))
    }

    /// Tells of a panic.
    pub(crate) fn tell(&self, panic: &TaskPanic<'_>) {
        if let Some(function) = &self.0 {
            function(panic);
        }
    }
}

impl fmt::Debug for OnPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "OnPanic(a function)" } else { "OnPanic(nothing)" })
    }
}

#[cfg(test)]
mod tests;
