//! How uploads end, frame by frame: in each way there is, and by a reset that is no error.
#![forbid(unsafe_code)]

use crate::kit::{Number, Service, Total, number, on_cores, ours, stock};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use hyper::server::conn::http1;
use hyper::{HeaderMap, Request};
use hyper_util::service::TowerToHyperService;
use prost::Message;
use ringwork::compat::tonic::Calls;
use ringwork::serve_per_core;
use std::io::{Read, Write};
use std::time::Duration;
use tonic::Code;

const SUM: &str = "/ringwork.numbers.v1.Numbers/Sum";

/// A message as gRPC frames it: not compressed, so long, itself.
fn framed(number: &Number) -> Vec<u8> {
    let message = number.encode_to_vec();
    let len = (message.len() as u32).to_be_bytes();
    [&[0], &len[..], &message].concat()
}

/// Runs a client that says itself which frames it sends.
fn with_frames<F: Future<Output = ()>>(test: impl FnOnce(Service, SendRequest<Bytes>) -> F + Send + 'static) {
    on_cores(2, |_| async {
        let service = Service::default();
        let server = ours::Server::start(service.clone(), None).await;
        let address = server.address();
        let client = move || {
            stock::block_on(async {
                let socket = tokio::net::TcpStream::connect(address).await.unwrap();
                let (client, connection) = h2::client::handshake(socket).await.unwrap();
                drop(tokio::spawn(connection));
                test(service, client).await;
            });
        };
        ringwork::spawn_blocking(client).await.unwrap();
        assert!(server.stop().await);
    });
}

/// Begins a call of `Sum`; whether its head is all there is.
async fn begin(client: &mut SendRequest<Bytes>, is_all: bool) -> (ResponseFuture, SendStream<Bytes>) {
    let request = Request::post(format!("http://localhost{SUM}")).header("content-type", "application/grpc");
    let request = request.header("te", "trailers").body(()).unwrap();
    client.clone().ready().await.unwrap().send_request(request, is_all).unwrap()
}

#[test]
fn an_upload_that_is_reset_without_an_error_is_not_taken_for_a_whole_one() {
    with_frames(|service, mut client| async move {
        for (calls, messages) in [(1, 0), (2, 1), (3, 7)] {
            let (_answer, mut upload) = begin(&mut client, false).await;
            for value in 0..messages {
                upload.send_data(framed(&number(value)).into(), false).unwrap();
            }
            service.until(|log| log.running == 1).await;
            upload.send_reset(Reason::NO_ERROR);
            service.until(|log| log.ended == calls).await;
            let log = service.log.borrow();
            assert_eq!((log.summed, log.broke), (0, Some(Code::Aborted)), "{messages} messages");
        }
    });
}

/// Where the flag is that ends a stream.
#[derive(Clone, Copy, Debug)]
enum End {
    Head,
    LastMessage,
    EmptyData,
    Trailers,
}

#[test]
fn an_upload_is_whole_whichever_frame_ends_it() {
    with_frames(|service, mut client| async move {
        for (before, end) in [End::Head, End::LastMessage, End::EmptyData, End::Trailers].iter().enumerate() {
            let is_empty = matches!(end, End::Head);
            let (answer, mut upload) = begin(&mut client, is_empty).await;
            if !is_empty {
                upload.send_data(framed(&number(30)).into(), false).unwrap();
                upload.send_data(framed(&number(12)).into(), matches!(end, End::LastMessage)).unwrap();
            }
            match end {
                End::EmptyData => upload.send_data(Bytes::new(), true).unwrap(),
                End::Trailers => upload.send_trailers(HeaderMap::new()).unwrap(),
                End::Head | End::LastMessage => {}
            }
            let mut body = answer.await.unwrap().into_body();
            let mut bytes = Vec::new();
            while let Some(data) = body.data().await {
                bytes.extend_from_slice(&data.unwrap());
            }
            let trailers = body.trailers().await.unwrap().unwrap();
            assert_eq!(trailers["grpc-status"], "0", "{end:?}");
            let expected = if is_empty { Total::default() } else { Total { count: 2, sum: 42 } };
            assert_eq!(Total::decode(&bytes[5..]).unwrap(), expected, "{end:?}");
            assert_eq!(service.log.borrow().summed, before + 1);
        }
    });
}

#[test]
fn an_upload_in_chunks_of_http1_is_whole_at_its_last_chunk_only() {
    on_cores(1, |_| async {
        let service = Service::default();
        let calls = Calls::new(service.clone().server());
        let server = serve_per_core("127.0.0.1:0".parse().unwrap(), move |stream, _| {
            let connection =
                http1::Builder::new().serve_connection(stream, TowerToHyperService::new(calls.clone()));
            async { drop(connection.await) }
        });
        let server = server.await.unwrap();
        let address = server.local_addr();
        let clients = move || {
            for last in ["0\r\n\r\n", ""] {
                let mut client = std::net::TcpStream::connect(address).unwrap();
                let head = "host: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
                write!(client, "POST {SUM} HTTP/1.1\r\n{head}").unwrap();
                let message = framed(&number(42));
                write!(client, "{:x}\r\n", message.len()).unwrap();
                client.write_all(&[&message[..], b"\r\n", last.as_bytes()].concat()).unwrap();
                if last.is_empty() {
                    client.shutdown(std::net::Shutdown::Write).unwrap();
                }
                let _end_or_reset = client.read_to_end(&mut Vec::new());
            }
        };
        ringwork::spawn_blocking(clients).await.unwrap();
        service.until(|log| log.ended == 2).await;
        assert_eq!(service.log.borrow().summed, 1);
        assert!(server.stop(Duration::from_secs(20)).await);
    });
}
