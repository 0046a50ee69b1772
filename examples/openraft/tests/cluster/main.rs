//! Real nodes, each a process of its own: they elect, die without a word, and lose nothing that they have
//! acknowledged. A killed process leaves what it has written to the kernel: that a write is acknowledged only
//! after the device has it is shown in `tests/storage.rs`.

mod group;
mod soak;

use group::{Group, LIMIT, until};
use ringwork_openraft::net::{Client, status};
use std::io::ErrorKind;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// For what will not be answered: longer than two elections.
const BRIEF: Duration = Duration::from_secs(5);

fn value(key: usize) -> String {
    format!("value of {key}")
}

async fn put(client: &mut Client, keys: std::ops::Range<usize>) {
    for key in keys {
        client.put(&key.to_string(), &value(key), LIMIT).await.expect("the cluster takes it");
    }
}

async fn expect(client: &mut Client, keys: impl IntoIterator<Item = usize>) {
    for key in keys {
        let found = client.get(&key.to_string(), LIMIT).await.expect("the cluster answers");
        assert_eq!(found, Some(value(key)));
    }
}

/// Waits until the node has the last of the keys, then expects them all.
async fn expect_here(address: &str, keys: std::ops::Range<usize>) {
    let last = (keys.end - 1).to_string();
    until("the node has caught up", async || {
        Client::get_local(address, &last).await.is_ok_and(|value| value.is_some())
    })
    .await;
    for key in keys {
        let found = Client::get_local(address, &key.to_string()).await.expect("the node answers");
        assert_eq!(found, Some(value(key)));
    }
}

#[ringwork::test(cores = 2)]
async fn a_cluster_goes_on_without_its_leader_and_takes_it_back() {
    let mut group = Group::start(&[]).await;
    let mut client = group.client();
    put(&mut client, 0..40).await;

    let leader = group.leader().await;
    let term = status(group.address(leader)).await.unwrap().term;
    group.kill(leader);
    put(&mut client, 40..80).await;
    expect(&mut client, 0..80).await;
    let next = group.leader().await;
    assert_ne!(next, leader);
    assert!(status(group.address(next)).await.unwrap().term > term);

    group.restart(leader);
    expect_here(group.address(leader), 0..80).await;
    // It is one of a majority again.
    let third = (0..3).find(|node| ![leader, next].contains(node)).unwrap();
    group.kill(third);
    put(&mut client, 80..90).await;
    expect(&mut client, 0..90).await;
}

#[ringwork::test(cores = 2)]
async fn what_was_acknowledged_outlives_the_sudden_death_of_all_nodes() {
    // The last word on the command line counts. On two cores Raft's tasks move.
    let mut group = Group::start(&["--cores", "2"]).await;
    put(&mut group.client(), 0..1).await;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (mut client, acknowledged) = (group.client(), Arc::clone(&acknowledged));
            ringwork::spawn(async move {
                let mut mine = Vec::new();
                for key in (1 + writer..).step_by(4) {
                    // Short, because when all are dead nobody will ever answer.
                    let limit = std::time::Duration::from_secs(5);
                    if client.put(&key.to_string(), &value(key), limit).await.is_err() {
                        return mine;
                    }
                    mine.push(key);
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                unreachable!("there are always more keys")
            })
        })
        .collect();
    until("some writes are acknowledged", async || acknowledged.load(Ordering::Relaxed) >= 100).await;
    (0..3).for_each(|node| group.kill(node));
    let mut keys = vec![0];
    for writer in writers {
        keys.extend(writer.await.unwrap());
    }
    assert!(keys.len() > 100);

    (0..3).for_each(|node| group.restart(node));
    expect(&mut group.client(), keys).await;
}

#[ringwork::test(cores = 2)]
async fn a_node_that_was_away_for_too_long_gets_a_snapshot_which_outlives_it_too() {
    let mut group = Group::start(&["--snapshot-every", "40"]).await;
    let leader = group.leader().await;
    let away = (leader + 1) % 3;
    group.kill(away);
    let mut client = group.client();
    put(&mut client, 0..200).await;
    // Until then it could still be sent them one by one.
    let purged = async || (0..3).filter(|node| *node != away).all(|node| group.has_purged(node, 50));
    until("the entries are purged", purged).await;

    group.restart(away);
    expect_here(group.address(away), 0..200).await;
    assert!(group.has_logged(leader, 50) && !group.has_logged(away, 50), "it was sent entry by entry");
    assert!(status(group.address(away)).await.unwrap().snapshot.is_some());

    (0..3).for_each(|node| group.kill(node));
    (0..3).for_each(|node| group.restart(node));
    expect(&mut client, 0..200).await;
    expect_here(group.address(away), 0..200).await;
}

