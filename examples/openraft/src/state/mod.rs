//! The map that the log builds, and its snapshots.
//!
//! Owns [`StateMachine`], which openraft drives, and [`Map`], through which everybody else looks. The map is
//! in memory; what is on disk is the last snapshot, from which a restarted node goes on by applying the log
//! again. A snapshot shares the map with the present until the next write, which copies it: that is the only
//! moment at which it costs a core more than a pointer.
#![forbid(unsafe_code)]

mod snapshots;

use crate::TypeConfig;
use futures_util::{Stream, TryStreamExt};
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, StoredMembership};
use snapshots::Snapshots;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a snapshot holds, and what travels to a node that is too far behind.
pub type Pairs = Arc<BTreeMap<String, String>>;

/// A look at the map as this node has it; cheap to clone, for any core.
#[derive(Clone, Debug)]
pub struct Map {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    applied: Option<LogIdOf<TypeConfig>>,
    membership: StoredMembershipOf<TypeConfig>,
    pairs: Pairs,
}

impl State {
    fn meta(&self) -> SnapshotMetaOf<TypeConfig> {
        SnapshotMetaOf::<TypeConfig> { last_log_id: self.applied, last_membership: self.membership.clone() }
    }
}

impl Map {
    /// The value of `key` as of the last entry that this node has applied.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<String> {
        self.state().pairs.get(key).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// openraft's state machine, with its snapshots in a directory.
///
/// ```
/// use ringwork_openraft::state::StateMachine;
///
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// let dir = tempfile::tempdir()?;
/// assert_eq!(StateMachine::open(dir.path()).await?.map().get("nothing yet"), None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StateMachine {
    map: Map,
    snapshots: Arc<Snapshots>,
}

impl StateMachine {
    /// Opens the last snapshot in `dir`, which must exist.
    ///
    /// # Errors
    /// The kernel's; [`io::ErrorKind::InvalidData`] if the snapshot is damaged: then the entries that it
    /// stands for may be nowhere else on this node.
    pub async fn open(dir: &Path) -> io::Result<Self> {
        let snapshots = Snapshots::open(dir).await?;
        let state = snapshots.last().await.map_or_else(State::default, |last| State {
            applied: last.meta.last_log_id,
            membership: last.meta.last_membership,
            pairs: last.snapshot,
        });
        let map = Map { state: Arc::new(Mutex::new(state)) };
        Ok(Self { map, snapshots: Arc::new(snapshots) })
    }

    /// A way to read.
    #[must_use]
    pub fn map(&self) -> Map {
        self.map.clone()
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Pairs;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(
        &mut self,
    ) -> io::Result<(Option<LogIdOf<TypeConfig>>, StoredMembershipOf<TypeConfig>)> {
        let state = self.map.state();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            {
                let mut state = self.map.state();
                match entry.payload {
                    EntryPayload::Blank => {}
                    EntryPayload::Normal(put) => {
                        Arc::make_mut(&mut state.pairs).insert(put.key, put.value);
                    }
                    EntryPayload::Membership(membership) => {
                        state.membership = StoredMembership::new(Some(entry.log_id), membership);
                    }
                }
                state.applied = Some(entry.log_id);
            }
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let state = self.map.state();
        let snapshot =
            SnapshotOf::<TypeConfig, Pairs> { meta: state.meta(), snapshot: Arc::clone(&state.pairs) };
        SnapshotBuilder { snapshot, snapshots: Arc::clone(&self.snapshots) }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<TypeConfig>, pairs: Pairs) -> io::Result<()> {
        let snapshot = SnapshotOf::<TypeConfig, Pairs> { meta: meta.clone(), snapshot: Arc::clone(&pairs) };
        self.snapshots.keep(snapshot).await?;
        let mut state = self.map.state();
        state.applied = meta.last_log_id;
        state.membership = meta.last_membership.clone();
        state.pairs = pairs;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, Pairs>>> {
        Ok(self.snapshots.last().await)
    }
}

/// A state of the past that is to become a snapshot.
#[derive(Debug)]
pub struct SnapshotBuilder {
    snapshot: SnapshotOf<TypeConfig, Pairs>,
    snapshots: Arc<Snapshots>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = Pairs;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, Pairs>> {
        self.snapshots.keep(self.snapshot.clone()).await?;
        Ok(self.snapshot.clone())
    }
}
