//! How calls end early: deadlines, cancelling, and either side going away or down.
#![forbid(unsafe_code)]

use crate::kit::pb::numbers_client::NumbersClient;
use crate::kit::{
    self, CountRequest, HANGS, PANICS, Scene, Service, everywhere, number, on_cores, ours, stock,
};
use futures_util::{FutureExt, StreamExt, stream};
use ringwork::time::timeout;
use std::time::Duration;
use tonic::{Code, Request};

/// Long enough to have begun on a machine that is busy with other things, short enough to wait for.
const SOON: Duration = Duration::from_secs(1);

/// Counts on and on, each number when the gate lets it through.
const GATED: CountRequest = CountRequest { to: 0, pause_ms: 1, padding: 0 };

#[test]
fn a_call_that_takes_longer_than_its_deadline_is_over_at_both_ends() {
    everywhere(None, |mut scene| async move {
        let mut request = Request::new(number(HANGS));
        request.set_timeout(SOON);
        let status = scene.client.square(request).await.unwrap_err();
        // tonic's own client calls this a cancel.
        assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
        scene.service.until(|log| (log.running, log.ended) == (0, 1)).await;
    });
}

#[test]
fn a_deadline_ends_a_stream_in_the_middle() {
    on_cores(2, |_| async {
        let service = Service::default();
        let server = ours::Server::start(service.clone(), None).await;
        let mut client = kit::client(ours::channel(server.address(), None).timeout(SOON));
        service.gate.add_permits(2);
        let mut counted = client.count(GATED).await.unwrap().into_inner();
        assert_eq!(counted.next().await.unwrap().unwrap().value, 1);
        assert_eq!(counted.next().await.unwrap().unwrap().value, 2);
        let status = counted.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        service.until(|log| (log.running, log.ended) == (0, 1)).await;
        drop(client);
        assert!(server.stop().await);
    });
}

#[test]
fn a_server_that_limits_calls_ends_them_itself() {
    on_cores(2, |_| async {
        let service = Service::default();
        let server = ours::Server::start(service.clone(), Some(SOON)).await;
        let address = server.address();
        let calls = move || {
            stock::block_on(async {
                let mut client = kit::client(stock::channel(address, None));
                let status = client.square(number(HANGS)).await.unwrap_err();
                assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
                let mut counted = client.count(GATED).await.unwrap().into_inner();
                let status = counted.next().await.unwrap().unwrap_err();
                assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
                // An upload that never ends.
                let status = client.sum(stream::pending()).await.unwrap_err();
                assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
                assert_eq!(client.square(number(5)).await.unwrap().into_inner().value, 25);
            });
        };
        ringwork::spawn_blocking(calls).await.unwrap();
        service.until(|log| (log.running, log.ended) == (0, 4)).await;
        assert!(server.stop().await);
    });
}

#[test]
fn a_server_ends_calls_whose_client_does_not_keep_its_own_deadline() {
    on_cores(2, |_| async {
        let service = Service::default();
        let server = ours::Server::start(service.clone(), None).await;
        // A client that knows nothing of deadlines, and passes the header on.
        let http = ours::http(None);
        let origin = format!("http://{}", server.address()).parse().unwrap();
        let mut client = NumbersClient::with_origin(http, origin);
        let mut request = Request::new(number(HANGS));
        request.set_timeout(SOON);
        let status = client.square(request).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        let mut request = Request::new(GATED);
        request.set_timeout(SOON);
        let mut counted = client.count(request).await.unwrap().into_inner();
        let status = counted.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        service.until(|log| (log.running, log.ended) == (0, 2)).await;
        drop(client);
        assert!(server.stop().await);
    });
}