#[ringwork::test(cores = 2)]
async fn a_node_whose_log_cannot_be_written_ends_and_the_others_go_on() {
    let mut group = Group::start(&[]).await;
    let mut client = group.client();
    let leader = group.leader().await;
    group.terminate(leader);
    // In blocks of 512 bytes.
    group.restart_limited(leader, 64);
    let value = "v".repeat(1_000);
    for key in 0..100 {
        client.put(&key.to_string(), &value, LIMIT).await.unwrap();
    }
    let complaint = group.ended(leader).await;
    assert!(complaint.contains("File too large"), "{complaint}");
    for key in 0..100 {
        assert_eq!(client.get(&key.to_string(), LIMIT).await.unwrap().as_ref(), Some(&value));
    }
}

#[ringwork::test(cores = 2)]
async fn a_command_that_is_too_long_is_refused_and_harms_nobody() {
    let group = Group::start(&[]).await;
    let mut client = group.client();
    let error = client.put("long", &"\u{1}".repeat(20_000), LIMIT).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
    put(&mut client, 0..3).await;
    assert_eq!(client.get("long", LIMIT).await.unwrap(), None);
}

#[ringwork::test(cores = 2)]
async fn the_programs_own_client_puts_gets_and_tells_the_state() {
    let group = Group::start(&[]).await;
    let run = |words: &[&str]| {
        let program = env!("CARGO_BIN_EXE_raft_kv");
        let nodes = group.addresses().join(",");
        let mut command = Command::new(program);
        command.args(words).args(["--cores", "1", "--nodes", &nodes]);
        ringwork::spawn_blocking(move || command.output().expect("the program was built"))
    };
    assert!(run(&["put", "colour", "green"]).await.unwrap().status.success());
    assert_eq!(run(&["get", "colour"]).await.unwrap().stdout, b"green\n");
    let missing = run(&["get", "smell"]).await.unwrap();
    assert_eq!((missing.status.code(), missing.stderr), (Some(1), b"raft_kv: smell has no value\n".to_vec()));
    let status = String::from_utf8(run(&["status"]).await.unwrap().stdout).unwrap();
    assert_eq!(status.lines().filter(|line| line.contains("leader: Some")).count(), 3, "{status}");
}

#[ringwork::test(cores = 2)]
async fn whoever_asks_nodes_that_are_no_cluster_is_told_to_begin_one() {
    let group = Group::strangers(&[]);
    let error = group.client().put("colour", "green", BRIEF).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let line = error.to_string();
    for node in 0..3 {
        assert!(line.contains(&format!("{}: in no cluster yet", group.address(node))), "{line}");
        until("the node says so", async || group.said(node).contains("in no cluster yet")).await;
    }
    assert!(line.starts_with("no leader answered in 5s") && line.ends_with("`raft_kv init`"), "{line}");
}

#[ringwork::test(cores = 2)]
async fn without_a_majority_nodes_and_clients_say_so_and_with_one_they_go_on() {
    let mut group = Group::start(&[]).await;
    put(&mut group.client(), 0..3).await;
    let leader = group.leader().await;
    let followers: Vec<_> = (0..3).filter(|node| *node != leader).collect();
    let leads = |term| format!("the leader is node {} (term {term})", leader + 1);
    let term = status(group.address(leader)).await.unwrap().term;
    for node in 0..3 {
        until("each says who leads", async || group.said(node).contains(&leads(term))).await;
    }

    // A leader alone does not know that it is none any more, but knows that nobody answers.
    followers.iter().for_each(|&node| group.kill(node));
    until("the leader says so", async || group.said(leader).contains("hears from no majority")).await;
    for get in [true, false] {
        let mut client = group.client();
        let error = match get {
            true => client.get("1", BRIEF).await.map(drop).unwrap_err(),
            false => client.put("1", "green", BRIEF).await.unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let line = error.to_string();
        let parts = ["no leader answered in 5s", "Connection refused", "a majority run and reach"];
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }

    // The others come back, one of them alone: it is no majority either.
    group.kill(leader);
    group.restart(followers[0]);
    until("it has lost its leader", async || group.said(followers[0]).contains("no leader:")).await;
    let error = group.client().get("1", BRIEF).await.unwrap_err().to_string();
    assert!(error.contains("knows no leader"), "{error}");
    group.restart(leader);
    expect(&mut group.client(), [0, 2]).await;
    let said = group.said(followers[0]);
    let last = said.lines().rfind(|line| line.contains("node")).unwrap();
    assert!(last.contains("the leader is node"), "{said}");
}

#[ringwork::test(cores = 2)]
async fn a_directory_serves_one_node_at_a_time() {
    let mut group = Group::start(&[]).await;
    let second = group.second_on(0).await;
    assert!(second.contains("another node has the directory"), "{second}");
    let stopped = group.terminate(0);
    assert!(stopped.success(), "{stopped}");
}

#[test]
fn wrong_arguments_are_one_line_and_exit_2() {
    for words in [
        &["serve"][..],
        &["serve", "--id", "1"],
        &["get", "key"],
        &["fly", "--nodes", "a"],
        &["init", "--nodes", "127.0.0.1:1"],
        &["--what"],
    ] {
        let ended = Command::new(env!("CARGO_BIN_EXE_raft_kv")).args(words).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{words:?}");
        assert_eq!(String::from_utf8(ended.stderr).unwrap().lines().count(), 1, "{words:?}");
    }
}
