//! A cluster whose nodes die at random for as long as `RINGWORK_STRESS_SECONDS` says (60 by default), while
//! clients write: `cargo test --release -p ringwork-openraft --test cluster -- --ignored --nocapture`.

use crate::group::{Group, LIMIT};
use rand::RngExt as _;
use ringwork::time::{Duration, Instant, sleep};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const WRITERS: usize = 4;

/// Long enough that the logs are replaced, too.
fn value(key: &str) -> String {
    format!("{key} ").repeat(200)
}

#[ringwork::test(cores = 2)]
#[ignore = "runs for a minute or as long as it is told"]
async fn whatever_dies_at_random_no_acknowledged_write_is_lost() {
    let seconds = std::env::var("RINGWORK_STRESS_SECONDS").map_or(60, |text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut group = Group::start(&["--snapshot-every", "150"]).await;
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (mut client, over) = (group.client(), Arc::clone(&over));
            ringwork::spawn(async move {
                let mut written = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    // Each key once: a repeated write can overtake nothing.
                    let key = format!("{writer} {}", written.len());
                    client.put(&key, &value(&key), LIMIT).await.expect("a majority comes back each time");
                    written.push(key);
                }
                written
            })
        })
        .collect();
    let mut deaths = 0;
    while Instant::now() < end {
        sleep(Duration::from_millis(rand::rng().random_range(0..4_000))).await;
        let (first, count) = (rand::rng().random_range(0..3), rand::rng().random_range(1..=3));
        let dying = (0..count).map(|n| (first + n) % 3);
        dying.clone().for_each(|node| group.kill(node));
        sleep(Duration::from_millis(rand::rng().random_range(0..4_000))).await;
        dying.for_each(|node| group.restart(node));
        deaths += count;
    }
    over.store(true, Ordering::Relaxed);

    let (mut client, mut count) = (group.client(), 0);
    for writer in writers {
        for key in writer.await.expect("the writer ends well") {
            assert_eq!(client.get(&key, LIMIT).await.unwrap(), Some(value(&key)), "{key}");
            count += 1;
        }
    }
    println!("{count} writes outlived {deaths} deaths");
}