#[test]
fn dropping_a_call_or_its_stream_drops_the_handler() {
    everywhere(None, |mut scene| async move {
        let mut other = scene.client.clone();
        let call = other.square(number(HANGS));
        let begun = scene.service.until(|log| log.running == 1);
        // The call is polled until its handler runs, then dropped.
        futures_util::select_biased! {
            () = begun.fuse() => {}
            answer = call.fuse() => panic!("it hangs, not {answer:?}"),
        }
        scene.service.until(|log| (log.running, log.ended) == (0, 1)).await;

        scene.service.gate.add_permits(1);
        let mut counted = scene.client.count(GATED).await.unwrap().into_inner();
        assert_eq!(counted.next().await.unwrap().unwrap().value, 1);
        drop(counted);
        scene.service.until(|log| (log.running, log.ended) == (0, 2)).await;
        assert_eq!(scene.client.square(number(4)).await.unwrap().into_inner().value, 16);
    });
}

#[test]
fn dropping_the_answers_ends_a_dialogue_in_which_the_client_has_more_to_say() {
    on_cores(2, |_| async {
        let service = Service::default();
        let server = ours::Server::start(service.clone(), None).await;
        let mut client = kit::client(ours::channel(server.address(), None));
        let numbers = stream::once(async { number(1) }).chain(stream::pending());
        let mut totals = client.totals(numbers).await.unwrap().into_inner();
        assert_eq!(totals.next().await.unwrap().unwrap().sum, 1);
        assert_eq!(service.log.borrow().running, 1);
        drop(totals);
        service.until(|log| (log.running, log.ended) == (0, 1)).await;
        drop(client);
        assert!(server.stop().await);
    });
}

/// The client has more to say than the server has room for, because nobody reads what the server answers.
#[test]
fn dropping_the_answers_ends_a_dialogue_that_is_stuck_in_both_directions() {
    on_cores(2, |_| async {
        let service = Service::default();
        let server = ours::Server::start(service.clone(), None).await;
        let mut client = kit::client(ours::channel(server.address(), Some(65_535)));
        let (said, mut saying) = tokio::sync::watch::channel(0u64);
        let numbers = stream::unfold((0, said), async |(value, said)| {
            said.send_replace(value);
            Some((number(value), (value + 1, said)))
        });
        let mut totals = client.totals(Box::pin(numbers)).await.unwrap().into_inner();
        assert_eq!(totals.next().await.unwrap().unwrap().count, 1);
        // It is stuck when no more numbers are asked for.
        let mut last = 0;
        while timeout(SOON, saying.wait_for(|said| *said > last)).await.is_ok() {
            last = *saying.borrow_and_update();
        }
        assert_eq!(service.log.borrow().running, 1);
        drop(totals);
        service.until(|log| (log.running, log.ended) == (0, 1)).await;
        drop(client);
        assert!(server.stop().await);
    });
}

#[test]
fn a_channel_may_be_told_to_wait_for_ever() {
    on_cores(2, |_| async {
        let server = ours::Server::start(Service::default(), None).await;
        let mut client = kit::client(ours::channel(server.address(), None).timeout(Duration::MAX));
        assert_eq!(client.square(number(4)).await.unwrap().into_inner().value, 16);
        drop(client);
        assert!(server.stop().await);
    });
}

#[test]
fn an_upload_that_is_cancelled_is_never_taken_for_a_whole_one() {
    on_cores(2, |_| async {
        let service = Service::default();
        let server = ours::Server::start(service.clone(), None).await;
        let mut client = kit::client(ours::channel(server.address(), None));
        for uploads in 1..=100 {
            let upload = client.sum(stream::iter(0..uploads).map(number).chain(stream::pending()));
            let begun = service.until(|log| log.running == 1);
            futures_util::select_biased! {
                () = begun.fuse() => {}
                sum = upload.fuse() => panic!("it has no end, not {sum:?}"),
            }
            service.until(|log| log.ended as u64 == uploads).await;
            assert_eq!(service.log.borrow().summed, 0, "{uploads}");
            assert!(matches!(service.log.borrow().broke, None | Some(Code::Aborted)));
        }
        drop(client);
        assert!(server.stop().await);
    });
}

