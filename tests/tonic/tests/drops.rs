//! What calls leave behind: those dropped at random, and those under way when a runtime ends.
#![deny(unsafe_code)]

#[path = "grpc/kit/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the other tests use the rest")]
mod kit;

use futures_util::future::{Either, select};
use futures_util::{StreamExt, stream};
use kit::pb::numbers_client::NumbersClient;
use kit::support::{LIMIT, Levels, Random, alone, on_cores, runtime, within};
use kit::{CountRequest, HANGS, Number, Service, number, ours};
use ringwork::compat::tonic::Channel;
use std::pin::pin;
use std::time::Duration;

const TASKS: usize = 60;
const CALLS: usize = 20;

/// Awaits a future, or drops it after some polls of the core; `None` then.
async fn perhaps<F: Future>(random: &mut Random, future: F) -> Option<F::Output> {
    let turns_max = if random.chance(3) { 2000 } else { 20 };
    let patience = random.below(turns_max);
    let mut turns = pin!(async {
        for _ in 0..patience {
            ringwork::task::yield_now().await;
        }
    });
    match select(pin!(future), turns.as_mut()).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// Reads a stream until it ends or patience does.
async fn read<T>(random: &mut Random, mut answers: tonic::Streaming<T>) {
    while let Some(Some(answer)) = perhaps(random, answers.next()).await {
        if answer.is_err() {
            break;
        }
    }
}

async fn calls(mut client: NumbersClient<Channel>, mut random: Random) {
    for _ in 0..CALLS {
        let padding = vec![5; random.below(40_000) as usize];
        let many = random.below(200);
        let numbers = stream::iter((0..many).map(move |value| Number { value, padding: padding.clone() }));
        match random.below(5) {
            0 => drop(perhaps(&mut random, client.square(number(3))).await),
            1 => drop(perhaps(&mut random, client.square(number(HANGS))).await),
            2 => drop(perhaps(&mut random, client.sum(numbers)).await),
            3 => {
                let request = CountRequest { to: many, pause_ms: 0, padding: 3000 };
                if let Some(Ok(counted)) = perhaps(&mut random, client.count(request)).await {
                    read(&mut random, counted.into_inner()).await;
                }
            }
            _ => {
                let numbers = numbers.chain(stream::pending());
                if let Some(Ok(totals)) = perhaps(&mut random, client.totals(numbers)).await {
                    read(&mut random, totals.into_inner()).await;
                }
            }
        }
    }
}

#[test]
fn calls_dropped_at_random_leave_nothing_behind() {
    let _alone = alone();
    let mut random = Random::announced();
    on_cores(3, move |handle| async move {
        let service = Service::default();
        let server = ours::Server::start(service.clone(), None).await;
        let start = Levels::of_idle_servers(&handle).await;
        let channel = ours::channel(server.address(), None);
        // Dropped while it connects, a call may leave that to others.
        NumbersClient::new(channel.clone()).square(number(1)).await.unwrap();
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| ringwork::spawn(calls(NumbersClient::new(channel.clone()), random.fork())))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        // The connection is as good as new.
        let mut client = NumbersClient::new(channel);
        assert_eq!(client.square(number(5)).await.unwrap().into_inner().value, 25);
        service.until(|log| log.running == 0).await;
        assert_eq!(server.connections(), 1);
        drop(client);
        start.return_on(&handle).await;
        assert!(server.stop().await);
    });
}

#[test]
fn a_runtime_that_ends_drops_the_calls_of_both_sides() {
    let _alone = alone();
    let service = Service::default();
    let log = service.log.subscribe();
    on_cores(2, move |handle| async move {
        let server = ours::Server::start(service.clone(), Some(Duration::from_secs(3600))).await;
        let channel = ours::channel(server.address(), None).timeout(Duration::from_secs(1800));
        for index in 0..50 {
            let mut client = NumbersClient::new(channel.clone());
            let call = move || async move {
                match index % 3 {
                    0 => drop(client.square(number(HANGS)).await),
                    1 => drop(client.sum(stream::pending()).await),
                    _ => {
                        let numbers = stream::iter([number(1)]).chain(stream::pending());
                        let mut totals = client.totals(numbers).await.unwrap().into_inner();
                        while totals.next().await.is_some() {}
                    }
                }
            };
            drop(handle.spawn_on(index % 2, call));
        }
        service.until(|log| log.running == 50).await;
        // Nothing is stopped: the runtime ends with all that (`on_cores` looks at its report).
    });
    let log = log.borrow();
    assert_eq!((log.running, log.ended, log.summed), (0, 50, 0));
}

#[test]
fn a_channel_connects_again_in_another_runtime() {
    let _alone = alone();
    within(LIMIT, || {
        let serves = runtime(1);
        let server = serves.block_on(ours::Server::start(Service::default(), None));
        let channel = ours::channel(server.address(), None);
        for _ in 0..3 {
            let calls = runtime(1);
            let mut client = NumbersClient::new(channel.clone());
            let answer = calls.block_on(client.square(number(4)));
            assert_eq!(answer.unwrap().into_inner().value, 16);
            assert!(calls.shutdown_timeout(LIMIT).is_clean());
        }
        drop(channel);
        assert!(serves.block_on(server.stop()));
        assert!(serves.shutdown_timeout(LIMIT).is_clean());
    });
}
