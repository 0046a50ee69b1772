//! The console: its subscriber in this process, and a client that follows what it sends over the wire.
#![forbid(unsafe_code)]

use console_api::Location;
use console_api::field::{Name, Value};
use console_api::instrument::instrument_client::InstrumentClient;
use console_api::instrument::{InstrumentRequest, Update};
use console_api::tasks::{Stats, Task};
use console_subscriber::{ConsoleLayer, ServerParts};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::Duration;
use tokio_stream::wrappers::TcpListenerStream;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

/// What the console has said about the program so far.
#[derive(Debug, Default)]
pub struct Seen {
    tasks: HashMap<u64, Task>,
    stats: HashMap<u64, Stats>,
    resources: HashMap<u64, console_api::resources::Resource>,
    async_ops: HashMap<u64, (console_api::async_ops::AsyncOp, Option<console_api::async_ops::Stats>)>,
    /// What it had to leave out.
    pub dropped: u64,
}

/// A task as a console shows it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The number of its span.
    pub id: u64,
    /// Its fields as text.
    pub fields: HashMap<String, String>,
    /// Where it was spawned.
    pub location: Location,
    /// Polls, wakes and times.
    pub stats: Stats,
}

impl Shown {
    /// How often it was polled.
    pub fn polls(&self) -> u64 {
        self.stats.poll_stats.as_ref().map_or(0, |stats| stats.polls)
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.stats.dropped_at.is_some()
    }
}

impl Seen {
    /// The task with this name, if it has been shown.
    pub fn task(&self, name: &str) -> Option<Shown> {
        self.find("task.name", name)
    }

    /// Some task of this kind.
    pub fn kind(&self, kind: &str) -> Option<Shown> {
        self.find("kind", kind)
    }

    /// The types of all resources that have been shown.
    pub fn resource_types(&self) -> Vec<&str> {
        self.resources.values().map(|resource| resource.concrete_type.as_str()).collect()
    }

    /// What the task with this span waits for, or has waited for: source, resource type, polls.
    pub fn waits_of(&self, task: u64) -> Vec<(String, String, u64)> {
        let ops = self.async_ops.values().filter_map(|(op, stats)| Some((op, stats.as_ref()?)));
        let ops = ops.filter(|(_, stats)| stats.task_id.as_ref().is_some_and(|id| id.id == task));
        ops.map(|(op, stats)| {
            let resource = op.resource_id.as_ref().and_then(|id| self.resources.get(&id.id));
            let concrete_type = resource.map(|resource| resource.concrete_type.clone()).unwrap_or_default();
            (op.source.clone(), concrete_type, stats.poll_stats.as_ref().map_or(0, |stats| stats.polls))
        })
        .collect()
    }

    fn find(&self, field: &str, value: &str) -> Option<Shown> {
        let mut shown = self.tasks.values().filter_map(|task| self.show(task));
        shown.find(|task| task.fields.get(field).is_some_and(|found| found == value))
    }

    fn show(&self, task: &Task) -> Option<Shown> {
        let id = task.id.as_ref()?.id;
        let fields = task.fields.iter().filter_map(|field| Some((name(field)?, text(field)?))).collect();
        let location = task.location.clone().unwrap_or_default();
        Some(Shown { id, fields, location, stats: *self.stats.get(&id)? })
    }

    fn take(&mut self, update: Update) {
        if let Some(tasks) = update.task_update {
            self.dropped += tasks.dropped_events;
            for task in tasks.new_tasks {
                self.tasks.insert(task.id.as_ref().map_or(0, |id| id.id), task);
            }
            self.stats.extend(tasks.stats_update);
        }
        if let Some(resources) = update.resource_update {
            for resource in resources.new_resources {
                self.resources.insert(resource.id.as_ref().map_or(0, |id| id.id), resource);
            }
        }
        if let Some(ops) = update.async_op_update {
            for op in ops.new_async_ops {
                self.async_ops.insert(op.id.as_ref().map_or(0, |id| id.id), (op, None));
            }
            for (id, stats) in ops.stats_update {
                if let Some(op) = self.async_ops.get_mut(&id) {
                    op.1 = Some(stats);
                }
            }
        }
    }
}

fn name(field: &console_api::Field) -> Option<String> {
    match field.name.as_ref()? {
        Name::StrName(name) => Some(name.clone()),
        // The numbers of names are an economy that the subscriber does not use.
        Name::NameIdx(_) => None,
    }
}

fn text(field: &console_api::Field) -> Option<String> {
    Some(match field.value.as_ref()? {
        Value::DebugVal(value) | Value::StrVal(value) => value.clone(),
        Value::U64Val(value) => value.to_string(),
        Value::I64Val(value) => value.to_string(),
        Value::BoolVal(value) => value.to_string(),
    })
}

/// What the client knows, and how to wait for more.
#[derive(Debug, Default)]
pub struct Client {
    seen: Mutex<Seen>,
    more: Condvar,
}

impl Client {
    /// Waits until what has been seen gives an answer.
    ///
    /// # Panics
    /// If it does not within [`LIMIT`](crate::LIMIT).
    #[track_caller]
    pub fn wait_for<T>(&self, mut answer: impl FnMut(&Seen) -> Option<T>) -> T {
        let end = std::time::Instant::now() + crate::LIMIT;
        let mut seen = self.seen.lock().unwrap();
        loop {
            if let Some(answer) = answer(&seen) {
                return answer;
            }
            let left = end.saturating_duration_since(std::time::Instant::now());
            assert!(!left.is_zero(), "the console did not show it; it shows {seen:#?}");
            seen = self.more.wait_timeout(seen, left).unwrap().0;
        }
    }
}

/// The client of this process; the first call installs the console's subscriber and connects to it.
pub fn client() -> &'static Client {
    static CLIENT: OnceLock<Arc<Client>> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let (layer, server) = ConsoleLayer::builder().publish_interval(Duration::from_millis(20)).build();
        let theirs = Targets::new()
            .with_target("tokio", tracing::Level::TRACE)
            .with_target("runtime", tracing::Level::TRACE);
        let (ready, address) = std::sync::mpsc::channel();
        thread::spawn(move || serve(server, &ready));
        let address = address.recv().expect("the console's server listens");
        tracing::subscriber::set_global_default(Registry::default().with(layer.with_filter(theirs)))
            .expect("the only subscriber");
        let client = Arc::<Client>::default();
        let follower = Arc::clone(&client);
        thread::spawn(move || alone(follow(address, &follower)));
        client
    })
}

/// Runs a future on a tokio runtime of its own, whose own events nobody hears.
fn alone<F: Future>(future: F) -> F::Output {
    let _deaf = tracing::subscriber::set_default(NoSubscriber::default());
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio starts").block_on(future)
}

fn serve(server: console_subscriber::Server, ready: &std::sync::mpsc::Sender<SocketAddr>) {
    alone(async {
        let ServerParts { instrument_server, aggregator, .. } = server.into_parts();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        ready.send(listener.local_addr().expect("it is bound")).expect("somebody waits for it");
        tokio::spawn(aggregator.run());
        let router = tonic::transport::Server::builder().add_service(instrument_server);
        router.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("the console serves");
    });
}

async fn follow(address: SocketAddr, client: &Client) {
    let mut wire = InstrumentClient::connect(format!("http://{address}")).await.expect("the console answers");
    let updates = wire.watch_updates(InstrumentRequest {}).await.expect("it sends updates");
    let mut updates = updates.into_inner();
    while let Ok(Some(update)) = updates.message().await {
        client.seen.lock().unwrap().take(update);
        client.more.notify_all();
    }
}
