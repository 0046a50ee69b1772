//! HTTP servers: hyper's hello over HTTP/1.1 and HTTP/2, and an axum application that routes and
//! answers in JSON. Application and protocol are the same code for all peers and are here; a peer's file says
//! how its runtime brings connections to them, as its documentation recommends. Floors answer with bytes
//! that they hold ready. HTTP/2 is served by one core.

pub(crate) mod epoll;
pub(crate) mod floor;
pub(crate) mod raw_http2;
#[cfg(feature = "ringwork")]
pub(crate) mod ringwork;
pub(crate) mod tokio;
pub(crate) mod tokio_multi;

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde::Serialize;
use socket2::SockRef;

use super::net::listen;
use super::questions::announce;
use crate::plan::Plan;

/// What hello answers.
pub(crate) const HELLO: &str = "Hello, World!";
/// What the application is asked for, and its answer.
pub(crate) const USER_PATH: &str = "/users/4711";
pub(crate) const USER_JSON: &str =
    r#"{"id":4711,"name":"Ada Lovelace","email":"ada@example.org","roles":["admin","author"],"active":true}"#;

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(HELLO.as_bytes()))))
}

/// What the handlers of the application share.
struct Users {
    domain: String,
}

#[derive(Serialize)]
struct User {
    id: u32,
    name: &'static str,
    email: String,
    roles: [&'static str; 2],
    active: bool,
}

async fn user(State(users): State<Arc<Users>>, Path(id): Path<u32>) -> Json<User> {
    let email = format!("ada@{}", users.domain);
    Json(User { id, name: "Ada Lovelace", email, roles: ["admin", "author"], active: true })
}

/// The application: one route of several is asked for, with a part of the path as its argument.
fn router() -> Router {
    Router::new()
        .route("/", get(|| async { "users" }))
        .route("/users", post(|| async { "made" }))
        .route("/users/{id}", get(user))
        .route("/users/{id}/posts", get(|| async { "none" }))
        .route("/health", get(|| async { "well" }))
        .with_state(Arc::new(Users { domain: "example.org".to_owned() }))
}

/// A listener of one core, whose address has been announced. Accepted sockets have no delay, for they inherit
/// it.
pub(super) fn listener(plan: &Plan) -> io::Result<TcpListener> {
    let listener = listen(plan.listen()?)?;
    SockRef::from(&listener).set_tcp_nodelay(true)?;
    announce(listener.local_addr()?)?;
    Ok(listener)
}

/// The same for those who poll.
pub(super) fn listener_without_blocking(plan: &Plan) -> io::Result<TcpListener> {
    let listener = listener(plan)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The answer that a floor holds ready: as hyper writes it for `body`, but with a date that stands.
fn ready_answer(plan: &Plan) -> io::Result<Vec<u8>> {
    let (content_type, body) = match plan.value::<String>("app")?.as_deref() {
        Some("json") => ("content-type: application/json\r\n", USER_JSON),
        _ => ("", HELLO),
    };
    let length = body.len();
    let date = "Thu, 01 Jan 1970 00:00:00 GMT";
    Ok(format!("HTTP/1.1 200 OK\r\n{content_type}content-length: {length}\r\ndate: {date}\r\n\r\n{body}")
        .into_bytes())
}

/// Whether these bytes end a request without a body.
fn ends_request(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\r\n\r\n")
}
