//! The store against openraft's suite for storage, and what a crash leaves of it.

use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftLogStorageExt};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::vote::RaftLeaderId;
use openraft::{AsyncRuntime, RaftLogReader, StorageError};
use ringwork_openraft::log::LogStore;
use ringwork_openraft::runtime::RingworkRuntime;
use ringwork_openraft::state::StateMachine;
use ringwork_openraft::{Put, TypeConfig};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

struct InTempDir;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for InTempDir {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().expect("a directory");
        let log = LogStore::open(dir.path()).await.expect("a log");
        let machine = StateMachine::open(dir.path()).await.expect("a state machine");
        Ok((dir, log, machine))
    }
}

#[test]
fn openrafts_suite_for_storage_passes() {
    let mut runtime = RingworkRuntime::new(2);
    runtime.block_on(Suite::test_all(InTempDir)).expect("the suite passes");
}

fn id(term: u64, index: u64) -> LogIdOf<TypeConfig> {
    let leader = openraft::alias::LeaderIdOf::<TypeConfig>::new(term, 1);
    LogIdOf::<TypeConfig>::new(leader.to_committed(), index)
}

fn entry(term: u64, index: u64, value: &str) -> EntryOf<TypeConfig> {
    let put = Put { key: format!("key {index}"), value: value.to_owned() };
    EntryOf::<TypeConfig>::new_normal(id(term, index), put)
}

async fn indexes(log: &mut LogStore) -> Vec<(u64, u64)> {
    let entries = log.try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| (entry.log_id.leader_id.term, entry.log_id.index)).collect()
}

async fn open(dir: &Path) -> LogStore {
    LogStore::open(dir).await.unwrap()
}

#[ringwork::test(cores = 2)]
async fn a_log_that_is_opened_again_has_all_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).await;
    log.blocking_append((0..6).map(|index| entry(1, index, "old"))).await.unwrap();
    log.truncate_after(Some(id(1, 3))).await.unwrap();
    log.blocking_append([entry(2, 4, "new")]).await.unwrap();
    log.purge(id(1, 1)).await.unwrap();
    log.save_committed(Some(id(2, 4))).await.unwrap();
    let vote = VoteOf::<TypeConfig>::new_committed(2, 1);
    log.save_vote(&vote).await.unwrap();
    drop(log);

    let mut log = open(dir.path()).await;
    assert_eq!(indexes(&mut log).await, [(1, 2), (1, 3), (2, 4)]);
    assert_eq!(log.read_vote().await.unwrap(), Some(vote));
    assert_eq!(log.read_committed().await.unwrap(), Some(id(2, 4)));
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(1, 1)), Some(id(2, 4))));
}

#[ringwork::test(cores = 2)]
async fn a_log_that_was_cut_anywhere_ends_at_a_whole_entry_and_can_be_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).await;
    log.blocking_append((0..4).map(|index| entry(1, index, "value"))).await.unwrap();
    drop(log);
    let whole = fs::read(dir.path().join("log")).unwrap();
    let mut lengths = Vec::new();
    // Each takes a few syncs: not every length, but each kind of place in a record.
    for cut in (0..whole.len()).step_by(7).chain([whole.len()]) {
        fs::write(dir.path().join("log"), &whole[..cut]).unwrap();
        let mut log = open(dir.path()).await;
        let found = indexes(&mut log).await.len();
        assert!((0..found as u64).eq(indexes(&mut log).await.into_iter().map(|(_, index)| index)));
        log.blocking_append([entry(2, found as u64, "after the crash")]).await.unwrap();
        drop(log);
        assert_eq!(indexes(&mut open(dir.path()).await).await.len(), found + 1, "cut at {cut}");
        lengths.push(found);
    }
    assert!(lengths.is_sorted());
    assert_eq!((lengths.first(), lengths.last()), (Some(&0), Some(&4)));
}

/// A crash can leave this: a later page that is on the device and an earlier one that is not.
#[ringwork::test(cores = 2)]
async fn what_is_behind_a_damaged_record_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).await;
    log.blocking_append((0..4).map(|index| entry(1, index, "value"))).await.unwrap();
    drop(log);
    let path = dir.path().join("log");
    let mut bytes = fs::read(&path).unwrap();
    let second = bytes.len() / 4 + 20;
    bytes[second] ^= 0xff;
    fs::write(&path, &bytes).unwrap();

    let mut log = open(dir.path()).await;
    assert_eq!(indexes(&mut log).await, [(1, 0)]);
    log.blocking_append([entry(2, 1, "value")]).await.unwrap();
    drop(log);
    assert_eq!(indexes(&mut open(dir.path()).await).await, [(1, 0), (2, 1)]);
}

#[ringwork::test(cores = 2)]
async fn a_log_of_which_most_was_purged_becomes_shorter_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = open(dir.path()).await;
    let vote = VoteOf::<TypeConfig>::new_committed(1, 1);
    log.save_vote(&vote).await.unwrap();
    let value = "v".repeat(10_000);
    log.blocking_append((0..300).map(|index| entry(1, index, &value))).await.unwrap();
    let before = fs::metadata(&path).unwrap().len();
    log.purge(id(1, 289)).await.unwrap();
    // It is written behind the purge, to whichever file is the log then.
    log.blocking_append([entry(1, 300, &value)]).await.unwrap();
    let after = fs::metadata(&path).unwrap().len();
    assert!(before > 3_000_000 && after < 200_000, "{before} became {after} bytes");
    drop(log);

    let mut log = open(dir.path()).await;
    assert!(indexes(&mut log).await.into_iter().eq((290..=300).map(|index| (1, index))));
    assert_eq!(log.read_vote().await.unwrap(), Some(vote));
    assert_eq!(log.get_log_state().await.unwrap().last_purged_log_id, Some(id(1, 289)));
}

/// Those who wait for the device wait together.
#[ringwork::test(cores = 2)]
async fn appends_that_were_not_waited_for_are_acknowledged_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).await;
    let mut waiting = Vec::new();
    for index in 0..500 {
        let (flushed, answer) = TypeConfig::oneshot();
        log.append([entry(1, index, "value")], IOFlushed::signal(flushed)).await.unwrap();
        waiting.push(answer);
    }
    assert_eq!(indexes(&mut log).await.len(), 500, "all can be read before they are on the device");
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    drop(log);
    assert_eq!(indexes(&mut open(dir.path()).await).await.len(), 500);
}

/// The null device takes every write and refuses to sync: what has only been written is not acknowledged, and
/// after the first failure nothing is.
#[ringwork::test(cores = 2)]
async fn a_log_whose_device_does_not_sync_acknowledges_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/null", dir.path().join("log")).unwrap();
    let mut log = open(dir.path()).await;
    for index in 0..2 {
        let error = log.blocking_append([entry(1, index, "value")]).await.unwrap_err();
        assert!(error.to_string().contains("Invalid argument"), "{error}");
    }
    let error = log.save_vote(&VoteOf::<TypeConfig>::new_committed(1, 1)).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
}
