//! What a request of `reqwest` costs on ringwork with a tokio runtime beside, in switches between threads,
//! next to what it costs on tokio alone.
//!
//! `price [REQUESTS] [TASKS]` makes so many requests (10,000) in so many tasks (1), each one after the other,
//! in a process for each way: on tokio's `current_thread` runtime, on a core of ringwork, and on a core that
//! gives each request as a whole to `tokio::spawn`. The server is a process of its own. For system calls, run
//! one way (`price WAY ADDRESS REQUESTS TASKS`, against `price serve`) under `strace -fc`.

use nix::sys::resource::{UsageWho, getrusage};
use reqwest::Client;
use ringwork_tokio_context_tests::{http, runtime};
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).map_or(default, |text| text.parse().unwrap());
    match arguments.first().map(String::as_str) {
        Some("serve") => serve(),
        Some(way @ ("tokio" | "ringwork" | "spawned")) => {
            one_way(way, &arguments[1], number(2, 10_000), number(3, 1))
        }
        _ => all_ways(number(0, 10_000), number(1, 1)),
    }
}

/// Serves until nobody holds the other end of its input.
fn serve() {
    let runtime = runtime(1);
    let server = runtime.block_on(http::serve()).unwrap();
    println!("{}", server.local_addr());
    let _ = std::io::stdin().read(&mut [0]);
}

fn all_ways(requests: usize, tasks: usize) {
    let itself = env::current_exe().unwrap();
    let mut server = Command::new(&itself);
    let server = server.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = server.spawn().unwrap();
    let mut address = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut address).unwrap();
    for way in ["tokio", "ringwork", "spawned"] {
        let (requests, tasks) = (requests.to_string(), tasks.to_string());
        let done = Command::new(&itself).args([way, address.trim(), &requests, &tasks]).status().unwrap();
        assert!(done.success());
    }
    drop(server.stdin.take());
    server.wait().unwrap();
}

fn one_way(way: &str, address: &str, requests: usize, tasks: usize) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{address}/path");
    let each = requests / tasks;
    let all = move |spawn: fn(Client, String, usize) -> Joined| async move {
        let tasks: Vec<Joined> = (0..tasks).map(|_| spawn(client.clone(), url.clone(), each)).collect();
        for task in tasks {
            task.await;
        }
    };
    let before = switches();
    match way {
        "tokio" => {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio.block_on(all(|client, url, each| {
                let task = tokio::spawn(async move { gets(&client, &url, each).await });
                Box::pin(async { task.await.unwrap() })
            }));
        }
        "ringwork" => runtime(1).run_main(move || {
            all(|client, url, each| {
                let task = ringwork::spawn(async move { gets(&client, &url, each).await });
                Box::pin(async { task.await.unwrap() })
            })
        }),
        _ => runtime(1).run_main(move || {
            all(|client, url, each| {
                let task = ringwork::spawn(async move {
                    for _ in 0..each {
                        let (client, url) = (client.clone(), url.clone());
                        tokio::spawn(async move { gets(&client, &url, 1).await }).await.unwrap();
                    }
                });
                Box::pin(async { task.await.unwrap() })
            })
        }),
    }
    let switched = (switches() - before) as f64 / (each * tasks) as f64;
    println!("{way:<10} {tasks:>4} tasks: {switched:.2} switches per request");
}

type Joined = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn gets(client: &Client, url: &str, count: usize) {
    for _ in 0..count {
        let answer = client.get(url).send().await.unwrap().text().await.unwrap();
        assert_eq!(answer, "/path");
    }
}

/// How often threads of this process have given their CPU away.
fn switches() -> i64 {
    getrusage(UsageWho::RUSAGE_SELF).unwrap().voluntary_context_switches()
}
