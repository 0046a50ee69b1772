//! The application: plain axum, which knows nothing of ringwork but where it takes time from.
#![forbid(unsafe_code)]

use crate::chat::{self, Room};
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often the clock ticks.
const TICK: Duration = Duration::from_millis(500);

/// What all requests share.
pub(crate) struct Shared {
    visits: AtomicU64,
    pub(crate) room: Room,
}

#[derive(Serialize)]
struct Greeting {
    hello: String,
    visit: u64,
    from: SocketAddr,
}

#[derive(Deserialize)]
struct Numbers {
    numbers: Vec<f64>,
}

#[derive(Serialize)]
struct Sum {
    count: usize,
    sum: f64,
}

#[derive(Serialize)]
struct Uploaded {
    bytes: u64,
    /// All bytes added up.
    sum: u64,
}

/// The routes.
pub(crate) fn router() -> Router {
    let shared = Arc::new(Shared { visits: AtomicU64::new(0), room: Room::new() });
    Router::new()
        .route("/", get(|| async { Html(include_str!("chat.html")) }))
        .route("/hello/{name}", get(hello))
        .route("/sum", post(sum))
        .route("/upload", post(upload).put(upload))
        .route("/clock", get(clock))
        .route("/chat", any(chat::enter))
        .with_state(shared)
}

async fn hello(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Path(hello): Path<String>,
) -> Json<Greeting> {
    Json(Greeting { hello, visit: shared.visits.fetch_add(1, Ordering::Relaxed) + 1, from })
}

async fn sum(Json(Numbers { numbers }): Json<Numbers>) -> Json<Sum> {
    Json(Sum { count: numbers.len(), sum: numbers.iter().sum() })
}

/// Takes a body of any length, piece by piece: none of it is kept.
async fn upload(body: Body) -> axum::response::Response {
    let (mut bytes, mut sum) = (0, 0);
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let Ok(piece) = piece else {
            return (StatusCode::BAD_REQUEST, "the upload broke off\n").into_response();
        };
        bytes += piece.len() as u64;
        sum += piece.iter().map(|&byte| u64::from(byte)).sum::<u64>();
    }
    Json(Uploaded { bytes, sum }).into_response()
}

/// Server-sent events, one per tick.
async fn clock() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::unfold(0u64, |tick| async move {
        if tick > 0 {
            ringwork::time::sleep(TICK).await;
        }
        Some((Ok(Event::default().event("tick").data(tick.to_string())), tick + 1))
    }))
}
