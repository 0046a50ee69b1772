//! openraft's way to another node.
//!
//! Owns [`Peers`] and [`Peer`]. A peer keeps one connection, makes a new one when that broke, and gives one
//! away whose answer nobody has waited for.
#![forbid(unsafe_code)]

use super::frame;
use super::message::{Request, Response};
use crate::TypeConfig;
use crate::state::Pairs;
use futures_util::future::{Either, select};
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use ringwork::net::TcpStream;
use ringwork::time::timeout;
use std::io;
use std::pin::pin;

/// Makes a [`Peer`] for each node that openraft wants to speak to.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) id: u64,
}

/// Another node.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Who we are.
    id: u64,
    target: u64,
    address: String,
    connection: Option<TcpStream>,
}

type Answer<T> = Result<T, RPCError<TypeConfig>>;

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        Peer { id: self.id, target, address: node.addr.clone(), connection: None }
    }
}

impl Peer {
    async fn ask(&mut self, request: &Request, action: RPCTypes, option: &RPCOption) -> Answer<Response> {
        let frame = frame::encode(request).map_err(|error| Unreachable::new(&error))?;
        self.ask_framed(frame, action, option).await
    }

    /// Asks for no longer than openraft wants to wait.
    async fn ask_framed(&mut self, frame: Vec<u8>, action: RPCTypes, option: &RPCOption) -> Answer<Response> {
        let limit = option.soft_ttl();
        match timeout(limit, self.exchange(frame)).await {
            Ok(answer) => answer,
            Err(_) => Err(Timeout { action, id: self.id, target: self.target, timeout: limit }.into()),
        }
    }

    async fn exchange(&mut self, frame: Vec<u8>) -> Answer<Response> {
        // Taken, so that if this future is dropped before the answer is there, its connection goes with it.
        let stream = match self.connection.take() {
            Some(stream) => stream,
            None => self.connect().await.map_err(|error| Unreachable::new(&error))?,
        };
        let answer = converse(&stream, frame).await.map_err(|error| NetworkError::new(&error))?;
        self.connection = Some(stream);
        Ok(answer)
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address.as_str()).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

async fn converse(stream: &TcpStream, frame: Vec<u8>) -> io::Result<Response> {
    frame::send(stream, frame).await?;
    frame::receive(stream).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// An answer to another question, which a node gives if it cannot answer this one.
fn otherwise(answer: Response) -> RPCError<TypeConfig> {
    match answer {
        // A node whose Raft has stopped: no use in asking again at once.
        Response::Failed(why) => Unreachable::from_string(why).into(),
        other => NetworkError::from_string(format!("an answer to another question: {other:?}")).into(),
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = Pairs;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Answer<AppendEntriesResponse<TypeConfig>> {
        match self.ask(&Request::Append(rpc), RPCTypes::AppendEntries, &option).await? {
            Response::Append(answer) => Ok(answer),
            other => Err(otherwise(other)),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Answer<VoteResponse<TypeConfig>> {
        match self.ask(&Request::Vote(rpc), RPCTypes::Vote, &option).await? {
            Response::Vote(answer) => Ok(answer),
            other => Err(otherwise(other)),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Answer<VoteResponse<TypeConfig>> {
        match self.ask(&Request::PreVote(rpc), RPCTypes::Vote, &option).await? {
            Response::Vote(answer) => Ok(answer),
            other => Err(otherwise(other)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, Pairs>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let request = Request::Snapshot { vote, meta: snapshot.meta, pairs: snapshot.snapshot };
        let ask = pin!(async {
            // The whole map becomes JSON: not on a core.
            let encoded = ringwork::spawn_heavy(move || frame::encode(&request)).await;
            let encoded = encoded.map_err(io::Error::from).flatten();
            // A map that is too large for a frame stays so: not to be tried again at once.
            let frame = encoded.map_err(|error| Unreachable::new(&error))?;
            self.ask_framed(frame, RPCTypes::InstallSnapshot, &option).await
        });
        match select(ask, pin!(cancel)).await {
            Either::Left((Ok(Response::Snapshot(answer)), _)) => Ok(answer),
            Either::Left((answer, _)) => Err(otherwise(answer?).into()),
            Either::Right((closed, _)) => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Answer<TransferLeaderResponse<TypeConfig>> {
        match self.ask(&Request::TransferLeader(request), RPCTypes::TransferLeader, &option).await? {
            Response::TransferLeader(answer) => Ok(answer),
            other => Err(otherwise(other)),
        }
    }
}
