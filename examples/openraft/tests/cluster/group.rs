//! Three processes that are a cluster.

use ringwork::time::{Duration, Instant, sleep};
use ringwork_openraft::net::{Client, initialize, status};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// Long enough for a slow machine that does other things, too.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

const PROGRAM: &str = env!("CARGO_BIN_EXE_raft_kv");

/// Looks again and again until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// An address that nobody but this test uses, also not for its end of a connection: a node that is started
/// again must get its port again.
fn own_host() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (pid, test) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("127.{}.{}.{}", 64 + test, (pid >> 8) & 0xff, pid & 0xff)
}

pub(crate) struct Group {
    dirs: TempDir,
    extra: Vec<String>,
    nodes: Vec<Process>,
}

struct Process {
    child: Child,
    address: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts a node and waits for the line that says where it listens.
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program was built");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("it says where").to_owned();
        Self { child, address }
    }
}

impl Group {
    /// Three new nodes that have a leader.
    pub(crate) async fn start(extra: &[&str]) -> Self {
        let group = Self::strangers(extra);
        let members = (0..3).map(|node| (node as u64 + 1, group.address(node).to_owned())).collect();
        initialize(&members).await.expect("they are new");
        group.leader().await;
        group
    }

    /// Three new nodes that are no cluster yet.
    pub(crate) fn strangers(extra: &[&str]) -> Self {
        let dirs = tempfile::tempdir().unwrap();
        let extra = extra.iter().map(|&word| word.to_owned()).collect();
        let mut group = Self { dirs, extra, nodes: Vec::new() };
        let listen = format!("{}:0", own_host());
        for node in 0..3 {
            let mut command = Command::new(PROGRAM);
            command.args(group.words(node, &listen));
            group.nodes.push(group.run(node, command));
        }
        group
    }

    fn dir(&self, node: usize) -> PathBuf {
        self.dirs.path().join(node.to_string())
    }

    /// Starts a node, whose complaints go into a file.
    fn run(&self, node: usize, mut command: Command) -> Process {
        let said = File::options().append(true).create(true).open(self.said_in(node)).unwrap();
        command.stderr(said);
        Process::start(command)
    }

    fn said_in(&self, node: usize) -> PathBuf {
        self.dirs.path().join(format!("{node}.said"))
    }

    /// The lines that a node has written to stderr, of all times that it ran.
    pub(crate) fn said(&self, node: usize) -> String {
        std::fs::read_to_string(self.said_in(node)).unwrap()
    }

    fn words(&self, node: usize, listen: &str) -> Vec<String> {
        let (id, dir) = ((node + 1).to_string(), self.dir(node));
        let dir = dir.to_str().expect("it is UTF-8");
        let words = ["serve", "--id", &id, "--dir", dir, "--listen", listen, "--cores", "1"];
        words.iter().map(|&word| word.to_owned()).chain(self.extra.iter().cloned()).collect()
    }

    pub(crate) fn address(&self, node: usize) -> &str {
        &self.nodes[node].address
    }

    pub(crate) fn addresses(&self) -> Vec<&str> {
        (0..3).map(|node| self.address(node)).collect()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.addresses())
    }

    /// Waits for a leader that takes itself for one, and is alive.
    pub(crate) async fn leader(&self) -> usize {
        let mut leader = 0;
        until("there is a leader", async || {
            for node in 0..3 {
                if let Ok(status) = status(self.address(node)).await
                    && status.leader == Some(status.id)
                {
                    leader = node;
                    return true;
                }
            }
            false
        })
        .await;
        leader
    }

    /// Kills a node on the spot (SIGKILL).
    pub(crate) fn kill(&mut self, node: usize) {
        let child = &mut self.nodes[node].child;
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks a node to end, and waits.
    pub(crate) fn terminate(&mut self, node: usize) -> ExitStatus {
        let child = &mut self.nodes[node].child;
        let asked = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(asked.success());
        child.wait().unwrap()
    }

    /// Starts a node that has ended, where it was.
    pub(crate) fn restart(&mut self, node: usize) {
        let mut command = Command::new(PROGRAM);
        command.args(self.words(node, self.address(node)));
        self.nodes[node] = self.run(node, command);
    }

    /// As [`restart`](Self::restart), with files of no more than `blocks` blocks.
    pub(crate) fn restart_limited(&mut self, node: usize, blocks: u32) {
        let mut command = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        command.args(["-c", &script, "sh", PROGRAM]).args(self.words(node, self.address(node)));
        self.nodes[node] = self.run(node, command);
    }

    /// Waits until a node has ended by itself, with an error. Gives what it has to say.
    pub(crate) async fn ended(&mut self, node: usize) -> String {
        let child = &mut self.nodes[node].child;
        until("the node ends", async || child.try_wait().unwrap().is_some()).await;
        assert_eq!(child.wait().unwrap().code(), Some(1));
        self.said(node)
    }

    /// What a second process says to the directory of a node that runs.
    pub(crate) async fn second_on(&self, node: usize) -> String {
        let mut command = Command::new(PROGRAM);
        command.args(self.words(node, "127.0.0.1:0"));
        let ended = ringwork::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(ended.status.code(), Some(1));
        String::from_utf8(ended.stderr).unwrap()
    }

    /// Whether an entry has ever been written to a node's log, which was not replaced since.
    pub(crate) fn has_logged(&self, node: usize, index: u64) -> bool {
        self.log(node).iter().any(|record| record["Entry"]["log_id"]["index"] == index)
    }

    /// Whether a node has let go of an entry, so that it can only be had out of a snapshot.
    pub(crate) fn has_purged(&self, node: usize, index: u64) -> bool {
        self.log(node).iter().any(|record| record["Purge"]["index"].as_u64() >= Some(index))
    }

    /// The whole records in a node's log.
    fn log(&self, node: usize) -> Vec<serde_json::Value> {
        let bytes = std::fs::read(self.dir(node).join("log")).unwrap();
        let (mut rest, mut records) = (&bytes[..], Vec::new());
        while let Some(len) = rest.get(..4) {
            let end = 8 + u32::from_le_bytes(len.try_into().unwrap()) as usize;
            let Some(record) = rest.get(8..end) else { break };
            // The last one may be just being written.
            let Ok(record) = serde_json::from_slice(record) else { break };
            records.push(record);
            rest = &rest[end..];
        }
        records
    }
}