#[test]
fn a_handler_that_panics_fails_its_call_and_no_other() {
    everywhere(None, |mut scene| async move {
        scene.service.gate.add_permits(1);
        let mut counted = scene.client.count(GATED).await.unwrap().into_inner();
        assert_eq!(counted.next().await.unwrap().unwrap().value, 1);
        let status = scene.client.square(number(PANICS)).await.unwrap_err();
        assert!(matches!(status.code(), Code::Cancelled | Code::Internal), "{status}");
        scene.service.gate.add_permits(1);
        assert_eq!(counted.next().await.unwrap().unwrap().value, 2);
        assert_eq!(scene.client.square(number(4)).await.unwrap().into_inner().value, 16);
    });
}

/// Calls that are under way when the client's whole runtime is dropped.
async fn begin_two_calls(mut scene: Scene) {
    scene.service.gate.add_permits(1);
    let mut counted = scene.client.count(GATED).await.unwrap().into_inner();
    assert_eq!(counted.next().await.unwrap().unwrap().value, 1);
    let upload = scene.client.sum(stream::pending());
    let begun = scene.service.until(|log| log.running == 2);
    futures_util::select_biased! {
        () = begun.fuse() => {}
        sum = upload.fuse() => panic!("it has no end, not {sum:?}"),
    }
    std::mem::forget(counted);
}

#[test]
fn handlers_of_a_client_that_vanishes_are_dropped() {
    on_cores(2, |_| async {
        let service = Service::default();
        let server = ours::Server::start(service.clone(), None).await;
        let (address, log) = (server.address(), service.clone());
        let calls = move || {
            stock::block_on(async {
                let client = kit::client(stock::channel(address, None));
                begin_two_calls(Scene { client, service: log }).await;
            });
        };
        ringwork::spawn_blocking(calls).await.unwrap();
        service.until(|log| (log.running, log.ended) == (0, 2)).await;
        assert!(server.stop().await);
    });
}

#[test]
fn a_server_that_vanishes_makes_calls_unavailable() {
    on_cores(2, |_| async {
        let service = Service::default();
        let server = ringwork::spawn_blocking({
            let service = service.clone();
            || stock::Server::start(service)
        });
        let server = server.await.unwrap();
        let mut client = NumbersClient::new(ours::channel(server.address, None));
        service.gate.add_permits(1);
        let mut counted = client.count(GATED).await.unwrap().into_inner();
        assert_eq!(counted.next().await.unwrap().unwrap().value, 1);
        let mut other = client.clone();
        let hangs = ringwork::spawn(async move { other.square(number(HANGS)).await });
        service.until(|log| log.running == 2).await;
        ringwork::spawn_blocking(|| server.vanish()).await.unwrap();
        let status = counted.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        let status = hangs.await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        let status = client.square(number(1)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "nobody listens there: {status}");
    });
}

#[test]
fn a_server_that_stops_finishes_its_streams_and_a_channel_finds_the_next_server() {
    on_cores(2, |_| async {
        let service = Service::default();
        let server = ours::Server::start(service.clone(), None).await;
        let address = server.address();
        let mut client = kit::client(ours::channel(address, None));
        service.gate.add_permits(1);
        let request = CountRequest { to: 50, ..GATED };
        let mut counted = client.count(request).await.unwrap().into_inner();
        assert_eq!(counted.next().await.unwrap().unwrap().value, 1);

        let stopped = ringwork::spawn(server.stop());
        service.gate.add_permits(50);
        for value in 2..=50 {
            assert_eq!(counted.next().await.unwrap().unwrap().value, value);
        }
        assert!(counted.next().await.is_none(), "the stream ends well");
        assert!(stopped.await.unwrap(), "the connection ends with it");
        let status = client.square(number(2)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");

        let next = ours::Server::start_at(address, service, None).await;
        assert_eq!(client.square(number(3)).await.unwrap().into_inner().value, 9);
        drop(client);
        assert!(next.stop().await);
    });
}
