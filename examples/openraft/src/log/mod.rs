//! A Raft log in a file: what it has acknowledged is there after a crash.
//!
//! Owns [`LogStore`]. The file `log` is a sequence of records, and what the records add up to is also in
//! memory, from where it is read. Writes go through one task (`writer`), which writes all that waits for it
//! at once and waits for the device once for all: many proposals share one `fdatasync`. When entries have
//! been purged for a while, the file is replaced by one that holds only what is left.
//!
//! The log of a crashed node ends at the first record that is not whole. All that has been acknowledged is in
//! front of it, because a record is acknowledged only when it and all before it are on the device.
#![forbid(unsafe_code)]

mod contents;
mod writer;

use crate::TypeConfig;
use crate::files;
use contents::{Contents, Record};
use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use ringwork::fs::File;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};
use writer::{Done, Job, Writer};

const FILE: &str = "log";
/// Jobs that may wait for the writer. Beyond that openraft waits, which is what it should do.
const WAITING: usize = 1024;
/// A file that is shorter is not worth replacing.
const REPLACE_FROM: u64 = 1 << 20;

/// openraft's log storage in a directory. One per directory, also among processes.
///
/// A write that the file has refused makes every later one fail: after that nobody knows what is on the
/// device (`fsync(2)`), and the node must be started anew.
///
/// ```
/// use openraft::RaftLogReader;
/// use ringwork_openraft::log::LogStore;
///
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// let dir = tempfile::tempdir()?;
/// let mut log = LogStore::open(dir.path()).await?;
/// assert!(log.try_get_log_entries(..).await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LogStore {
    reader: LogReader,
    writer: mpsc::Sender<Job>,
    /// Bytes of the file when all that waits is written.
    written: u64,
    /// The file is replaced when it is that long.
    replace_at: u64,
}

/// Reads from memory; any number of them, on any core.
#[derive(Clone, Debug)]
pub struct LogReader {
    contents: Arc<Mutex<Contents>>,
}

impl LogReader {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogStore {
    /// Opens the log in `dir`, which must exist, and cuts off what a crash has left half written.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(FILE);
        let file = File::options().read(true).write(true).create(true).open(&path).await?;
        files::sync_dir(dir).await?;
        let bytes = ringwork::fs::read(&path).await?;
        let (contents, end) = Contents::replay(&bytes);
        if end < bytes.len() as u64 {
            // Else what is appended now could make a record of a later life out of what is left behind it.
            file.set_len(end).await?;
            file.sync_all().await?;
        }
        let (writer, jobs) = mpsc::channel(WAITING);
        ringwork::spawn(Writer::new(dir, FILE, file, end).run(jobs));
        let reader = LogReader { contents: Arc::new(Mutex::new(contents)) };
        Ok(Self { reader, writer, written: end, replace_at: REPLACE_FROM.max(2 * end) })
    }

    /// Makes the change in memory and hands it to the writer, both or, if this is dropped before, neither.
    async fn change(&mut self, records: Vec<Record<EntryOf<TypeConfig>>>, done: Done) -> io::Result<()> {
        let mut bytes = Vec::new();
        for record in &records {
            files::seal(record, &mut bytes)?;
        }
        let room = self.writer.reserve().await.map_err(|_| gone())?;
        self.written += bytes.len() as u64;
        let mut contents = self.reader.contents();
        for record in records {
            contents.apply(record);
        }
        room.send(Job::Append { bytes, done });
        Ok(())
    }

    /// As [`change`](Self::change), and waits until it is on the device. If this is dropped, the change may
    /// have been made.
    async fn change_for_good(&mut self, record: Record<EntryOf<TypeConfig>>) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.change(vec![record], Done::Tell(done)).await?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Replaces the file, if enough of it is no longer needed.
    async fn shrink(&mut self) -> io::Result<()> {
        if self.written < self.replace_at {
            return Ok(());
        }
        let room = self.writer.reserve().await.map_err(|_| gone())?;
        // All that this holds, and nothing else, is what the jobs before this one have written: only this
        // store changes it, and not now.
        let mut bytes = Vec::new();
        self.reader.contents().write(&mut bytes)?;
        self.written = bytes.len() as u64;
        self.replace_at = REPLACE_FROM.max(2 * self.written);
        room.send(Job::Replace { bytes });
        Ok(())
    }
}

/// The writer ends only with its runtime.
fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the runtime of this log has shut down")
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<EntryOf<TypeConfig>>> {
        Ok(self.contents().entries(range))
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<TypeConfig>>> {
        Ok(self.contents().vote)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<EntryOf<TypeConfig>>> {
        self.reader.try_get_log_entries(range).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<TypeConfig>>> {
        self.reader.read_vote().await
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        Ok(self.reader.contents().log_state())
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<TypeConfig>) -> io::Result<()> {
        self.change_for_good(Record::Vote(*vote)).await
    }

    /// Not waited for: a node that has forgotten what was committed learns it again from the leader.
    async fn save_committed(&mut self, committed: Option<LogIdOf<TypeConfig>>) -> io::Result<()> {
        self.change(vec![Record::Committed(committed)], Done::Nobody).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogIdOf<TypeConfig>>> {
        Ok(self.reader.contents().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = EntryOf<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries.into_iter().map(Record::Entry).collect();
        self.change(records, Done::Flushed(flushed)).await
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<TypeConfig>>) -> io::Result<()> {
        self.change_for_good(Record::Truncate(last)).await
    }

    /// Not waited for: entries that come back after a crash are in the snapshot, too, and are purged again.
    async fn purge(&mut self, upto: LogIdOf<TypeConfig>) -> io::Result<()> {
        self.change(vec![Record::Purge(upto)], Done::Nobody).await?;
        self.shrink().await
    }
}
