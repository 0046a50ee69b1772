//! `reqwest`, unchanged, in tasks of ringwork.

use reqwest::{Certificate, Client};
use ringwork_tokio_context_tests::{http, runtime, soon};
use std::net;
use std::sync::Arc;
use std::time::Duration;

/// The client looks for a provider of algorithms even if it never encrypts.
fn client() -> reqwest::ClientBuilder {
    // Not the first time: another test has.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy()
}

#[test]
fn a_client_is_shared_by_tasks_on_all_cores() {
    soon(|| {
        let runtime = runtime(2);
        let (server, client) = (runtime.block_on(http::serve()).unwrap(), client().build().unwrap());
        let address = server.local_addr();
        let tasks: Vec<_> = (0..20)
            .map(|task| {
                let client = client.clone();
                runtime.spawn(async move {
                    for round in 0..10 {
                        ringwork::core::move_to(round % 2).await;
                        let path = format!("/task/{task}/{round}");
                        let answer = client.get(format!("http://{address}{path}")).send().await.unwrap();
                        assert_eq!(answer.status(), 200);
                        assert_eq!(answer.text().await.unwrap(), path);
                    }
                })
            })
            .collect();
        for task in tasks {
            runtime.block_on(task).unwrap();
        }
        drop(client);
        assert!(runtime.block_on(server.stop(Duration::from_secs(20))), "its connections are closed");
    });
}

#[test]
fn a_name_is_looked_up() {
    soon(|| {
        let runtime = runtime(1);
        let server = runtime.block_on(http::serve()).unwrap();
        let (port, client) = (server.local_addr().port(), client().build().unwrap());
        let task = runtime.spawn(async move {
            client.get(format!("http://localhost:{port}/name")).send().await.unwrap().text().await.unwrap()
        });
        assert_eq!(runtime.block_on(task).unwrap(), "/name");
    });
}

#[test]
fn a_request_is_encrypted() {
    soon(|| {
        let runtime = runtime(2);
        let (server, der) = runtime.block_on(http::serve_tls()).unwrap();
        let trusted = Certificate::from_der(&der).unwrap();
        let client = client().tls_certs_only([trusted]).build().unwrap();
        let url = format!("https://localhost:{}", server.local_addr().port());
        let task = runtime.spawn(async move {
            for round in 0..4 {
                ringwork::core::move_to(round % 2).await;
                let answer = client.get(format!("{url}/secret/{round}")).send().await.unwrap();
                assert_eq!(answer.text().await.unwrap(), format!("/secret/{round}"));
            }
        });
        runtime.block_on(task).unwrap();
    });
}

#[test]
fn a_request_that_is_not_answered_runs_out_of_time() {
    soon(|| {
        let runtime = runtime(1);
        // The kernel accepts, and nobody answers.
        let silent = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let client = client().timeout(Duration::from_millis(20)).build().unwrap();
        let task = runtime.spawn(async move { client.get(format!("http://{address}/")).send().await });
        assert!(runtime.block_on(task).unwrap().unwrap_err().is_timeout());
    });
}

#[test]
fn requests_in_flight_end_with_the_runtime() {
    soon(|| {
        let runtime = runtime(2);
        let silent = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let (client, held) = (client().build().unwrap(), Arc::new(()));
        for _ in 0..10 {
            let (client, held) = (client.clone(), Arc::clone(&held));
            drop(runtime.spawn(async move {
                let _held = held;
                client.get(format!("http://{address}/")).send().await
            }));
        }
        for _ in 0..10 {
            silent.accept().unwrap();
        }
        let report = runtime.shutdown_timeout(Duration::from_secs(20));
        assert!(report.is_clean(), "{report}");
        assert_eq!(Arc::strong_count(&held), 1);
    });
}
