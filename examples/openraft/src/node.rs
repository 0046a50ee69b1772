//! One node of the store: log, map, Raft and a listening socket.
#![forbid(unsafe_code)]

use crate::TypeConfig;
use crate::kv::MAX_ENTRIES;
use crate::leadership::LeaderChanges;
use crate::log::LogStore;
use crate::net::{Desk, Peers};
use crate::state::StateMachine;
use openraft::async_runtime::WatchReceiver as _;
use openraft::{Config, SnapshotPolicy};
use ringwork::{Server, serve_per_core};
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// openraft with this store.
pub type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// How often a leader shows that it is there, in milliseconds. Well above what `fdatasync` takes on a busy
/// disk, because a follower's answer waits for it.
const HEARTBEAT: u64 = 300;
/// How long a follower waits for that before it stands for election: between these, at random.
pub(crate) const ELECTION: (u64, u64) = (1_500, 3_000);
/// How long it may take to send a snapshot and to have it installed, in milliseconds.
const SNAPSHOT: u64 = 30_000;
/// How long connections may take to end when the node is stopped. Raft has ended by then: nothing is on its
/// way but refusals.
const GRACE: Duration = Duration::from_millis(200);

/// How a node is to be.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Which node this is. It must never be given to another directory.
    pub id: u64,
    /// Where log and snapshot are; made if it is not there.
    pub dir: PathBuf,
    /// Where it listens; port 0 picks one.
    pub listen: SocketAddr,
    /// A snapshot is made, and the log in front of it purged, after so many entries.
    pub snapshot_every: u64,
}

/// A running node. Dropping it leaves its tasks to the runtime; [`stop`](Self::stop) ends them.
///
/// ```
/// use ringwork::time::Duration;
/// use ringwork_openraft::{Node, NodeOptions, net};
///
/// #[ringwork::main(cores = 1)]
/// async fn main() -> std::io::Result<()> {
///     let dir = tempfile::tempdir()?;
///     let listen = "127.0.0.1:0".parse().unwrap();
///     let options = NodeOptions { id: 1, dir: dir.path().to_owned(), listen, snapshot_every: 1_000 };
///     let node = Node::start(options).await?;
///
///     let address = node.address().to_string();
///     net::initialize(&[(1, address.clone())].into()).await?;
///     let mut client = net::Client::new([address]);
///     client.put("colour", "green", Duration::from_secs(10)).await?;
///     assert_eq!(client.get("colour", Duration::from_secs(10)).await?.as_deref(), Some("green"));
///     node.stop().await;
///     Ok(())
/// }
/// ```
pub struct Node {
    raft: Raft,
    server: Server,
    /// The directory is this process's while it is open.
    lock: File,
}

impl Node {
    /// Starts a node with what is in its directory.
    ///
    /// # Errors
    /// The kernel's; [`io::ErrorKind::ResourceBusy`] if another node has the directory.
    pub async fn start(options: NodeOptions) -> io::Result<Self> {
        let NodeOptions { id, dir, listen, snapshot_every } = options;
        let lock = lock(dir.clone(), id).await?;
        let log = LogStore::open(&dir).await?;
        let machine = StateMachine::open(&dir).await?;
        let map = machine.map();
        let config = config(snapshot_every).map_err(io::Error::other)?;
        let raft = Raft::new(id, Arc::new(config), Peers { id }, log, machine).await;
        let raft = raft.map_err(io::Error::other)?;
        let desk = Desk { raft: raft.clone(), map };
        let server = serve_per_core(listen, move |stream, _peer| desk.clone().serve(stream)).await;
        let cannot =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}"));
        let server = server.map_err(cannot)?;
        Ok(Self { raft, server, lock })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Who leads, and each change of it.
    #[must_use]
    pub fn leader_changes(&self) -> LeaderChanges {
        LeaderChanges::new(&self.raft)
    }

    /// Waits until Raft cannot go on, which it can unless the log or the snapshot cannot be written. The node
    /// is of no use any more then.
    pub async fn failed(&self) -> io::Error {
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_and_update().running_state {
                return io::Error::other(fatal.to_string());
            }
            if metrics.changed().await.is_err() {
                return io::Error::other("Raft has ended");
            }
        }
    }

    /// Ends the node. What it has acknowledged is on disk, before and after.
    pub async fn stop(self) {
        let Self { raft, server, lock } = self;
        // An error is that it had ended before.
        let _ended = raft.shutdown().await;
        server.stop(GRACE).await;
        drop(lock);
    }
}

/// Makes the directory, and this process its only user.
async fn lock(dir: PathBuf, id: u64) -> io::Result<File> {
    let locked = ringwork::spawn_blocking(move || lock_now(&dir, id)).await;
    locked.map_err(io::Error::from)?
}

/// The file that is locked says whose directory it is: with another one's log a node could vote twice.
fn lock_now(dir: &Path, id: u64) -> io::Result<File> {
    let cannot =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot use {}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(cannot)?;
    let options = File::options().read(true).write(true).create(true).truncate(false).clone();
    let mut file = options.open(dir.join("lock")).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let message = format!("another node has the directory {}", dir.display());
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
        }
        Err(TryLockError::Error(error)) => return Err(cannot(error)),
    }
    let mut owner = String::new();
    file.read_to_string(&mut owner).map_err(cannot)?;
    if owner.is_empty() {
        file.write_all(id.to_string().as_bytes()).map_err(cannot)?;
        file.sync_all().map_err(cannot)?;
    } else if owner != id.to_string() {
        let message = format!("{} belongs to node {owner}, not to {id}", dir.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(file)
}

fn config(snapshot_every: u64) -> Result<Config, openraft::ConfigError> {
    let config = Config {
        cluster_name: "raft_kv".to_owned(),
        heartbeat_interval: HEARTBEAT,
        election_timeout_min: ELECTION.0,
        election_timeout_max: ELECTION.1,
        install_snapshot_timeout: SNAPSHOT,
        max_payload_entries: MAX_ENTRIES,
        // Whoever is farther behind gets a snapshot even if the entries are still there.
        replication_lag_threshold: 2 * snapshot_every,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_every),
        max_in_snapshot_log_to_keep: snapshot_every,
        ..Config::default()
    };
    config.validate()
}
