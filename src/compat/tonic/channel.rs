//! The service under a generated client.
#![forbid(unsafe_code)]

use super::answer::AnswerBody;
use super::body::CallBody;
use super::deadline::{Deadline, LONGEST, TIMEOUT};
use super::failure;
use super::request::{RequestBody, Wanted};
use crate::compat::hyper::{Connector, Executor, Timer};
use ::tonic::Status;
use ::tonic::body::Body;
use hyper::header::HeaderValue;
use hyper::http::uri::{Authority, Scheme};
use hyper::{Request, Uri};
use hyper_util::client::legacy::connect::Connect;
use hyper_util::client::legacy::{Client, ResponseFuture};
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_service::Service;

/// Calls to one server: what generated clients are made of.
///
/// It connects with the first call and again with the first call after the connection was lost; a call that
/// had not left by then goes to the new one. All clones share one HTTP/2 connection, whose task lives on the
/// core that connected. Clones may be used on other cores, at the price of wakes across cores; a channel for
/// each core, in a [`core_local!`](crate::core_local), has none.
///
/// A call fails with `UNAVAILABLE` if the server cannot be reached or the connection is lost, and with
/// `DEADLINE_EXCEEDED` when the time of its request (`tonic::Request::set_timeout`) or of the channel is
/// over: the whole call's, streams included. Dropping a call or its stream cancels it at the server; one that
/// does not read what the client is still sending, and has no room for more of it, is told when it reads on
/// (hyper resets a stream only with the next piece that it can send).
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() {
/// use ringwork::compat::tonic::Channel;
/// use std::time::Duration;
/// use tower_service::Service;
///
/// let channel = Channel::new("http://[::1]:50051".parse().unwrap()).unwrap();
/// // What a generated client does with it: `NumbersClient::new(channel)`.
/// let mut channel = channel.timeout(Duration::from_secs(5));
/// let call = channel.call(hyper::Request::new(tonic::body::Body::empty()));
/// # drop(call);
/// # }
/// ```
///
/// # Panics
/// Its calls panic when they are polled outside of a runtime.
#[derive(Clone)]
pub struct Channel<C = Connector> {
    client: Client<C, RequestBody>,
    scheme: Scheme,
    authority: Authority,
    timeout: Option<(Duration, HeaderValue)>,
}

impl Channel {
    /// A channel to `http://HOST[:PORT]`, over TCP. Nobody is connected to yet.
    ///
    /// A server that is gone without a word is given up 40 s after its last one, calls open or not: TCP asks
    /// it from the 20th second on (`SO_KEEPALIVE`), and what it does not acknowledge has as much time
    /// (`TCP_USER_TIMEOUT`). A server that hangs while its kernel answers for it is not found out like that:
    /// calls should have a [`timeout`](Self::timeout). There are no pings of HTTP/2, because many servers of
    /// gRPC end the connection of a client that sends more than one in five minutes (`too_many_pings`); a
    /// client that the server allows them is one for [`Channel::over`].
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if the URI has another scheme or names no host.
    pub fn new(server: Uri) -> Result<Self, Status> {
        if server.scheme() != Some(&Scheme::HTTP) {
            return Err(Status::invalid_argument(
                "the channel's URI must begin with http:// (https: with_connector)",
            ));
        }
        Self::with_connector(Connector::of_channel(), server)
    }
}

impl<C> Channel<C> {
    /// As [`Channel::new`], to whatever `connector` connects to by this URI: over TLS with the
    /// `HttpsConnector` of [`compat::hyper`](crate::compat::hyper), whose configuration must offer `h2`.
    ///
    /// How a server that is gone without a word is found out is the connector's affair. Those of
    /// `compat::hyper` have TCP ask it while nothing is under way to it.
    ///
    /// ```
    /// # use ringwork::compat::{hyper::Connector, tonic::Channel};
    /// # fn channel(server: hyper::Uri) -> Result<Channel, tonic::Status> {
    /// Channel::with_connector(Connector::new(), server)
    /// # }
    /// # channel("http://[::1]:50051".parse().unwrap()).unwrap();
    /// ```
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if the URI is not absolute.
    pub fn with_connector(connector: C, server: Uri) -> Result<Self, Status>
    where
        C: Connect + Clone,
    {
        let mut builder = Client::builder(Executor);
        // Else the pool gives up a connection that has been idle for 90 s.
        builder.http2_only(true).timer(Timer).pool_idle_timeout(None);
        Self::over(builder.build(connector), server)
    }

    /// A channel over a client with settings of its own. The client must be built with `http2_only(true)` on
    /// the executor and timer of [`compat::hyper`](crate::compat::hyper). Unless it is told
    /// `pool_idle_timeout(None)`, a connection that has been idle for 90 s is given up for a new one.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if the URI is not absolute.
    pub fn over(client: Client<C, RequestBody>, server: Uri) -> Result<Self, Status> {
        let parts = server.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(Status::invalid_argument("the channel's URI must name scheme and host"));
        };
        Ok(Self { client, scheme, authority, timeout: None })
    }

    /// The deadline of calls that set none themselves. The server is told: of more than 99,999,999 hours, for
    /// which the protocol has no room, that it is so many.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let mut request = ::tonic::Request::new(());
        // tonic panics above.
        request.set_timeout(timeout.min(LONGEST));
        let value = request.metadata().get(TIMEOUT.as_str()).expect("just set");
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("digits and a unit");
        self.timeout = Some((timeout, value));
        self
    }

    /// The request to this channel's server, with its deadline.
    fn address(&self, request: Request<Body>) -> Result<(Request<Body>, Deadline), Status> {
        let (mut head, body) = request.into_parts();
        let limit = match &self.timeout {
            Some((timeout, value)) if !head.headers.contains_key(TIMEOUT) => {
                head.headers.insert(TIMEOUT, value.clone());
                Some(*timeout)
            }
            _ => None,
        };
        let deadline = Deadline::of(&head.headers, limit);
        let mut uri = head.uri.into_parts();
        (uri.scheme, uri.authority) = (Some(self.scheme.clone()), Some(self.authority.clone()));
        head.uri = Uri::from_parts(uri).map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok((Request::from_parts(head, body), deadline))
    }
}

