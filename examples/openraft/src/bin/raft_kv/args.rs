//! The command line of `raft_kv`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

pub(crate) const USAGE: &str =
    "usage: raft_kv serve --id N --dir DIR [--listen ADDR] [--snapshot-every N] [--cores N]
       raft_kv init --nodes ID=ADDR,ID=ADDR,...
       raft_kv put KEY VALUE --nodes ADDR,ADDR,...
       raft_kv get KEY --nodes ADDR,ADDR,...
       raft_kv status --nodes ADDR,ADDR,...

  serve             a node; it prints where it listens and runs until SIGINT or SIGTERM
  init              tells new nodes that they are a cluster
  put, get          by whichever node leads
  status            what each node knows

  --id N            which node this is; its directory must never serve another
  --dir DIR         where the node keeps its log and snapshot
  --listen ADDR     where to listen (default 127.0.0.1:0: any port)
  --snapshot-every N  entries after which a snapshot is made and the log purged (default 10000)
  --nodes LIST      the nodes' addresses
  --cores N         how many cores (default: all this process may use)
  --help            this text";

pub(crate) struct Args {
    pub(crate) cores: Option<usize>,
    pub(crate) command: Command,
}

pub(crate) enum Command {
    Serve(Serve),
    Initialize(BTreeMap<u64, String>),
    Put { key: String, value: String, nodes: Vec<String> },
    Get { key: String, nodes: Vec<String> },
    Status(Vec<String>),
}

pub(crate) struct Serve {
    pub(crate) id: u64,
    pub(crate) dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) snapshot_every: u64,
}

/// What the command line says; `None` asks for help.
pub(crate) fn parse() -> Result<Option<Args>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut words = Vec::new();
    let (mut id, mut dir, mut cores, mut nodes) = (None, None, None, Vec::new());
    let (mut listen, mut snapshot_every) = (SocketAddr::from(([127, 0, 0, 1], 0)), 10_000);
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Value(word) => words.push(word.string()?),
            Long("id") => id = Some(parser.value()?.parse()?),
            Long("dir") => dir = Some(PathBuf::from(parser.value()?)),
            Long("listen") => listen = parser.value()?.parse()?,
            Long("snapshot-every") => snapshot_every = parser.value()?.parse::<NonZeroU64>()?.get(),
            Long("nodes") => nodes = parser.value()?.string()?.split(',').map(str::to_owned).collect(),
            Long("cores") => cores = Some(parser.value()?.parse::<NonZeroUsize>()?.get()),
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(arg.unexpected()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let command = match words[..] {
        ["serve"] => {
            let id = id.ok_or("serve needs --id")?;
            let dir = dir.ok_or("serve needs --dir")?;
            Command::Serve(Serve { id, dir, listen, snapshot_every })
        }
        [] => return Err("what to do is missing".into()),
        _ if nodes.is_empty() => return Err("--nodes is missing".into()),
        ["init"] => Command::Initialize(nodes.iter().map(|node| named(node)).collect::<Result<_, _>>()?),
        ["put", key, value] => Command::Put { key: key.to_owned(), value: value.to_owned(), nodes },
        ["get", key] => Command::Get { key: key.to_owned(), nodes },
        ["status"] => Command::Status(nodes),
        _ => return Err(format!("cannot make sense of {:?}", words.join(" ")).into()),
    };
    Ok(Some(Args { cores, command }))
}

/// `ID=ADDR`.
fn named(node: &str) -> Result<(u64, String), lexopt::Error> {
    let (id, address) = node.split_once('=').ok_or_else(|| format!("{node} is not ID=ADDR"))?;
    let id = id.parse().map_err(|_| format!("{id} is no node's number"))?;
    Ok((id, address.to_owned()))
}
