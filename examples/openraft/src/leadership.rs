//! Who leads, as one node knows it, and when that changes.
//!
//! Owns [`Leadership`] and [`LeaderChanges`]. A leader whom nobody answers does not step down by itself, and
//! openraft says nothing new then: so it is looked at now and then, besides when openraft says something.
#![forbid(unsafe_code)]

use crate::node::{ELECTION, Raft};
use crate::{TypeConfig, runtime::RingworkInstant};
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::WatchReceiver as _;
use openraft::{Instant as _, RaftMetrics, ServerState};
use ringwork::time::{Duration, timeout};
use std::fmt;

/// How often a leader is asked whether it still hears from the others.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A leader that has heard from no majority for so long may have been replaced without knowing it.
const SILENCE: Duration = Duration::from_millis(ELECTION.1);

/// What one node knows of who leads. Displayed, it is a line for whoever runs the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leadership {
    /// The node is in no cluster yet.
    NoCluster,
    /// Nobody leads, as far as the node knows.
    NoLeader,
    /// The node leads, but hears from no majority: it cannot do anything.
    NoMajority,
    /// A node leads.
    Leader {
        /// Which.
        id: u64,
        /// In which term of Raft's.
        term: u64,
    },
}

impl fmt::Display for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cure = "requests fail until a majority of the nodes run and reach each other";
        match self {
            Self::NoCluster => f.write_str("in no cluster yet: `raft_kv init` begins one"),
            Self::NoLeader => write!(f, "no leader: {cure}"),
            Self::NoMajority => write!(f, "leads, but hears from no majority: {cure}"),
            Self::Leader { id, term } => write!(f, "the leader is node {id} (term {term})"),
        }
    }
}

/// The changes of who leads, made by [`Node::leader_changes`](crate::Node::leader_changes).
pub struct LeaderChanges {
    metrics: WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>,
    last: Option<Leadership>,
    /// Since when the node leads, if it does.
    leads_since: Option<RingworkInstant>,
}

impl LeaderChanges {
    pub(crate) fn new(raft: &Raft) -> Self {
        Self { metrics: raft.metrics(), last: None, leads_since: None }
    }

    /// Waits until it is another than before; the first time it says how it is. `None` when Raft has ended.
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Leadership> {
        loop {
            let now = self.look();
            if self.last != Some(now) {
                self.last = Some(now);
                return Some(now);
            }
            if let Ok(Err(_ended)) = timeout(LOOK_EVERY, self.metrics.changed()).await {
                return None;
            }
        }
    }

    fn look(&mut self) -> Leadership {
        let metrics = self.metrics.borrow_and_update();
        let voters = metrics.membership_config.voter_ids().count();
        let leads = metrics.state == ServerState::Leader;
        let since = leads.then(|| self.leads_since.unwrap_or_else(RingworkInstant::now));
        self.leads_since = since;
        if voters == 0 {
            return Leadership::NoCluster;
        }
        let Some(id) = metrics.current_leader else { return Leadership::NoLeader };
        if let Some(since) = since.filter(|_| voters > 1) {
            let heard = metrics.last_quorum_acked.map_or(since, |acked| acked.into_inner());
            if heard.elapsed() > SILENCE {
                return Leadership::NoMajority;
            }
        }
        Leadership::Leader { id, term: metrics.current_term }
    }
}