impl<C: Connect + Clone + Send + Sync + 'static> Service<Request<Body>> for Channel<C> {
    type Response = hyper::Response<CallBody<AnswerBody>>;
    type Error = Status;
    type Future = Response;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Response {
        Response(match self.address(request) {
            Ok((request, deadline)) => {
                let (head, body) = request.into_parts();
                let (body, wanted) = RequestBody::new(body);
                let answer = self.client.request(Request::from_parts(head, body));
                State::Waiting(answer, deadline, wanted)
            }
            Err(status) => State::Refused(status),
        })
    }
}

impl<C> fmt::Debug for Channel<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, authority, timeout, .. } = self;
        let server = format_args!("{scheme}://{authority}");
        f.debug_struct("Channel").field("server", &server).field("timeout", timeout).finish_non_exhaustive()
    }
}

/// The response of [`Channel`]. Dropping it cancels the call.
///
/// # Panics
/// When polled again after it was ready, or outside of a runtime.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Response(State);

#[derive(Debug)]
enum State {
    Waiting(ResponseFuture, Deadline, Wanted),
    /// Never sent.
    Refused(Status),
    Done,
}

impl Future for Response {
    type Output = Result<hyper::Response<CallBody<AnswerBody>>, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut answer, mut deadline, wanted) = match mem::replace(&mut self.0, State::Done) {
            State::Waiting(answer, deadline, wanted) => (answer, deadline, wanted),
            State::Refused(status) => return Poll::Ready(Err(status)),
            State::Done => panic!("polled after it was ready"),
        };
        if let Poll::Ready(status) = deadline.poll(cx) {
            return Poll::Ready(Err(status));
        }
        let Poll::Ready(answer) = Pin::new(&mut answer).poll(cx) else {
            self.0 = State::Waiting(answer, deadline, wanted);
            return Poll::Pending;
        };
        let answer = answer.map_err(|error| failure::status(error.into()))?;
        Poll::Ready(Ok(answer.map(|body| CallBody::answer(AnswerBody::new(body, wanted), deadline))))
    }
}
