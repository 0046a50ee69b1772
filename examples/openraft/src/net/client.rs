//! Who asks for values.
//!
//! Owns [`Client`], which finds the leader and follows it, also to another node when it has died.
#![forbid(unsafe_code)]

use super::frame;
use super::message::{PATIENCE, Request, Response, Status};
use crate::Put;
use ringwork::net::TcpStream;
use ringwork::time::{Duration, Instant, sleep, timeout, timeout_at};
use std::collections::BTreeMap;
use std::io;

/// Between two rounds of asking: a cluster without a leader needs about an election's time to have one.
const PAUSE: Duration = Duration::from_millis(50);

/// Speaks to whichever node is the leader.
///
/// An answer that got lost is asked for again, so a [`put`](Self::put) may be carried out twice, the second
/// time after a later one of the same key: then the earlier value is back. A store that must not do that
/// numbers each client's commands, keeps the last number in its map, and leaves out what it has had.
#[derive(Debug)]
pub struct Client {
    nodes: Vec<String>,
    /// Of `nodes`: who is asked next when it is not known who leads.
    next: usize,
    leader: Option<String>,
    connection: Option<(String, TcpStream)>,
}

impl Client {
    /// A client of the cluster of these nodes, of which some may be down.
    ///
    /// ```
    /// ringwork_openraft::net::Client::new(["127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"]);
    /// ```
    ///
    /// # Panics
    /// If there are no nodes.
    pub fn new(nodes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let nodes: Vec<String> = nodes.into_iter().map(Into::into).collect();
        assert!(!nodes.is_empty(), "a cluster has nodes");
        Self { nodes, next: 0, leader: None, connection: None }
    }

    /// Gives `key` a value. When this returns without an error, a majority of the nodes has it on disk.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if key and value are longer than [`MAX_COMMAND`](crate::MAX_COMMAND);
    /// [`io::ErrorKind::TimedOut`] after `limit`, with what each node has answered last and what to do: it
    /// may have been carried out then, or be carried out yet.
    pub async fn put(&mut self, key: &str, value: &str, limit: Duration) -> io::Result<()> {
        let put = Put { key: key.to_owned(), value: value.to_owned() };
        match self.ask(&Request::Put(put), limit).await? {
            Response::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// The value of `key`, no older than this call: the leader has made sure that it still is.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] after `limit`, with what each node has answered last and what to do.
    pub async fn get(&mut self, key: &str, limit: Duration) -> io::Result<Option<String>> {
        let request = Request::Get { key: key.to_owned(), local: false };
        match self.ask(&request, limit).await? {
            Response::Value(value) => Ok(value),
            other => Err(unexpected(&other)),
        }
    }

    /// The value of `key` as the node at `address` has it, which may be old.
    ///
    /// # Errors
    /// The kernel's; [`io::ErrorKind::TimedOut`] if the node takes too long.
    pub async fn get_local(address: &str, key: &str) -> io::Result<Option<String>> {
        match once(address, &Request::Get { key: key.to_owned(), local: true }).await? {
            Response::Value(value) => Ok(value),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks until a leader has answered.
    async fn ask(&mut self, request: &Request, limit: Duration) -> io::Result<Response> {
        let deadline = Instant::now() + limit;
        let mut answers = Answers::default();
        let asked = timeout_at(deadline, async {
            loop {
                let address = self.leader.take().unwrap_or_else(|| self.next_node());
                match self.try_one(&address, request).await {
                    Ok(Response::NotLeader(Some(leader))) if leader != address => {
                        answers.add(address, format!("{leader} leads"), Some(true));
                        self.leader = Some(leader);
                    }
                    Ok(Response::NotLeader(_)) => answers.add(address, "knows no leader", Some(true)),
                    Ok(Response::NoCluster) => answers.add(address, "in no cluster yet", Some(false)),
                    Ok(Response::Failed(why)) => answers.add(address, why, Some(true)),
                    Ok(Response::Refused(why)) => {
                        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
                    }
                    Ok(answer) => {
                        self.leader = Some(address);
                        return Ok(answer);
                    }
                    Err(error) => answers.add(address, error.to_string(), None),
                }
                sleep(PAUSE).await;
            }
        })
        .await;
        asked.unwrap_or_else(|_| Err(answers.in_vain(limit)))
    }

    fn next_node(&mut self) -> String {
        self.next = (self.next + 1) % self.nodes.len();
        self.nodes[self.next].clone()
    }

    async fn try_one(&mut self, address: &str, request: &Request) -> io::Result<Response> {
        // Taken: a connection whose answer was not waited for is of no use any more.
        let connection = self.connection.take().filter(|(to, _)| to == address);
        let exchange = async {
            let stream = match connection {
                Some((_, stream)) => stream,
                None => connect(address).await?,
            };
            let answer = converse(&stream, request).await?;
            Ok((answer, stream))
        };
        let (answer, stream) = limited(exchange).await?;
        self.connection = Some((address.to_owned(), stream));
        Ok(answer)
    }
}

/// What each node has answered last.
#[derive(Default)]
struct Answers {
    by_address: BTreeMap<String, String>,
    /// A node has answered that is in a cluster.
    cluster: bool,
    /// One has answered that is in none.
    no_cluster: bool,
}

impl Answers {
    fn add(&mut self, address: String, answer: impl Into<String>, in_cluster: Option<bool>) {
        self.by_address.insert(address, answer.into());
        self.no_cluster |= in_cluster == Some(false);
        self.cluster |= in_cluster == Some(true);
    }

    /// The error of who has asked for so long, with cause and cure.
    fn in_vain(&self, limit: Duration) -> io::Error {
        let cure = if self.no_cluster && !self.cluster {
            "start all nodes and begin the cluster with `raft_kv init`"
        } else {
            "start nodes until a majority run and reach each other; `raft_kv status` asks each"
        };
        let mut answers = Vec::new();
        answers.extend(self.by_address.iter().map(|(address, answer)| format!("{address}: {answer}")));
        let message = format!("no leader answered in {limit:?} ({}): {cure}", answers.join("; "));
        io::Error::new(io::ErrorKind::TimedOut, message)
    }
}

/// Begins a cluster: tells one of `nodes` who the others are. All must be running and new.
///
/// # Errors
/// The kernel's, and the node's refusal, also if it belongs to a cluster already.
pub async fn initialize(nodes: &BTreeMap<u64, String>) -> io::Result<()> {
    let Some(first) = nodes.values().next() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a cluster has nodes"));
    };
    match once(first, &Request::Initialize(nodes.clone())).await? {
        Response::Done => Ok(()),
        other => Err(unexpected(&other)),
    }
}

/// What the node at `address` knows.
///
/// # Errors
/// The kernel's; [`io::ErrorKind::TimedOut`] if the node takes too long.
pub async fn status(address: &str) -> io::Result<Status> {
    match once(address, &Request::Status).await? {
        Response::Status(status) => Ok(status),
        other => Err(unexpected(&other)),
    }
}

/// One question on a connection of its own.
async fn once(address: &str, request: &Request) -> io::Result<Response> {
    limited(async { converse(&connect(address).await?, request).await }).await
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn converse(stream: &TcpStream, request: &Request) -> io::Result<Response> {
    frame::send(stream, frame::encode(request)?).await?;
    frame::receive(stream).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

async fn limited<T>(exchange: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn unexpected(answer: &Response) -> io::Error {
    match answer {
        Response::Failed(why) | Response::Refused(why) => io::Error::other(why.clone()),
        other => io::Error::other(format!("an answer to another question: {other:?}")),
    }
}
