//! What a plain subscriber sees of ops: an event when one goes out, one when it is done, and what came of it.
#![forbid(unsafe_code)]

use ringwork::net::{TcpListener, TcpStream};
use ringwork::task::{Builder, yield_now};
use ringwork_tracing_tests::capture::{Told, capture};
use ringwork_tracing_tests::{runtime, wait_until};
use std::io;
use std::net::SocketAddr;

/// The events of the op that the event `first` began, in order.
fn story(first: &Told) -> Vec<Told> {
    let all = capture().ops(first.field("op"));
    let same = all.into_iter().filter(|told| told.field("op.id") == first.field("op.id"));
    // The number may have been another op's before, also that of another test, and be one's later.
    let is_first = |told: &Told| told.field("message") == "submitted" && told.span == first.span;
    let mut story: Vec<Told> = same.skip_while(|told| !is_first(told)).collect();
    let end =
        story.iter().position(|told| told.field("message") == "completed").map_or(story.len(), |at| at + 1);
    story.truncate(end);
    story
}

/// The events that the task with this name has been heard to begin.
fn begun_in(task: &str, op: &str) -> Vec<Told> {
    let span = capture().of_task(task)[0].span;
    let submitted = capture().ops(op).into_iter().filter(|told| told.field("message") == "submitted");
    submitted.filter(|told| told.span == span).collect()
}

#[track_caller]
fn assert_story(story: &[Told], result: Result<&str, &str>) {
    let messages: Vec<&str> = story.iter().map(|told| told.field("message")).collect();
    assert_eq!(messages, ["submitted", "completed"]);
    let done = &story[1];
    assert_eq!(done.field("fd"), story[0].field("fd"));
    assert_eq!(done.span, 0, "it is done in the core's loop");
    match result {
        Ok(result) => assert_eq!((done.field("result"), done.field("error")), (result, "")),
        Err(error) => {
            assert_eq!(done.field("result"), "");
            assert!(done.field("error").contains(error), "{done:?}");
        }
    }
    assert!(done.field("us").parse::<u64>().is_ok(), "{done:?}");
}

#[test]
fn an_op_is_told_when_it_goes_out_and_when_it_is_done_in_the_order_of_the_program() {
    let capture = capture();
    let path = std::env::temp_dir().join(format!("ringwork-tracing-{}", std::process::id()));
    let there = path.clone();
    let task = Builder::new().name("files");
    runtime(1).run_main(move || async move {
        let work = async move {
            let file = ringwork::fs::File::create(&there).await?;
            file.write_all_at("0123456789", 0).await.0?;
            file.sync_data().await
        };
        task.spawn(work).await.unwrap().unwrap();
    });
    std::fs::remove_file(&path).unwrap();
    let span = capture.of_task("files")[0].span;
    let submitted = |told: &Told| told.target == "ringwork::op" && told.field("message") == "submitted";
    let own: Vec<Told> =
        capture.told().into_iter().filter(|told| submitted(told) && told.span == span).collect();
    let names: Vec<&str> = own.iter().map(|told| told.field("op")).collect();
    assert_eq!(names, ["OPENAT2", "WRITE", "FSYNC"]);
    let opened = story(&own[0]);
    let fd = opened[1].field("result").to_string();
    assert_story(&opened, Ok(&fd));
    assert_eq!(own[1].field("fd"), fd);
    assert_story(&story(&own[1]), Ok("10"));
    assert_story(&story(&own[2]), Ok("0"));
    // One is done before the next goes out.
    let told = capture.told();
    let at = |op: &Told, message: &str| {
        let is_it = |told: &Told| {
            told.field("op") == op.field("op")
                && told.field("op.id") == op.field("op.id")
                && told.field("message") == message
        };
        told.iter().position(is_it).expect("it was told")
    };
    assert!(at(&own[0], "completed") < at(&own[1], "submitted"));
    assert!(at(&own[1], "completed") < at(&own[2], "submitted"));
}

#[test]
fn an_op_that_fails_tells_the_error_that_its_caller_gets() {
    capture();
    let task = Builder::new().name("connects");
    let error = runtime(1).run_main(move || async move {
        let nobody: SocketAddr = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        task.spawn(async move { TcpStream::connect(nobody).await.map(drop) }).await.unwrap().unwrap_err()
    });
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let begun = begun_in("connects", "CONNECT");
    assert_eq!(begun.len(), 1);
    assert_story(&story(&begun[0]), Err("Connection refused"));
}

#[test]
fn an_op_whose_future_is_dropped_is_told_to_its_end() {
    capture();
    let task = Builder::new().name("gives up");
    runtime(1).run_main(move || async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let receive = task.spawn(async move { server.recv(Vec::with_capacity(8)).await.0 });
        while begun_in("gives up", "RECV").is_empty() {
            yield_now().await;
        }
        receive.abort();
        assert!(receive.await.unwrap_err().is_cancelled());
        drop(client);
    });
    let begun = begun_in("gives up", "RECV");
    wait_until(|| story(&begun[0]).len() == 2);
    assert_story(&story(&begun[0]), Err(""));
}

#[test]
fn a_multishot_tells_each_result_and_its_end() {
    const CONNECTIONS: usize = 3;
    capture();
    let task = Builder::new().name("accepts");
    runtime(1).run_main(move || async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = task.spawn(async move {
            for _ in 0..CONNECTIONS {
                listener.accept().await.unwrap();
            }
        });
        for _ in 0..CONNECTIONS {
            TcpStream::connect(address).await.unwrap();
        }
        accepting.await.unwrap();
    });
    let begun = begun_in("accepts", "ACCEPT");
    let story = story(&begun[0]);
    let progressed: Vec<&Told> = story.iter().filter(|told| told.field("message") == "progressed").collect();
    assert!(progressed.len() >= CONNECTIONS, "{story:#?}");
    assert!(progressed.iter().all(|told| told.field("result").parse::<u32>().is_ok()), "descriptors");
    assert_eq!(story.last().unwrap().field("message"), "completed");
    assert_ne!(story.last().unwrap().field("error"), "", "the listener was closed");
}

#[test]
fn a_message_in_parts_tells_each_part_and_one_end() {
    capture();
    let task = Builder::new().name("sends much");
    runtime(1).run_main(move || async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let sending = task.spawn(async move { client.send_all(vec![7; 1 << 20]).await.0 });
        while !server.recv_pooled().await.unwrap().is_empty() {}
        sending.await.unwrap().unwrap();
    });
    let begun = begun_in("sends much", "SEND");
    let story = story(&begun[0]);
    let messages: Vec<&str> = story.iter().map(|told| told.field("message")).collect();
    let (last, parts) = messages.split_last().unwrap();
    assert_eq!(*last, "completed");
    assert!(parts.len() >= 4, "{messages:?}");
    assert!(
        parts.chunks(2).all(|part| part == ["submitted", "progressed"] || part == ["submitted"]),
        "{messages:?}"
    );
    let moved = story.iter().filter_map(|told| told.field("result").parse::<usize>().ok());
    assert_eq!(moved.sum::<usize>(), 1 << 20);
}
