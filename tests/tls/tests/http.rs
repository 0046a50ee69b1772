//! hyper over encrypted streams, and its client with the pool.
#![forbid(unsafe_code)]

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::client::legacy::Client;
use hyper_util::server::conn::auto;
use ringwork::compat::hyper::{Connector as Plain, Executor, HttpsConnector, Timer};
use ringwork::net::TcpStream;
use ringwork::tls::{Acceptor, Connector};
use ringwork_tls_tests::certs::Authority;
use ringwork_tls_tests::on_cores;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Gives the body back, with the version in front.
async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut answer = format!("{:?} ", request.version()).into_bytes();
    if let Ok(body) = request.into_body().collect().await {
        answer.extend_from_slice(&body.to_bytes());
    }
    Ok(Response::new(Full::new(answer.into())))
}

/// A server on every core that offers these protocols.
async fn serve(authority: &Authority, alpn: &[&[u8]]) -> ringwork::Server {
    let mut config = authority.server_config_named("localhost");
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let acceptor = Acceptor::new(Arc::new(config));
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = ringwork::serve_per_core(address, move |stream: TcpStream, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let http = auto::Builder::new(Executor);
            let _ = http.serve_connection_with_upgrades(stream, service_fn(echo)).await;
        }
    });
    server.await.unwrap()
}

fn connector(authority: &Authority) -> HttpsConnector {
    let mut config = authority.client_config();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    HttpsConnector::new(Connector::new(Arc::new(config)))
}

#[test]
fn requests_go_over_the_protocol_that_both_have_agreed_on() {
    on_cores(2, |_| async {
        let authority = Authority::new();
        for (alpn, version) in
            [(&[b"h2".as_slice(), b"http/1.1"][..], Version::HTTP_2), (&[], Version::HTTP_11)]
        {
            let server = serve(&authority, alpn).await;
            let port = server.local_addr().port();
            let client: Client<_, Full<Bytes>> =
                Client::builder(Executor).pool_timer(Timer).timer(Timer).build(connector(&authority));
            for len in [0, 10, 100_000, 3_000_000] {
                let body = vec![b'x'; len];
                let request =
                    Request::post(format!("https://localhost:{port}/")).body(body.clone().into()).unwrap();
                let answer = client.request(request).await.unwrap();
                let got = answer.into_body().collect().await.unwrap().to_bytes();
                let head = format!("{version:?} ");
                assert!(got.starts_with(head.as_bytes()) && got[head.len()..] == body, "{len} bytes");
            }
            drop(client);
            assert!(server.stop(Duration::from_secs(20)).await);
        }
    });
}

#[test]
fn a_host_whose_certificate_is_for_another_one_is_refused() {
    on_cores(1, |_| async {
        let authority = Authority::new();
        let server = serve(&authority, &[]).await;
        let client: Client<_, Full<Bytes>> = Client::builder(Executor).build(connector(&authority));
        let uri = format!("https://127.0.0.1:{}/", server.local_addr().port());
        let error = client.get(uri.parse().unwrap()).await.unwrap_err();
        assert!(format!("{error:?}").contains("NotValidForName"), "{error:?}");
        server.stop(Duration::from_secs(5)).await;
    });
}

#[test]
fn the_plain_connector_names_the_one_that_speaks_https_and_that_one_speaks_http_too() {
    on_cores(1, |_| async {
        let plain: Client<_, Full<Bytes>> = Client::builder(Executor).build(Plain::new());
        let error = plain.get("https://localhost/".parse().unwrap()).await.unwrap_err();
        assert!(format!("{error:?}").contains("HttpsConnector"), "{error:?}");

        let server =
            ringwork::serve_per_core("127.0.0.1:0".parse().unwrap(), |stream: TcpStream, _| async move {
                let _ = auto::Builder::new(Executor).serve_connection(stream, service_fn(echo)).await;
            })
            .await
            .unwrap();
        let both: Client<_, Full<Bytes>> = Client::builder(Executor).build(connector(&Authority::new()));
        let uri = format!("http://{}/", server.local_addr());
        let answer = both.get(uri.parse().unwrap()).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "HTTP/1.1 ");
        drop(both);
        server.stop(Duration::from_secs(5)).await;
    });
}
