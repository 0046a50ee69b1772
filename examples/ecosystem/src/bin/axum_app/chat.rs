//! A room in which every line reaches everybody.
#![forbid(unsafe_code)]

use crate::app::Shared;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::future::{Either, select};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use ringwork_ecosystem::for_hyper;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Lines that somebody who reads slowly may be behind before some are skipped.
const BACKLOG: usize = 256;

/// Who is in the room hears what is said in it.
pub(crate) struct Room(broadcast::Sender<String>);

impl Room {
    /// An empty room.
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

/// Lets a client in: agrees to speak WebSocket, and joins once the connection is upgraded.
pub(crate) async fn enter(State(shared): State<Arc<Shared>>, mut request: Request) -> Response {
    let headers = request.headers();
    let asks =
        headers.get(UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| asks);
    let accept = key.map(|key| derive_accept_key(key.as_bytes()));
    let (Some(accept), Some(upgrade)) = (accept, request.extensions_mut().remove::<OnUpgrade>()) else {
        return (StatusCode::UPGRADE_REQUIRED, "this speaks WebSocket only\n").into_response();
    };
    drop(ringwork::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            talk(upgraded, &shared.room).await;
        }
    }));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept.parse().expect("base64 is a header value"));
    response
}

/// Passes lines both ways until the client leaves.
async fn talk(upgraded: Upgraded, room: &Room) {
    let mut heard = room.0.subscribe();
    let socket = WebSocketStream::from_raw_socket(for_hyper(upgraded), Role::Server, None).await;
    let (mut sends, mut receives) = socket.split();
    loop {
        let (next, hears) = (pin!(receives.next()), pin!(heard.recv()));
        let (said, line) = match select(next, hears).await {
            Either::Left((said, _)) => (said, None),
            Either::Right((line, _)) => (None, Some(line)),
        };
        match (said, line) {
            (Some(Ok(Message::Text(text))), _) => drop(room.0.send(text.to_string())),
            // Pings are answered inside; others say nothing.
            (Some(Ok(message)), _) if !message.is_close() => {}
            (_, Some(Ok(line))) => {
                if sends.send(Message::text(line)).await.is_err() {
                    return;
                }
            }
            (_, Some(Err(RecvError::Lagged(_)))) => {}
            _ => return,
        }
    }
}
