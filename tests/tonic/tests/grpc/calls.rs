//! Calls of each kind, between ringwork's sides and between each and tonic's own transport on tokio.
#![forbid(unsafe_code)]

use crate::kit::{CountRequest, FAILS, MESSAGE_MAX, Number, Total, everywhere, number};
use futures_util::{StreamExt, stream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tonic::{Code, Request};

#[test]
fn each_kind_of_call_answers() {
    everywhere(None, |mut scene| async move {
        let client = &mut scene.client;
        assert_eq!(client.square(number(12)).await.unwrap().into_inner().value, 144);

        let request = CountRequest { to: 5, pause_ms: 0, padding: 3 };
        let counted = client.count(request).await.unwrap().into_inner();
        let counted: Vec<_> = counted.map(|number| number.unwrap()).collect().await;
        let expected: Vec<_> = (1..=5).map(|value| Number { value, padding: vec![7; 3] }).collect();
        assert_eq!(counted, expected);

        let sum = client.sum(stream::iter((1..=100).map(number))).await.unwrap().into_inner();
        assert_eq!(sum, Total { count: 100, sum: 5050 });

        let totals = client.totals(stream::iter((1..=4).map(number))).await.unwrap().into_inner();
        let totals: Vec<_> = totals.map(|total| total.unwrap().sum).collect().await;
        assert_eq!(totals, [1, 3, 6, 10]);

        scene.service.until(|log| (log.running, log.ended) == (0, 4)).await;
    });
}

#[test]
fn each_message_of_a_dialogue_can_wait_for_the_one_before() {
    everywhere(None, |mut scene| async move {
        let (says, mut said) = tokio::sync::mpsc::channel(1);
        let said = stream::poll_fn(move |cx| said.poll_recv(cx));
        let mut totals = scene.client.totals(said).await.unwrap().into_inner();
        for value in 1..=200 {
            says.send(number(value)).await.unwrap();
            assert_eq!(totals.next().await.unwrap().unwrap().sum, value * (value + 1) / 2);
        }
        drop(says);
        assert!(totals.next().await.is_none());
    });
}

#[test]
fn metadata_and_statuses_arrive_as_they_are() {
    everywhere(None, |mut scene| async move {
        let client = &mut scene.client;
        let mut request = Request::new(number(2));
        request.metadata_mut().insert("caller", "a test".parse().unwrap());
        let response = client.square(request).await.unwrap();
        assert_eq!(response.metadata().get("caller").unwrap(), "a test");

        let status = client.square(number(1 << 32)).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message(), status.details()),
            (Code::OutOfRange, "zu groß: it does not fit\n", &b"\0details"[..])
        );
        assert_eq!(status.metadata().get("limit").unwrap(), &u64::MAX.to_string());
        assert_eq!(status.metadata().get_bin("raw-bin").unwrap().to_bytes().unwrap()[..], [0, 255]);
    });
}

#[test]
fn a_stream_that_fails_brings_what_was_before_and_then_the_status() {
    everywhere(None, |mut scene| async move {
        let request = CountRequest { to: FAILS, pause_ms: 0, padding: 0 };
        let mut counted = scene.client.count(request).await.unwrap().into_inner();
        for value in 1..=3 {
            assert_eq!(counted.next().await.unwrap().unwrap().value, value);
        }
        let status = counted.next().await.unwrap().unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Aborted, "three is enough"));
        assert!(counted.next().await.is_none());
        scene.service.until(|log| (log.running, log.ended) == (0, 1)).await;
    });
}

#[test]
fn a_message_over_the_limit_is_refused_on_either_side_and_the_connection_lives_on() {
    everywhere(None, |mut scene| async move {
        let padded = |len| Number { value: 3, padding: vec![1; len] };
        let most = padded(MESSAGE_MAX - 16);
        let answer = scene.client.square(most.clone()).await.unwrap().into_inner();
        assert_eq!(answer.padding, most.padding);
        let status = scene.client.square(padded(MESSAGE_MAX)).await.unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange, "{status}");
        let mut careful = scene.client.clone().max_decoding_message_size(1000);
        let status = careful.square(padded(1000)).await.unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange, "{status}");
        assert_eq!(scene.client.square(number(3)).await.unwrap().into_inner().value, 9);
    });
}

#[test]
fn ten_thousand_messages_wait_for_a_slow_reader() {
    const MESSAGES: u64 = 10_000;
    const WINDOW: u32 = 64 * 1024;
    // The window, what a server's HTTP/2 holds for a stream (400 KiB), and one buffer of tonic's.
    const AHEAD_MAX: u64 = 64 + 400 + 64;
    everywhere(Some(WINDOW), |mut scene| async move {
        let request = CountRequest { to: MESSAGES, pause_ms: 0, padding: 1024 };
        let mut counted = scene.client.count(request).await.unwrap().into_inner();
        for value in 1..=MESSAGES {
            assert_eq!(counted.next().await.unwrap().unwrap().value, value);
            if value % 20 == 0 {
                // A round trip on the same connection: the stream has all the time to get ahead.
                scene.client.square(number(value)).await.unwrap();
            }
            let ahead = scene.service.log.borrow().produced - value;
            assert!(ahead <= AHEAD_MAX, "{ahead} messages ahead of {value}");
        }
        assert!(counted.next().await.is_none());
    });
}

#[test]
fn ten_thousand_messages_go_each_way_at_once() {
    const MESSAGES: u64 = 10_000;
    everywhere(None, |mut scene| async move {
        let sent = Arc::new(AtomicU64::new(0));
        let counts = Arc::clone(&sent);
        let numbers = stream::iter((1..=MESSAGES).map(move |value| {
            counts.store(value, Ordering::Relaxed);
            Number { value, padding: vec![9; 1024] }
        }));
        let mut totals = scene.client.totals(numbers).await.unwrap().into_inner();
        let mut received = 0;
        while let Some(total) = totals.next().await {
            received += 1;
            assert_eq!(total.unwrap(), Total { count: received, sum: received * (received + 1) / 2 });
            assert!(received <= sent.load(Ordering::Relaxed));
        }
        assert_eq!(received, MESSAGES);
    });
}
