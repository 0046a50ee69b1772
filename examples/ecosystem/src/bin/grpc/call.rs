//! The client: a generated one over a channel.
#![forbid(unsafe_code)]

use crate::args::{Call, Method};
use crate::numbers::numbers_client::NumbersClient;
use crate::numbers::{CountRequest, Number, Total};
use futures_util::stream;
use hyper_util::client::legacy::connect::Connect;
use ringwork::compat::hyper::HttpsConnector;
use ringwork::compat::tonic::Channel;
use ringwork::tls::Connector;
use ringwork_ecosystem::tls;
use std::fmt::Display;
use std::io::Write as _;
use tonic::{Status, Streaming};

/// Makes one call and prints its answers, a line each. The error is one line for stderr.
pub(crate) async fn call(args: Call) -> Result<(), String> {
    let server = args.server.clone();
    let called = match &args.tls_ca {
        Some(authorities) => {
            let connector = HttpsConnector::new(Connector::new(tls::client_config(authorities)?));
            make(args, Channel::with_connector(connector, server)).await
        }
        None => make(args, Channel::new(server)).await,
    };
    // `{:?}` is the code's short name.
    called.map_err(|status| format!("{:?}: {}", status.code(), status.message()))
}

async fn make<C>(args: Call, channel: Result<Channel<C>, Status>) -> Result<(), Status>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let mut channel = channel?;
    if let Some(deadline) = args.deadline {
        channel = channel.timeout(deadline);
    }
    let mut client = NumbersClient::new(channel);
    let number = |value| Number { value, padding: Vec::new() };
    let first = args.numbers.first().copied().unwrap_or_default();
    let numbers = stream::iter(args.numbers.into_iter().map(number));
    match args.method {
        Method::Square => print(client.square(number(first)).await?.get_ref()),
        Method::Sum => print(client.sum(numbers).await?.get_ref()),
        Method::Count => {
            let request = CountRequest { to: first, pause_ms: args.pause_ms, padding: 0 };
            print_all(client.count(request).await?.into_inner(), args.take).await
        }
        Method::Totals => print_all(client.totals(numbers).await?.into_inner(), args.take).await,
    }
}

/// Prints the answers, or the first of them: dropping the stream before its end cancels the call.
async fn print_all<T: Display>(mut answers: Streaming<T>, take: Option<usize>) -> Result<(), Status> {
    let mut printed = 0;
    while take.is_none_or(|take| printed < take) {
        let Some(answer) = answers.message().await? else { break };
        print(&answer)?;
        printed += 1;
    }
    Ok(())
}

/// A line at once. If nobody reads it, there is no point in going on.
fn print(answer: &impl Display) -> Result<(), Status> {
    let mut stdout = std::io::stdout().lock();
    let printed = writeln!(stdout, "{answer}").and_then(|()| stdout.flush());
    printed.map_err(|error| Status::aborted(format!("cannot print: {error}")))
}

impl Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.value.fmt(f)
    }
}

impl Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} numbers: {}", self.count, self.sum)
    }
}
