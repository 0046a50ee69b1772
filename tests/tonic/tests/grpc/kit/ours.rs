//! Both sides on ringwork.
#![forbid(unsafe_code)]

use super::Service;
use futures_util::future::{Either, select};
use hyper::server::conn::http2;
use hyper_util::client::legacy::Client;
use hyper_util::service::TowerToHyperService;
use ringwork::compat::hyper::{Connector, Executor, Timer};
use ringwork::compat::tonic::{Calls, Channel};
use ringwork::net::TcpStream;
use ringwork::serve_per_core;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tonic::service::Routes;

pub(crate) struct Server {
    server: ringwork::Server,
    stop: watch::Sender<bool>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// On every core, on a free port.
    pub(crate) async fn start(service: Service, limit: Option<Duration>) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), service, limit).await
    }

    pub(crate) async fn start_at(address: SocketAddr, service: Service, limit: Option<Duration>) -> Self {
        let routes = Routes::new(service.server()).prepare();
        let calls = limit.map_or(Calls::new(routes.clone()), |limit| Calls::new(routes).limit(limit));
        let (stop, stopping) = watch::channel(false);
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let handler = move |stream: TcpStream, _peer| {
            count.fetch_add(1, Ordering::SeqCst);
            connection(stream, calls.clone(), stopping.clone())
        };
        let server = serve_per_core(address, handler).await.unwrap();
        Self { server, stop, connections }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Tells the connections to finish what they have. Returns whether they did.
    pub(crate) async fn stop(self) -> bool {
        self.stop.send_replace(true);
        self.server.stop(Duration::from_secs(20)).await
    }
}

async fn connection(stream: TcpStream, calls: Calls<Routes>, mut stop: watch::Receiver<bool>) {
    stream.set_nodelay(true).unwrap();
    let mut builder = http2::Builder::new(Executor);
    // More than the usual 20 calls that are cancelled before they began are no attack here.
    builder.max_pending_accept_reset_streams(10_000).max_local_error_reset_streams(10_000);
    let mut connection = pin!(builder.timer(Timer).serve_connection(stream, TowerToHyperService::new(calls)));
    let stopped = pin!(stop.wait_for(|stop| *stop));
    let told = matches!(select(connection.as_mut(), stopped).await, Either::Right(_));
    if told {
        connection.as_mut().graceful_shutdown();
        // A client that is gone is no news.
        let _ended = connection.await;
    }
}

pub(crate) fn channel(to: SocketAddr, window: Option<u32>) -> Channel {
    let server = format!("http://{to}").parse().unwrap();
    if window.is_some() { Channel::over(http(window), server) } else { Channel::new(server) }.unwrap()
}

/// What is below a channel.
pub(crate) fn http<B>(window: Option<u32>) -> Client<Connector, B>
where
    B: hyper::body::Body + Send,
    B::Data: Send,
{
    let mut builder = Client::builder(Executor);
    builder.http2_only(true).timer(Timer).pool_timer(Timer).http2_initial_stream_window_size(window);
    builder.build(Connector::new())
}
