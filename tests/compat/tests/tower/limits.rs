//! How long a client may take, by the paused clock of one core: limits are as long as they are in life.

use crate::kit::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use ringwork::compat::tower::{IncomingStream, serve};
use ringwork::net::TcpStream;
use ringwork::time::sleep;
use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::service_fn;

#[test]
fn whoever_sends_no_request_in_time_is_closed_whatever_it_began_with() {
    for beginning in
        ["", "PRI", "GET / HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"]
    {
        on_paused_core(move || async move {
            let talk = Talk::new();
            let server =
                serve(anywhere(), make!(talk)).head_time(Duration::from_secs(3600)).start().await.unwrap();
            let start = ringwork::time::Instant::now();
            let mut client = connect(&server).await;
            client.write_all(beginning.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            let _reset_or_end = client.read_to_end(&mut rest).await;
            assert!(start.elapsed() >= Duration::from_secs(3600), "{beginning:?}: {:?}", start.elapsed());
            assert_eq!(talk.begun.load(Ordering::SeqCst), usize::from(beginning.ends_with("a\r\n\r\n")));
        });
    }
}

#[test]
fn a_request_may_take_longer_than_its_head() {
    on_paused_core(|| async {
        let talk = Talk::new();
        let server = serve(anywhere(), make!(talk)).head_time(Duration::from_secs(5)).start().await.unwrap();
        let (mut client, mut http2) = (connect(&server).await, connect_http2(&server).await);
        let waits = async {
            talk.begun(2).await;
            sleep(Duration::from_secs(3600)).await;
            talk.go.add_permits(2);
        };
        let asks = futures_lite::future::zip(ask(&mut client, "/slow"), get(&mut http2, "/slow"));
        let (answers, ()) = futures_lite::future::zip(asks, waits).await;
        assert!(answers.0.starts_with("HTTP/1.1 200 "));
        assert_eq!(answers.1.unwrap().status(), 200);
    });
}

#[test]
fn a_response_may_take_longer_than_its_head_and_the_limit_begins_behind_it() {
    on_paused_core(|| async {
        const HOUR: Duration = Duration::from_secs(3600);
        let answer = |_: Request<Incoming>| async {
            let ticks = futures_lite::stream::unfold(0, |tick| async move {
                sleep(HOUR).await;
                (tick < 3).then(|| (Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"tick"))), tick + 1))
            });
            Ok::<_, Infallible>(Response::new(StreamBody::new(ticks)))
        };
        let make = service_fn(move |_: IncomingStream<'_>| ready(Ok::<_, Infallible>(service_fn(answer))));
        let server = serve(anywhere(), make).head_time(Duration::from_secs(60)).start().await.unwrap();
        let start = ringwork::time::Instant::now();
        let mut client = connect(&server).await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("tick\r\n0\r\n\r\n") && answer.matches("tick").count() == 3, "{answer}");
        let took = start.elapsed();
        assert!((HOUR * 4 + Duration::from_secs(60)..HOUR * 5).contains(&took), "{took:?}");
    });
}

