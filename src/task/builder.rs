//! What a task is to be called and how it is to be treated, said before it is spawned.
//!
//! Owns [`Builder`] and its settings. The methods that spawn need a runtime and are in
//! `runtime/task_builder.rs`, beside the functions that they are variants of.
#![forbid(unsafe_code)]

use super::attributes::{Attributes, Name};
use std::borrow::Cow;
use std::panic::Location;

/// Spawns a task that has a name, or that runs in the background.
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() {
/// use ringwork::task;
///
/// let compaction = task::Builder::new().name("compaction").background();
/// let task = compaction.spawn(async { 6 * 7 });
/// assert_eq!(task.name(), Some("compaction"));
/// assert_eq!(task.await.unwrap(), 42);
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until one of its `spawn` methods is called"]
pub struct Builder {
    name: Option<Name>,
    background: bool,
}

impl Builder {
    /// A task without a name, in the foreground: what `ringwork::spawn` makes.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let task = ringwork::task::Builder::new().spawn(async { 6 * 7 });
    /// assert_eq!(task.name(), None);
    /// # }
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the task a name: for its [`JoinError`](super::JoinError), the `Debug` form of its handles, and
    /// reports. Names need not be unique. A task without one costs nothing. A name is an allocation, and one
    /// more for each task that has it.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let peer = 7;
    /// let task = ringwork::task::Builder::new().name(format!("session {peer}"));
    /// let error = task.spawn(async { panic!("bad frame") }).await.unwrap_err();
    /// assert_eq!(error.name(), Some("session 7"));
    /// # }
    /// ```
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(Name::new(name.into()));
        self
    }

    /// Makes it a background task, for work that may wait while requests are served.
    ///
    /// A background task runs when its core's other queues are empty, one poll between any two looks at what
    /// the kernel has. While other tasks wait, the background tasks of a core together get a sixteenth of its
    /// time, with what it takes to hand the kernel the operations that they begin. They stay on their core,
    /// also the `Send` ones, unless they `core::move_to` another. A job of the blocking pool runs as any
    /// other.
    ///
    /// ```
    /// # #[ringwork::main(cores = 1)]
    /// # async fn main() {
    /// let sweep = ringwork::task::Builder::new().background().spawn(async {
    ///     for shard in 0..4 {
    ///         println!("sweeping shard {shard}");
    ///         ringwork::task::yield_now().await;
    ///     }
    /// });
    /// sweep.await.unwrap();
    /// # }
    /// ```
    pub fn background(mut self) -> Self {
        self.background = true;
        self
    }

    /// The settings as a new task takes them.
    pub(crate) fn attributes(self, spawned_at: &'static Location<'static>) -> Attributes {
        let mut attributes = Attributes::from(spawned_at);
        attributes.name = self.name;
        attributes.background = self.background;
        attributes
    }
}
