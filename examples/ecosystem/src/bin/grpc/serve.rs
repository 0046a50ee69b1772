//! The server: tonic's routes on every core.
#![forbid(unsafe_code)]

use crate::args::Serve;
use crate::numbers::numbers_server::NumbersServer;
use crate::{PROGRAM, service};
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::server::conn::auto;
use ringwork::compat::hyper::Executor;
use ringwork::compat::tonic::Calls;
use ringwork::compat::tower::{IncomingStream, serve as serve_tower};
use ringwork::tls::Acceptor;
use ringwork_ecosystem::tls;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::service::Routes;
use tower_service::Service;

/// How often a client is asked whether it is still there, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIME: Duration = Duration::from_secs(20);

fn settings(http: &mut auto::Builder<Executor>) {
    http.http2().keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_TIME);
}

/// Serves until a signal says stop; then streams have time to end, and no new calls are taken.
pub(crate) async fn serve(args: Serve) -> Result<(), String> {
    // Asked by load balancers and by whoever waits for this server to be there.
    let (health, health_server) = tonic_health::server::health_reporter();
    health.set_serving::<NumbersServer<service::Counting>>().await;
    let mut calls = Calls::new(Routes::new(health_server).add_service(service::server()).prepare());
    if let Some(limit) = args.limit {
        calls = calls.limit(limit);
    }
    let server = serve_tower(PROGRAM.listen(args.listen), MakeCalls(calls)).http(settings);
    let Some((cert, key)) = &args.tls else { return PROGRAM.serve(args.listen, server.start()).await };
    let acceptor = Acceptor::new(tls::server_config(cert, key)?);
    let server = server.handshake(move |client| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(client).await }
    });
    PROGRAM.serve(args.listen, server.start()).await
}

/// Makes the service of each connection.
#[derive(Clone)]
struct MakeCalls(Calls<Routes>);

impl<Io> Service<IncomingStream<'_, Io>> for MakeCalls {
    type Response = CallsOf;
    type Error = Infallible;
    type Future = Ready<Result<CallsOf, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, incoming: IncomingStream<'_, Io>) -> Self::Future {
        ready(Ok(CallsOf { calls: self.0.clone(), peer: incoming.remote_addr() }))
    }
}

/// The calls of one client, whose handlers are told who it is.
#[derive(Clone)]
struct CallsOf {
    calls: Calls<Routes>,
    peer: SocketAddr,
}

impl Service<Request<Incoming>> for CallsOf {
    type Response = hyper::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = <Calls<Routes> as Service<Request<Incoming>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Incoming>>::poll_ready(&mut self.calls, cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(ConnectInfo(self.peer));
        self.calls.call(request)
    }
}
