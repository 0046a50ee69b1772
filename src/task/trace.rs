//! What a `tracing` subscriber sees of tasks: a span for each, and an event for each use of its waker.
//!
//! Built with the feature `tracing` only; without it no line of this file, and no call of it, is there.
//! Owns [`Spanned`], the future of every task with its span around it, and the names: they are those that
//! tokio gives to its own, because `tokio-console` knows tasks by them.
//!
//! - A task is the span `runtime.spawn` on the target `tokio::task` (`tokio::task::blocking` for a job of the
//!   blocking pool), level TRACE, without a parent. Fields: `kind` (`task`, `local`, `blocking`, `block_on`),
//!   `task.name` if there is one, `task.id`, `size.bytes` (of the future as it was spawned), `loc.file`,
//!   `loc.line`, `loc.col`.
//! - It is entered for each poll and not for the drop of the future, which a console would count as one poll
//!   more. It is closed when the future has been dropped: before the handle learns of the end.
//! - What is done with a waker of the task is an event on the target `tokio::task::waker`: `op` is
//!   `waker.clone`, `waker.wake`, `waker.wake_by_ref` or `waker.drop`, `task.id` the number **of the span**.
//!   The header keeps that number and not the span, which would then end with the last waker.
//!
//! Whoever listens is foreign code. It is called where other foreign code is: in a spawn, before there is a
//! cell; around a poll; in the drop of a future; in a call of a waker. Nothing is borrowed in these places,
//! so it may spawn, wake and drop. Its panic in a span is that of whoever spawns, or of the task; one in the
//! event of a waker is contained, because a wake does not panic.
//!
//! # Rejected
//! - *`tracing::Instrumented`*: it enters the span for the drop, too.
//! - *The span in the header*, entered by the runner: then each task that nobody listens to would still ask a
//!   place that is touched for nothing else, and a waker that is kept would keep the span open.
//! - *The spawner's span as the parent*: it could not end before all that it has spawned.
#![forbid(unsafe_code)]

use super::attributes::Attributes;
use super::cell::Header;
use super::id::Id;
use crate::base::guard::contained;
use crate::base::heard::is_heard;
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use tracing::{Span, span};

/// The kind of a task of the blocking pool.
pub(super) const BLOCKING: &str = "blocking";

/// What a task is called: by us, and by whoever listens.
#[derive(Clone, Debug)]
pub(super) struct Traced {
    pub(super) id: Id,
    /// `None` if nobody listens to the task.
    pub(super) span: Option<span::Id>,
}

impl Traced {
    /// A new id, and nobody who listens so far.
    #[inline]
    pub(super) fn new() -> Self {
        Self { id: Id::next(), span: None }
    }
}

pin_project! {
    /// A future whose polls are inside its task's span.
    pub(crate) struct Spanned<F> {
        // First: the span is closed when the future has been dropped.
        #[pin]
        future: F,
        // A word, because most tasks are heard by nobody.
        span: Option<Box<Span>>,
    }
}

impl<F: Future> Future for Spanned<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.span.as_ref().map(|span| span.enter());
        this.future.poll(cx)
    }
}

/// Opens the span of a new task.
#[inline(always)]
pub(super) fn begin<F>(
    future: F,
    kind: &'static str,
    mut attributes: Attributes,
) -> (Spanned<F>, Attributes) {
    let span = if is_heard() { open(kind, &mut attributes, size_of::<F>()) } else { None };
    (Spanned { future, span }, attributes)
}

/// The future of a `block_on`, as a task that ends with it.
pub(crate) fn begin_block_on<F>(future: F, at: &'static Location<'static>) -> Spanned<F> {
    begin(future, "block_on", Attributes::from(at)).0
}

#[cold]
fn open(kind: &'static str, attributes: &mut Attributes, size: usize) -> Option<Box<Span>> {
    // Two places in the code, because a target is part of the place.
    macro_rules! spawn_span {
        ($target:literal) => {
            tracing::trace_span!(
                target: $target,
                parent: None,
                "runtime.spawn",
                %kind,
                task.name = attributes.name.as_ref().map(|name| tracing::field::display(name.as_str())),
                task.id = attributes.traced.id.as_u64(),
                size.bytes = size,
                loc.file = attributes.spawned_at.file(),
                loc.line = attributes.spawned_at.line(),
                loc.col = attributes.spawned_at.column(),
            )
        };
    }
    let span =
        if kind == BLOCKING { spawn_span!("tokio::task::blocking") } else { spawn_span!("tokio::task") };
    attributes.traced.span = span.id();
    (!span.is_disabled()).then(|| Box::new(span))
}

/// Tells what happens to a waker of the task. Before it does: what is woken may be over in a moment.
#[inline]
pub(super) fn waker(task: &Header, op: &'static str) {
    if is_heard()
        && let Some(span) = task.span()
    {
        tell(op, span.into_u64());
    }
}

#[cold]
fn tell(op: &'static str, span: u64) {
    contained(|| tracing::trace!(target: "tokio::task::waker", op, task.id = span));
}
