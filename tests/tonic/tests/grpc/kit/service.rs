//! The service under test, which says what becomes of its handlers.
#![forbid(unsafe_code)]

use super::pb::numbers_server::{Numbers, NumbersServer};
use super::{CountRequest, Number, Total};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio_stream::Stream;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};

/// `Square` of this never answers.
pub(crate) const HANGS: u64 = u64::MAX;
/// `Square` of this panics.
pub(crate) const PANICS: u64 = u64::MAX - 1;
/// `Count` to this fails behind three.
pub(crate) const FAILS: u64 = u64::MAX - 2;
/// The server takes no longer messages.
pub(crate) const MESSAGE_MAX: usize = 1 << 20;

/// What has become of the handlers.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Of all kinds of calls, responses that are streamed included.
    pub(crate) running: usize,
    pub(crate) ended: usize,
    /// Numbers counted, in all.
    pub(crate) produced: u64,
    /// Sums whose client's stream was complete.
    pub(crate) summed: usize,
    /// How the last client's stream broke.
    pub(crate) broke: Option<Code>,
}

#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) log: watch::Sender<Log>,
    /// A counter with a pause takes a permit for each number.
    pub(crate) gate: Arc<Semaphore>,
}

impl Default for Service {
    fn default() -> Self {
        Self { log: watch::Sender::default(), gate: Arc::new(Semaphore::new(0)) }
    }
}

impl Service {
    pub(crate) fn server(self) -> NumbersServer<Self> {
        NumbersServer::new(self).max_decoding_message_size(MESSAGE_MAX)
    }

    /// Waits until the log is so.
    pub(crate) async fn until(&self, so: impl FnMut(&Log) -> bool) {
        self.log.subscribe().wait_for(so).await.expect("this is a sender");
    }

    fn run(&self) -> Running {
        self.log.send_modify(|log| log.running += 1);
        Running(self.log.clone())
    }
}

/// A handler at work.
struct Running(watch::Sender<Log>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|log| {
            log.running -= 1;
            log.ended += 1;
        });
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Numbers for Service {
    async fn square(&self, request: Request<Number>) -> Result<Response<Number>, Status> {
        let _running = self.run();
        let caller = request.metadata().get("caller").cloned();
        let value = request.get_ref().value;
        match value {
            HANGS => std::future::pending().await,
            PANICS => panic!("asked to"),
            _ => {}
        }
        let Some(square) = value.checked_mul(value) else {
            let mut metadata = MetadataMap::new();
            metadata.insert("limit", u64::MAX.to_string().parse().unwrap());
            metadata.insert_bin("raw-bin", tonic::metadata::MetadataValue::from_bytes(&[0, 255]));
            let (message, details) = ("zu groß: it does not fit\n", Bytes::from_static(b"\0details"));
            return Err(Status::with_details_and_metadata(Code::OutOfRange, message, details, metadata));
        };
        let mut response = Response::new(Number { value: square, padding: request.into_inner().padding });
        if let Some(caller) = caller {
            response.metadata_mut().insert("caller", caller);
        }
        Ok(response)
    }

    type CountStream = Answers<Number>;

    async fn count(&self, request: Request<CountRequest>) -> Result<Response<Answers<Number>>, Status> {
        let running = self.run();
        let CountRequest { to, pause_ms, padding } = request.into_inner();
        let gate = (pause_ms > 0).then(|| Arc::clone(&self.gate));
        let numbers = stream::unfold(1, move |value| {
            let (gate, log) = (gate.clone(), running.0.clone());
            async move {
                if let Some(gate) = gate {
                    gate.acquire().await.expect("never closed").forget();
                }
                if to > 0 && value > to {
                    return None;
                }
                if to == FAILS && value == 4 {
                    return Some((Err(Status::aborted("three is enough")), value + 1));
                }
                log.send_modify(|log| log.produced += 1);
                Some((Ok(Number { value, padding: vec![7; padding as usize] }), value + 1))
            }
        });
        Ok(Response::new(Box::pin(numbers)))
    }

    async fn sum(&self, request: Request<Streaming<Number>>) -> Result<Response<Total>, Status> {
        let _running = self.run();
        let (mut numbers, mut total) = (request.into_inner(), Total::default());
        while let Some(number) = numbers.next().await {
            let number = number.inspect_err(|status| {
                self.log.send_modify(|log| log.broke = Some(status.code()));
            })?;
            total = Total { count: total.count + 1, sum: total.sum + number.value };
        }
        self.log.send_modify(|log| log.summed += 1);
        Ok(Response::new(total))
    }

    type TotalsStream = Answers<Total>;

    async fn totals(&self, request: Request<Streaming<Number>>) -> Result<Response<Answers<Total>>, Status> {
        let running = self.run();
        let totals = request.into_inner().scan(Total::default(), move |total, number| {
            let _until_the_stream_goes = &running;
            let next = number.map(|number| {
                *total = Total { count: total.count + 1, sum: total.sum + number.value };
                *total
            });
            std::future::ready(Some(next))
        });
        Ok(Response::new(Box::pin(totals)))
    }
}
