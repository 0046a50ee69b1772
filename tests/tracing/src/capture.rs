//! A subscriber that keeps all it is told of tasks, wakers and ops, in order.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, OnceLock};
use std::thread::{self, ThreadId};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A span was made.
    New,
    /// A span was entered.
    Enter,
    /// A span was left.
    Exit,
    /// A span has ended.
    Close,
    /// An event.
    Event,
}

/// One thing that the subscriber was told.
#[derive(Clone, Debug)]
pub struct Told {
    /// What happened.
    pub what: What,
    /// The number of the span; of an event that of the span it happened in, 0 if in none.
    pub span: u64,
    /// The name of the span, or `event`.
    pub name: &'static str,
    /// Its target.
    pub target: &'static str,
    /// The fields of an event or of a new span, as text.
    pub fields: BTreeMap<&'static str, String>,
    /// The thread that told it.
    pub thread: ThreadId,
}

impl Told {
    /// A field; empty if it is not there.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// All that the subscriber of this process was told.
#[derive(Debug, Default)]
pub struct Capture {
    told: Mutex<Vec<Told>>,
}

/// The subscriber of this process, installed by the first call.
pub fn capture() -> &'static Capture {
    static CAPTURE: OnceLock<&'static Capture> = OnceLock::new();
    CAPTURE.get_or_init(|| {
        let capture: &'static Capture = Box::leak(Box::default());
        tracing::subscriber::set_global_default(Registry::default().with(capture))
            .expect("the only subscriber");
        capture
    })
}

impl Capture {
    /// What has been told so far.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// What has been told of the one task with this name, its wakers included.
    ///
    /// # Panics
    /// If there is no such task, or more than one.
    #[track_caller]
    pub fn of_task(&self, name: &str) -> Vec<Told> {
        let told = self.told();
        let made: Vec<u64> =
            told.iter().filter(|told| told.field("task.name") == name).map(|told| told.span).collect();
        let [span] = made[..] else { panic!("{} tasks are called {name}", made.len()) };
        let number = span.to_string();
        let is_of = |told: &Told| match told.what {
            What::Event => told.target == "tokio::task::waker" && told.field("task.id") == number,
            _ => told.span == span,
        };
        told.into_iter().filter(is_of).collect()
    }

    /// The events of ops with this kernel name.
    pub fn ops(&self, op: &str) -> Vec<Told> {
        let is_of = |told: &Told| told.target == "ringwork::op" && told.field("op") == op;
        self.told().into_iter().filter(is_of).collect()
    }

    fn tell(&self, what: What, span: u64, meta: &tracing::Metadata<'static>, fields: Fields) {
        let (name, target) = (if meta.is_event() { "event" } else { meta.name() }, meta.target());
        let told = Told { what, span, name, target, fields: fields.0, thread: thread::current().id() };
        self.told.lock().unwrap().push(told);
    }

    fn tell_of<S: Subscriber + for<'a> LookupSpan<'a>>(&self, what: What, id: &Id, context: &Context<'_, S>) {
        if let Some(span) = context.span(id)
            && is_ours(span.metadata())
        {
            self.tell(what, id.into_u64(), span.metadata(), Fields::default());
        }
    }
}

fn is_ours(meta: &tracing::Metadata<'_>) -> bool {
    let targets = ["tokio::task", "ringwork", "runtime"];
    targets.iter().any(|target| meta.target().starts_with(target)) || meta.name().starts_with("runtime")
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_string());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for &'static Capture {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        if is_ours(attributes.metadata()) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            self.tell(What::New, id.into_u64(), attributes.metadata(), fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if is_ours(event.metadata()) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let span = context.current_span().id().map_or(0, Id::into_u64);
            self.tell(What::Event, span, event.metadata(), fields);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.tell_of(What::Enter, id, &context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.tell_of(What::Exit, id, &context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.tell_of(What::Close, &id, &context);
    }
}
