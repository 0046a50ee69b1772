//! A room in which every line reaches everybody.
#![forbid(unsafe_code)]

use crate::app::Shared;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderValue, Method, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use futures_util::future::{Either, select};
use futures_util::{SinkExt, StreamExt};
use hyper::ext::Protocol;
use hyper::upgrade::{OnUpgrade, Upgraded};
use ringwork_ecosystem::for_hyper;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Lines that somebody who reads slowly may be behind before some are skipped.
const BACKLOG: usize = 256;
/// Bytes of the longest line. The last [`BACKLOG`] lines are kept for as long as anybody is behind, so the
/// product of both is what the room takes; tungstenite's own limit is 64 MiB a line.
const LINE_MAX: usize = 4096;

/// Who is in the room hears what is said in it.
pub(crate) struct Room(broadcast::Sender<String>);

impl Room {
    /// An empty room.
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

/// Lets a client in: agrees to speak WebSocket, and joins once the connection, or the stream of HTTP/2
/// (RFC 8441), is upgraded.
pub(crate) async fn enter(State(shared): State<Arc<Shared>>, mut request: Request) -> Response {
    let agreed = agree(&request);
    let (Some(response), Some(upgrade)) = (agreed, request.extensions_mut().remove::<OnUpgrade>()) else {
        return refuse(request.version());
    };
    drop(ringwork::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            talk(upgraded, &shared.room).await;
        }
    }));
    response
}

/// The version of WebSocket that is spoken here, and the only one there is (RFC 6455).
const SPOKEN: HeaderValue = HeaderValue::from_static("13");

/// The answer to who asks for something else, or for another version: what to ask for (RFC 6455, 4.2.2).
fn refuse(version: Version) -> Response {
    let spoken = (SEC_WEBSOCKET_VERSION, SPOKEN);
    let why = "this speaks WebSocket only, in version 13\n";
    if version == Version::HTTP_2 {
        // It has no upgrade, and allows no header that would ask for one.
        return (StatusCode::BAD_REQUEST, [spoken], why).into_response();
    }
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    (StatusCode::UPGRADE_REQUIRED, upgrade, [spoken], why).into_response()
}

/// The answer to a request for WebSocket, if it is one.
fn agree(request: &Request) -> Option<Response> {
    let mut response = Response::new(Body::empty());
    if request.headers().get(SEC_WEBSOCKET_VERSION)? != SPOKEN {
        return None;
    }
    if request.method() == Method::CONNECT {
        let protocol = request.extensions().get::<Protocol>();
        return protocol.filter(|protocol| protocol.as_str() == "websocket").map(|_| response);
    }
    let protocol = request.headers().get(UPGRADE)?;
    let key = request.headers().get(SEC_WEBSOCKET_KEY)?;
    if !protocol.as_bytes().eq_ignore_ascii_case(b"websocket") {
        return None;
    }
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = derive_accept_key(key.as_bytes());
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept.parse().expect("base64 is a header value"));
    Some(response)
}

/// Passes lines both ways until the client leaves.
async fn talk(upgraded: Upgraded, room: &Room) {
    let mut heard = room.0.subscribe();
    // A frame is kept until it is whole, and so are the fragments of a message.
    let limits = WebSocketConfig::default().max_message_size(Some(LINE_MAX)).max_frame_size(Some(LINE_MAX));
    let socket = WebSocketStream::from_raw_socket(for_hyper(upgraded), Role::Server, Some(limits)).await;
    let (mut sends, mut receives) = socket.split();
    loop {
        let (next, hears) = (pin!(receives.next()), pin!(heard.recv()));
        let (said, line) = match select(next, hears).await {
            Either::Left((said, _)) => (said, None),
            Either::Right((line, _)) => (None, Some(line)),
        };
        match (said, line) {
            (Some(Ok(Message::Text(text))), _) => drop(room.0.send(text.to_string())),
            // Pings are answered inside, and so is a close, by whoever reads on to the end behind it.
            (Some(Ok(_)), _) => {}
            (_, Some(Ok(line))) => {
                if sends.send(Message::text(line)).await.is_err() {
                    return;
                }
            }
            (_, Some(Err(RecvError::Lagged(_)))) => {}
            (Some(Err(Error::Capacity(_))), _) => {
                // tungstenite stops reading and leaves it to us to say why.
                let close = CloseFrame { code: CloseCode::Size, reason: "the line is too long".into() };
                let _gone_already = sends.send(Message::Close(Some(close))).await;
                return;
            }
            _ => return,
        }
    }
}
