//! One connection, from its handshake to its end.
//!
//! Owns the limits on the time a client takes (for its handshake, for its first request, which hyper does not
//! limit while it does not know the version of HTTP, and between requests of HTTP/1) and the order of a
//! connection's end: what has come before the word to end is answered, and each answer from then on says that
//! it is the last (progress.rs). How requests are served is hyper's.
#![forbid(unsafe_code)]

use super::ending::{Ending, Seat, Stage};
use super::incoming::IncomingStream;
use super::io::ServedIo;
use super::progress::{Noted, Progress};
use crate::compat::hyper::Executor;
use crate::time::{Sleep, sleep};
use hyper::body::{Body, Incoming};
use hyper::rt::{Read, Write};
use hyper::{Request, Response};
use hyper_util::server::conn::auto;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_service::Service;

/// Any error of a service or a body.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// For how long a connection must have been ready for its first request to be told that the server ends: one
/// that the kernel had accepted before the listener closed brings its request a moment later.
const FRESH: Duration = Duration::from_millis(100);

/// What all connections of a server share.
pub(super) struct Shared {
    pub(super) http: auto::Builder<Executor>,
    /// From the accept to the head of the first request, and from one request to the next.
    pub(super) head_time: Duration,
    pub(super) ending: Arc<Ending>,
}

/// Serves one client until it or the server ends.
pub(super) async fn serve<Io, M, S, B>(
    handshake: impl Future<Output = io::Result<Io>>,
    peer: SocketAddr,
    mut make: M,
    shared: Arc<Shared>,
) where
    Io: Read + Write + Unpin + Send + 'static,
    M: for<'a> Service<IncomingStream<'a, Io>, Response = S>,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut watch = Watch::new(&shared);
    let prepared = async {
        let io = handshake.await.ok()?;
        poll_fn(|cx| make.poll_ready(cx)).await.ok()?;
        let service = make.call(IncomingStream::new(&io, peer)).await.ok()?;
        Some((io, service))
    };
    let Some((io, service)) = watch.over(pin!(prepared)).await else { return };
    let io = ServedIo::new(io, Arc::clone(&watch.progress));
    let service = Noted::new(service, Arc::clone(&watch.progress));
    let mut connection = pin!(shared.http.serve_connection_with_upgrades(io, service));
    let mut is_told = false;
    let served = poll_fn(|cx| {
        loop {
            // First: a connection of HTTP/1 that is told between two requests closes without a look at what
            // has come.
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            match watch.poll(cx) {
                Some(Word::End) if !is_told => {
                    is_told = true;
                    connection.as_mut().graceful_shutdown();
                }
                Some(Word::Go) => return Poll::Ready(Ok(())),
                Some(Word::End) | None => return Poll::Pending,
            }
        }
    });
    if let Err(error) = served.await {
        // Clients break off every day.
        tracing::debug!(target: "ringwork::serve", %peer, %error, "a connection broke");
    }
}

/// What a connection is to do.
enum Word {
    /// End the requests in flight.
    End,
    /// End at once.
    Go,
}

/// Looks after one connection.
struct Watch {
    seat: Seat,
    ending: Arc<Ending>,
    progress: Arc<Progress>,
    head_time: Duration,
    /// When to look whether the client is late.
    look: Sleep,
    /// There from the end of the handshake on, until it is over.
    fresh: Option<Sleep>,
}

impl Watch {
    fn new(shared: &Shared) -> Self {
        Self {
            seat: Seat::new(Arc::clone(&shared.ending)),
            ending: Arc::clone(&shared.ending),
            progress: Arc::new(Progress::new(Arc::clone(&shared.ending))),
            head_time: shared.head_time,
            look: sleep(shared.head_time),
            fresh: None,
        }
    }

    /// What the connection is to do now, if anything; else the task of `cx` is woken when there is something.
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<Word> {
        let mut word = None;
        match self.seat.poll(cx) {
            Stage::Serve => {}
            Stage::End if self.progress.has_begun() || is_over(&mut self.fresh, cx) => word = Some(Word::End),
            Stage::End => {}
            Stage::Cut => {
                self.ending.count_cut();
                return Some(Word::Go);
            }
        }
        while Pin::new(&mut self.look).poll(cx).is_ready() {
            let mut left = match self.progress.due_for() {
                Some(due) => self.head_time.saturating_sub(due),
                None => self.head_time,
            };
            if left.is_zero() {
                if !self.progress.may_owe_body() {
                    return Some(Word::Go);
                }
                // hyper closes at once what waits for a head, and what still reads a body, behind that.
                word = Some(Word::End);
                left = self.head_time.max(FRESH);
            }
            self.look = sleep(left);
        }
        word
    }

    /// Waits for what comes before HTTP; none if it failed or the connection has to go. The word to end does
    /// not end it: its client was accepted, and has yet to be heard.
    async fn over<T>(&mut self, mut before: Pin<&mut impl Future<Output = Option<T>>>) -> Option<T> {
        let done = poll_fn(|cx| match before.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => match self.poll(cx) {
                Some(Word::Go) => Poll::Ready(None),
                Some(Word::End) | None => Poll::Pending,
            },
        });
        let done = done.await;
        self.fresh = Some(sleep(FRESH));
        done
    }
}

/// Whether the time is over; it is put away then, and over for good.
fn is_over(time: &mut Option<Sleep>, cx: &mut Context<'_>) -> bool {
    if time.as_mut().is_some_and(|sleep| Pin::new(sleep).poll(cx).is_ready()) {
        *time = None;
    }
    time.is_none()
}