/// The service answers at once, and a task of its own reads on.
#[test]
fn an_upload_may_go_on_behind_its_answer_for_longer_than_a_head() {
    on_paused_core(|| async {
        let (uploads, mut uploaded) = tokio::sync::mpsc::unbounded_channel();
        let accept = move |request: Request<Incoming>| {
            let uploads = uploads.clone();
            drop(ringwork::spawn(async move {
                uploads.send(request.into_body().collect().await.map(Collected::to_bytes)).unwrap();
            }));
            ready(Ok::<_, Infallible>(Response::builder().status(202).body(String::new()).unwrap()))
        };
        let make =
            service_fn(move |_: IncomingStream<'_>| ready(Ok::<_, Infallible>(service_fn(accept.clone()))));
        let server = serve(anywhere(), make).head_time(Duration::from_secs(60)).start().await.unwrap();
        for (framing, begin, end) in
            [("content-length: 15", "", ""), ("transfer-encoding: chunked", "f\r\n", "\r\n0\r\n\r\n")]
        {
            let mut client = connect(&server).await;
            let head = format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n{begin}");
            client.write_all(head.as_bytes()).await.unwrap();
            assert!(answer(&mut client).await.starts_with("HTTP/1.1 202 "), "{framing}");
            for byte in b"one by one by 1" {
                sleep(Duration::from_secs(20)).await;
                client.write_all(&[*byte]).await.unwrap();
            }
            client.write_all(end.as_bytes()).await.unwrap();
            let all = uploaded.recv().await.unwrap().expect("the body comes whole");
            assert_eq!(all, &b"one by one by 1"[..], "{framing}");
            // Behind it nothing more is read.
            ends(&mut client).await;
        }
    });
}

#[test]
fn a_client_that_stalls_in_the_head_behind_an_upload_is_closed_in_time() {
    on_paused_core(|| async {
        let talk = Talk::new();
        let server = serve(anywhere(), make!(talk)).head_time(Duration::from_secs(60)).start().await.unwrap();
        let mut client = connect(&server).await;
        let start = ringwork::time::Instant::now();
        client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx").await.unwrap();
        assert!(answer(&mut client).await.starts_with("HTTP/1.1 200 "));
        let (mut reader, mut writer) = tokio::io::split(client);
        let dribbles = async {
            for byte in b"GET / HTTP/1.1\r\nhost: a" {
                sleep(Duration::from_secs(20)).await;
                if writer.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
            std::future::pending().await
        };
        let mut rest = Vec::new();
        let _reset_or_end = futures_lite::future::or(reader.read_to_end(&mut rest), dribbles).await;
        let took = start.elapsed();
        assert!((Duration::from_secs(60)..Duration::from_secs(80)).contains(&took), "{took:?}");
        assert_eq!(talk.begun.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_client_may_take_its_time_to_read_an_answer_that_the_service_has_done_with() {
    on_paused_core(|| async {
        const LEN: usize = 32 << 20;
        let answer = |_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'x'; LEN]))))
        };
        let make = service_fn(move |_: IncomingStream<'_>| ready(Ok::<_, Infallible>(service_fn(answer))));
        let server = serve(anywhere(), make).head_time(Duration::from_secs(60)).start().await.unwrap();
        let mut client = connect(&server).await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'H');
        sleep(Duration::from_secs(3600)).await;
        let start = ringwork::time::Instant::now();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert!(rest.len() > LEN && rest.ends_with(&[b'x'; 1000]), "{} bytes", rest.len());
        assert!(start.elapsed() >= Duration::from_secs(60), "due from the end of the answer on");
    });
}

#[test]
fn an_idle_connection_of_http2_stays() {
    on_paused_core(|| async {
        let talk = Talk::new();
        let server = serve(anywhere(), make!(talk)).head_time(Duration::from_secs(5)).start().await.unwrap();
        let mut client = connect_http2(&server).await;
        for _ in 0..3 {
            assert_eq!(get(&mut client, "/").await.unwrap().status(), 200);
            sleep(Duration::from_secs(3600)).await;
        }
    });
}

#[test]
fn a_handshake_is_another_stream_for_the_service_and_may_fail_or_never_end() {
    on_paused_core(|| async {
        let talk = Talk::new();
        let make = service_fn({
            let talk = talk.clone();
            move |incoming: IncomingStream<'_, TokioIo<TcpStream>>| {
                let (talk, peer) = (talk.clone(), incoming.io().inner().peer_addr().unwrap());
                ready(Ok::<_, Infallible>(service_fn(move |request| talk.clone().answer(peer, request))))
            }
        });
        let serve =
            serve(anywhere(), make).head_time(Duration::from_secs(60)).handshake(|mut stream| async move {
                let word = stream.read_u8().await?;
                if word == b'!' { Ok(TokioIo::new(stream)) } else { Err(io::ErrorKind::InvalidData.into()) }
            });
        let server = serve.start().await.unwrap();
        let mut clients = [connect(&server).await, connect(&server).await, connect(&server).await];
        clients[0].write_all(b"!").await.unwrap();
        clients[1].write_all(b"?").await.unwrap();
        assert!(ask(&mut clients[0], "/").await.starts_with("HTTP/1.1 200 "));
        ends(&mut clients[1]).await;
        let start = ringwork::time::Instant::now();
        ends(&mut clients[2]).await;
        assert!(start.elapsed() >= Duration::from_secs(50), "{:?}", start.elapsed());
        assert_eq!(talk.begun.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn the_limit_holds_too_once_the_server_was_told_to_end() {
    on_paused_core(|| async {
        let talk = Talk::new();
        let server = serve(anywhere(), make!(talk)).head_time(Duration::from_secs(60)).start().await.unwrap();
        let mut client = connect(&server).await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-never-ends: aaaa").await.unwrap();
        sleep(Duration::from_secs(1)).await;
        // Told, and nobody waits: it is to end by itself.
        let told = futures_lite::future::poll_once(server.stop(Duration::from_secs(3600))).await;
        assert_eq!(told, None);
        let mut rest = Vec::new();
        let day = Duration::from_secs(24 * 3600);
        let ended = ringwork::time::timeout(day, client.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a client that stalls in its head keeps its connection for ever");
    });
}
