//! A node's answers.
#![forbid(unsafe_code)]

use super::frame;
use super::message::{MAJORITY, Request, Response, Status};
use crate::state::Map;
use crate::{MAX_COMMAND, Put, Raft, TypeConfig};
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ForwardToLeader, RaftError};
use openraft::{BasicNode, ReadPolicy, Snapshot, TryAsRef};
use ringwork::net::TcpStream;
use ringwork::time::timeout;
use std::collections::BTreeMap;
use std::error::Error;

/// Where questions are answered; a clone serves each connection.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) raft: Raft,
    pub(crate) map: Map,
}

impl Desk {
    /// Answers one connection's questions until it ends.
    pub(crate) async fn serve(self, stream: TcpStream) {
        // A peer that breaks off, or says what we do not understand, loses its connection: no news.
        let _gone_already = stream.set_nodelay(true);
        while let Ok(Some(request)) = frame::receive(&stream).await {
            let answer = self.answer(request).await;
            let Ok(frame) = frame::encode(&answer) else { return };
            if frame::send(&stream, frame).await.is_err() {
                return;
            }
        }
    }

    async fn answer(&self, request: Request) -> Response {
        let raft = &self.raft;
        match request {
            Request::Append(rpc) => answer(raft.append_entries(rpc).await, Response::Append),
            Request::Vote(rpc) => answer(raft.vote(rpc).await, Response::Vote),
            Request::PreVote(rpc) => answer(raft.pre_vote(rpc).await, Response::Vote),
            Request::Snapshot { vote, meta, pairs } => {
                let installed = raft.install_full_snapshot(vote, Snapshot { meta, snapshot: pairs }).await;
                answer(installed, Response::Snapshot)
            }
            Request::TransferLeader(rpc) => {
                answer(raft.handle_transfer_leader(rpc).await, Response::TransferLeader)
            }
            Request::Initialize(nodes) => {
                let nodes = nodes.into_iter().map(|(id, address)| (id, BasicNode::new(address)));
                answer(raft.initialize(nodes.collect::<BTreeMap<_, _>>()).await, |()| Response::Done)
            }
            Request::Put(put) => self.put(put).await,
            Request::Get { key, local: true } => Response::Value(self.map.get(&key)),
            Request::Get { key, local: false } => {
                let sure = raft.ensure_linearizable(ReadPolicy::ReadIndex);
                self.by_majority(sure, |_| Response::Value(self.map.get(&key))).await
            }
            Request::Status => Response::Status(self.status()),
        }
    }

    async fn put(&self, put: Put) -> Response {
        let len = serde_json::to_vec(&put).map_or(usize::MAX, |json| json.len());
        if len > MAX_COMMAND {
            return Response::Refused(format!("{len} bytes are more than a command may have: {MAX_COMMAND}"));
        }
        self.by_majority(self.raft.client_write(put), |_| Response::Done).await
    }

    /// The answer of what only the leader can do, and only with a majority. Without one Raft waits for it,
    /// but whoever has asked is told.
    async fn by_majority<T, E>(
        &self,
        done: impl Future<Output = Result<T, RaftError<TypeConfig, E>>>,
        respond: impl FnOnce(T) -> Response,
    ) -> Response
    where
        E: TryAsRef<ForwardToLeader<TypeConfig>> + Error,
    {
        match timeout(MAJORITY, done).await {
            Ok(Ok(answer)) => respond(answer),
            Ok(Err(error)) => match elsewhere(error) {
                Response::NotLeader(None) if self.is_alone().await => Response::NoCluster,
                answer => answer,
            },
            Err(_) => Response::Failed(format!("it leads, but no majority answered it in {MAJORITY:?}")),
        }
    }

    /// Whether the node has never been told of a cluster.
    async fn is_alone(&self) -> bool {
        self.raft.is_initialized().await.is_ok_and(|is| !is)
    }

    fn status(&self) -> Status {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        Status {
            id: metrics.id,
            term: metrics.current_term,
            leader: metrics.current_leader,
            last_log: metrics.last_log_index,
            applied: metrics.last_applied.map(|id| id.index),
            snapshot: metrics.snapshot.map(|id| id.index),
        }
    }
}

fn answer<T>(result: Result<T, impl Error>, respond: impl FnOnce(T) -> Response) -> Response {
    match result {
        Ok(answer) => respond(answer),
        Err(error) => Response::Failed(error.to_string()),
    }
}

/// The answer of a node that is not the leader, or could not show that it still is.
fn elsewhere<E>(error: RaftError<TypeConfig, E>) -> Response
where
    E: TryAsRef<ForwardToLeader<TypeConfig>> + Error,
{
    match error.forward_to_leader() {
        Some(forward) => Response::NotLeader(forward.leader_node.as_ref().map(|node| node.addr.clone())),
        None => Response::Failed(error.to_string()),
    }
}
