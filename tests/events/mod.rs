//! A subscriber that is told of the events of one target.
//!
//! A binary of `tests/` declares this module and makes an [`Events`] the default of its process. It sees no
//! spans and reads no fields.

use tracing::span;

/// Calls `told` for each event of `target`.
pub(crate) struct Events {
    pub(crate) target: &'static str,
    pub(crate) told: fn(),
}

impl Events {
    /// Is the default of the process from here on.
    pub(crate) fn listen(self) {
        tracing::subscriber::set_global_default(self).expect("it is the only one of its process");
    }
}

impl tracing::Subscriber for Events {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == self.target
    }

    fn event(&self, _event: &tracing::Event<'_>) {
        (self.told)();
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}
    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}
    fn enter(&self, _span: &span::Id) {}
    fn exit(&self, _span: &span::Id) {}
}
