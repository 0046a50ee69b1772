//! What nodes and clients say to each other.
#![forbid(unsafe_code)]

use crate::state::Pairs;
use crate::{Put, TypeConfig};
use openraft::alias::{SnapshotMetaOf, VoteOf};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use ringwork::time::Duration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long one node may take before another is asked.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How long a leader waits for a majority, so that it can still say in time that there is none.
pub(super) const MAJORITY: Duration = Duration::from_millis(1_500);

/// A question to a node. The first ones come from nodes, the others from clients.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Append(AppendEntriesRequest<TypeConfig>),
    Vote(VoteRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    Snapshot {
        vote: VoteOf<TypeConfig>,
        meta: SnapshotMetaOf<TypeConfig>,
        pairs: Pairs,
    },
    TransferLeader(TransferLeaderRequest<TypeConfig>),
    /// Begin a cluster of these nodes.
    Initialize(BTreeMap<u64, String>),
    Put(Put),
    Get {
        key: String,
        /// What this node has, which may be old.
        local: bool,
    },
    Status,
}

/// A node's answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Response {
    Append(AppendEntriesResponse<TypeConfig>),
    Vote(VoteResponse<TypeConfig>),
    Snapshot(SnapshotResponse<TypeConfig>),
    TransferLeader(TransferLeaderResponse<TypeConfig>),
    Done,
    Value(Option<String>),
    Status(Status),
    /// Ask there, if the node knows where.
    NotLeader(Option<String>),
    /// The node is in no cluster yet.
    NoCluster,
    /// It could not be done now.
    Failed(String),
    /// It cannot be done at all.
    Refused(String),
}

/// What a node knows of the cluster and of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The node that was asked.
    pub id: u64,
    /// Raft's term.
    pub term: u64,
    /// Whom it takes for the leader.
    pub leader: Option<u64>,
    /// The last index in its log.
    pub last_log: Option<u64>,
    /// The last index that its map holds.
    pub applied: Option<u64>,
    /// The last index of its last snapshot.
    pub snapshot: Option<u64>,
}
