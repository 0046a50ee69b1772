//! One request to the upstream and its response back.
//!
//! Owns the client: one pool of kept-alive connections for each core, so that a request meets connections of
//! its own core.
#![forbid(unsafe_code)]

use crate::download::{BoxError, Download};
use crate::headers::{self, NoHost};
use crate::upload::{Fault, Late, Upload};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, EXPECT, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Request, Response, StatusCode, Uri, Version, upgrade};
use hyper_util::client::legacy::Client;
use ringwork::compat::hyper::{Connector, Executor, Timer};
use ringwork_ecosystem::{Seldom, complain, for_hyper};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long the upstream may take to begin an answer, connecting included, once it has read the request; how
/// long either side may take for the next piece of that; and the upstream, for the next piece of its answer.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(30);
/// How long an unused connection to the upstream is kept.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// Unused connections kept per core.
const IDLE_MAX: usize = 64;

ringwork::core_local! {
    static CLIENT: Client<Connector, Upload> = Client::builder(Executor)
        .pool_timer(Timer)
        .timer(Timer)
        .pool_idle_timeout(IDLE_TIME)
        .pool_max_idle_per_host(IDLE_MAX)
        .build(Connector::new());
}

/// Where requests go.
pub(crate) struct Upstream {
    authority: Authority,
    /// That it does not answer.
    told: Seldom,
}

impl Upstream {
    /// `http://HOST[:PORT]`.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "not a URL")?;
        if uri.scheme_str() != Some("http") {
            return Err("expected http://HOST[:PORT]");
        }
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err("the upstream has no path: paths are the clients'");
        }
        let authority = uri.authority().cloned().ok_or("expected http://HOST[:PORT]")?;
        Ok(Self { authority, told: Seldom::default() })
    }

    fn uri(&self, path: Option<PathAndQuery>) -> Uri {
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(self.authority.clone()).path_and_query(path);
        uri.build().expect("the parts come from URIs")
    }
}

/// What a client gets.
pub(crate) type Answer = Response<BoxBody<Bytes, BoxError>>;

/// The usual methods among those that are passed on.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE");

/// Makes of a client's request what the upstream is to get, but for its body; gives the client's version.
fn readdress(
    request: &mut Request<Incoming>,
    peer: SocketAddr,
    over_tls: bool,
    upstream: &Upstream,
) -> Result<Version, NoHost> {
    let authority = request.uri().authority().cloned();
    *request.uri_mut() = upstream.uri(request.uri().path_and_query().cloned());
    let version = std::mem::replace(request.version_mut(), Version::HTTP_11);
    let head = request.headers_mut();
    let takes_trailers = headers::takes_trailers(head);
    let host = headers::take_host(head, authority.as_ref())?;
    headers::strip(head);
    if takes_trailers {
        headers::put_trailers(head);
    }
    headers::join_cookies(head);
    headers::put_via(head, version);
    // Our own server has answered it as soon as the upstream asks for the body.
    head.remove(EXPECT);
    headers::forwarded(head, peer.ip(), over_tls, host);
    Ok(version)
}

/// Passes a request on and its response back.
pub(crate) async fn forward(
    mut request: Request<Incoming>,
    peer: SocketAddr,
    over_tls: bool,
    upstream: Arc<Upstream>,
) -> Result<Answer, Infallible> {
    if request.method() == Method::CONNECT {
        // The upstream is whom requests go to: a tunnel through it would lead anywhere.
        let mut refused = refuse(StatusCode::METHOD_NOT_ALLOWED, "this proxy makes no tunnels\n");
        refused.headers_mut().insert(ALLOW, METHODS);
        return Ok(refused);
    }
    let asks = request.version() == Version::HTTP_11 && headers::is_websocket(request.headers());
    let client_side = asks.then(|| upgrade::on(&mut request));
    let Ok(version) = readdress(&mut request, peer, over_tls, &upstream) else {
        return Ok(refuse(StatusCode::BAD_REQUEST, "the request must name one host\n"));
    };
    if client_side.is_some() {
        headers::put_websocket(request.headers_mut());
    }

    let (head, body) = request.into_parts();
    let (upload, watch) = Upload::new(body, version, ANSWER_TIME);
    let sent = CLIENT.with(|client| client.request(Request::from_parts(head, upload)));
    let mut response = match watch.answer(ANSWER_TIME, sent).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            match watch.fault() {
                Some(Fault::Broken) => {
                    return Ok(refuse(StatusCode::BAD_REQUEST, "the request's body is broken\n"));
                }
                Some(Fault::Stalled) => return Ok(stopped()),
                None => {}
            }
            if upstream.told.is_due() {
                complain("http_proxy", format_args!("the upstream did not answer: {}", causes(&error)));
            }
            return Ok(refuse(StatusCode::BAD_GATEWAY, "the upstream did not answer\n"));
        }
        Err(Late::Upstream) => {
            return Ok(refuse(StatusCode::GATEWAY_TIMEOUT, "the upstream took too long\n"));
        }
        Err(Late::Client) => return Ok(stopped()),
    };
    // Each side speaks its own: what ends with the connection of an old upstream is sent in chunks, so that
    // the client can tell whether all of it has come.
    *response.version_mut() = Version::HTTP_11;
    let agrees = headers::is_websocket(response.headers());
    let status = response.status();
    headers::strip_response(response.headers_mut(), status);
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client_side) = client_side.filter(|_| agrees) else {
            return Ok(refuse(StatusCode::BAD_GATEWAY, "the upstream changed the protocol unasked\n"));
        };
        headers::put_websocket(response.headers_mut());
        drop(ringwork::spawn(pass_through(client_side, upgrade::on(&mut response))));
    }
    Ok(response.map(|body| Download::new(body, ANSWER_TIME).boxed()))
}

/// Carries bytes both ways until both ends have said that they are done, or one is lost.
async fn pass_through(client: upgrade::OnUpgrade, upstream: upgrade::OnUpgrade) {
    if let Ok((client, upstream)) = futures_util::future::try_join(client, upstream).await {
        let (mut client, mut upstream) = (for_hyper(client), for_hyper(upstream));
        // Whichever end broke, both are closed now.
        let _carried = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
    }
}

/// The answer to a client that does not send on.
fn stopped() -> Answer {
    refuse(StatusCode::REQUEST_TIMEOUT, "the request stopped coming\n")
}

fn refuse(status: StatusCode, why: &'static str) -> Answer {
    let body = Full::new(Bytes::from_static(why.as_bytes())).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// An error with all that is behind it.
fn causes(error: &dyn std::error::Error) -> String {
    let first = error.to_string();
    std::iter::successors(error.source(), |error| error.source())
        .fold(first, |all, error| format!("{all}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::Upstream;

    #[test]
    fn an_upstream_is_a_host_and_nothing_else() {
        for (url, good) in [
            ("http://a.example", true),
            ("http://[::1]:8080/", true),
            ("https://a.example", false),
            ("a.example:80", false),
            ("http://a.example/path", false),
        ] {
            assert_eq!(Upstream::parse(url).is_ok(), good, "{url}");
        }
    }
}
