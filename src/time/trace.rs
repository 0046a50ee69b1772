//! What a `tracing` subscriber sees of timers: which tasks wait for which deadline, and where they began to.
//!
//! Built with the feature `tracing` only. Owns [`Traced`], what a [`Sleep`](super::Sleep) that somebody
//! listens to has beside it. The names are those that tokio gives to its timers, because `tokio-console`
//! shows them as resources of tasks; all are of level TRACE:
//!
//! - the span `runtime.resource` (`concrete_type` = `Sleep`, `kind` = `timer`, `loc.file`, `loc.line`,
//!   `loc.col`), from the making of the future to its drop;
//! - in it an event on `runtime::resource::state_update` (`duration`, in ms) for each deadline it gets;
//! - in it the span `runtime.resource.async_op` (`source` = `Sleep`), for the waiting, and in that
//!   `runtime.resource.async_op.poll`; each poll enters all three and tells on `runtime::resource::poll_op`
//!   whether the time had come (`op_name` = `poll_elapsed`, `is_ready`).
//!
//! Timeouts and intervals are made of a `Sleep`, and their place is where they were made. None of the spans
//! has the task's as its parent: a `Sleep` that leaves its task would keep that open. A subscriber's panic in
//! an event is contained, one in a span is that of whoever makes, polls or drops the `Sleep`.
#![forbid(unsafe_code)]

use super::Instant;
use crate::base::guard::contained;
use crate::base::heard::is_heard;
use std::panic::Location;
use std::task::Poll;
use tracing::{Span, trace, trace_span};

/// The spans of one timer.
#[derive(Debug)]
pub(super) struct Traced {
    // From the inside out, as they are to end.
    poll: Span,
    op: Span,
    resource: Span,
}

impl Traced {
    /// The spans of a new timer, if there is a subscriber that may want them.
    #[inline]
    pub(super) fn new(deadline: Instant, at: &'static Location<'static>) -> Option<Box<Self>> {
        if is_heard() { Self::open(deadline, at) } else { None }
    }

    #[cold]
    fn open(deadline: Instant, at: &'static Location<'static>) -> Option<Box<Self>> {
        let resource = trace_span!(
            target: "runtime::resource",
            parent: None,
            "runtime.resource",
            concrete_type = "Sleep",
            kind = "timer",
            loc.file = at.file(),
            loc.line = at.line(),
            loc.col = at.column(),
        );
        if resource.is_disabled() {
            return None;
        }
        // Inside the resource, by which a console knows whose the op is; not inside the op, which would count
        // as a poll.
        let op = resource.in_scope(|| {
            trace_span!(
                target: "runtime::resource",
                parent: &resource,
                "runtime.resource.async_op",
                source = "Sleep",
                inherits_child_attrs = false,
            )
        });
        let poll = trace_span!(target: "runtime::resource", parent: &op, "runtime.resource.async_op.poll");
        let traced = Box::new(Self { poll, op, resource });
        traced.deadline(deadline);
        Some(traced)
    }

    /// Tells of a new deadline.
    pub(super) fn deadline(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        self.resource.in_scope(|| {
            contained(|| {
                trace!(
                    target: "runtime::resource::state_update",
                    duration = u64::try_from(left).unwrap_or(u64::MAX),
                    duration.unit = "ms",
                    duration.op = "override",
                );
            });
        });
    }

    /// Polls inside the spans and tells what came of it.
    pub(super) fn poll(&self, poll: impl FnOnce() -> Poll<()>) -> Poll<()> {
        let _resource = self.resource.enter();
        let _op = self.op.enter();
        let _poll = self.poll.enter();
        let polled = poll();
        contained(|| {
            let is_ready = polled.is_ready();
            trace!(target: "runtime::resource::poll_op", op_name = "poll_elapsed", is_ready);
        });
        polled
    }
}
