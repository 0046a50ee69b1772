//! Many calls at once: on one connection, and from every core.
#![forbid(unsafe_code)]

use crate::kit::support::{LIMIT, within};
use crate::kit::{Client, Service, client, everywhere, number, on_cores, ours};
use futures_util::{StreamExt, stream};
use ringwork::compat::tonic::Channel;
use ringwork::runtime::Builder;
use ringwork::time::sleep;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

const STREAMS: u64 = 100;
const MESSAGES: u64 = 100;

/// A dialogue in which each message waits for the one before.
async fn talk(mut client: Client) {
    let (says, mut said) = tokio::sync::mpsc::channel(1);
    let said = stream::poll_fn(move |cx| said.poll_recv(cx));
    let mut totals = client.totals(said).await.unwrap().into_inner();
    for value in 1..=MESSAGES {
        says.send(number(value)).await.unwrap();
        assert_eq!(totals.next().await.unwrap().unwrap().sum, value * (value + 1) / 2);
    }
    drop(says);
    assert!(totals.next().await.is_none());
}

#[test]
fn a_hundred_streams_share_a_connection() {
    everywhere(None, |scene| async move {
        let talks = (0..STREAMS).map(|_| talk(scene.client.clone()));
        futures_util::future::join_all(talks).await;
        scene.service.until(|log| (log.running, log.ended) == (0, STREAMS as usize)).await;
    });
}

#[test]
fn tasks_on_every_core_share_a_channel() {
    on_cores(3, |handle| async move {
        let service = Service::default();
        let server = ours::Server::start(service.clone(), None).await;
        let channel = ours::channel(server.address(), None);
        // The first call connects; the others meet that connection.
        client(channel.clone()).square(number(1)).await.unwrap();
        let talks: Vec<_> = (0..STREAMS as usize)
            .map(|index| {
                let channel = channel.clone();
                handle.spawn_on(index % 3, move || talk(client(channel)))
            })
            .collect();
        for talk in talks {
            talk.await.unwrap();
        }
        assert_eq!(server.connections(), 1);
        service.until(|log| (log.running, log.ended) == (0, 1 + STREAMS as usize)).await;
        drop(channel);
        assert!(server.stop().await);
    });
}

static SERVER: OnceLock<SocketAddr> = OnceLock::new();

ringwork::core_local! {
    static CHANNEL: Channel = ours::channel(*SERVER.get().expect("the server is up"), None);
}

#[test]
fn a_channel_for_each_core_has_a_connection_for_each() {
    on_cores(3, |handle| async move {
        let server = ours::Server::start(Service::default(), None).await;
        SERVER.set(server.address()).unwrap();
        for core in 0..3 {
            let call = || async { client(CHANNEL.with(Channel::clone)).square(number(6)).await };
            assert_eq!(handle.spawn_on(core, call).await.unwrap().unwrap().into_inner().value, 36);
        }
        let talks: Vec<_> = (0..STREAMS as usize)
            .map(|index| handle.spawn_on(index % 3, || talk(client(CHANNEL.with(Channel::clone)))))
            .collect();
        for talk in talks {
            talk.await.unwrap();
        }
        assert_eq!(server.connections(), 3);
        // The channels live on: their idle connections end as the server stops.
        assert!(server.stop().await);
    });
}

#[test]
fn a_channel_that_nobody_uses_for_a_day_keeps_its_connection() {
    within(LIMIT, || {
        let runtime = Builder::new().start_paused(true).build().unwrap();
        let idle = runtime.handle().spawn_on(0, || async {
            let server = ours::Server::start(Service::default(), None).await;
            let mut client = client(ours::channel(server.address(), None));
            for value in 1..=3 {
                assert_eq!(client.square(number(value)).await.unwrap().into_inner().value, value * value);
                sleep(Duration::from_secs(24 * 3600)).await;
            }
            assert_eq!(server.connections(), 1);
        });
        runtime.block_on(idle).unwrap();
    });
}
