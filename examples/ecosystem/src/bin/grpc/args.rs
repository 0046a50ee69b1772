//! The command line.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str = "usage: grpc serve [--listen ADDR] [--cores N] [--limit MS]
                  [--tls-cert FILE --tls-key FILE]
       grpc call METHOD NUMBER.. [--server URL [--tls-ca FILE]] [--deadline MS] [--pause MS] [--take N]

  --listen ADDR    where to listen (default 127.0.0.1:50051; port 0 picks one)
  --cores N        how many cores (default: all this process may use)
  --limit MS       no call may take longer (default: as long as its client waits)
  --tls-cert FILE  the certificate chain, in PEM; clients then speak TLS
  --tls-key FILE   its private key, in PEM

  square N         the square of N
  count TO         counts from 1 to TO; 0 counts on and on
  sum N..          sends the numbers, gets their sum
  totals N..       sends the numbers, gets the sum so far for each
  --server URL     who is called (default http://127.0.0.1:50051)
  --tls-ca FILE    who vouches for an https server, in PEM
  --deadline MS    how long the call may take (default: for ever)
  --pause MS       how long the server waits before each number of `count`
  --take N         how many answers to wait for; then the call is cancelled

  --help           this text";

pub(crate) struct Args {
    pub(crate) job: Job,
    pub(crate) cores: Option<usize>,
}

pub(crate) enum Job {
    Serve(Serve),
    Call(Call),
}

pub(crate) struct Serve {
    pub(crate) listen: SocketAddr,
    pub(crate) limit: Option<Duration>,
    /// Certificate chain and private key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
}

pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) numbers: Vec<u64>,
    pub(crate) server: tonic::codegen::http::Uri,
    pub(crate) tls_ca: Option<PathBuf>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) pause_ms: u32,
    pub(crate) take: Option<usize>,
}

#[derive(Clone, Copy)]
pub(crate) enum Method {
    Square,
    Count,
    Sum,
    Totals,
}

/// `None` if only help was asked for.
pub(crate) fn parse() -> Result<Option<Args>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_env();
    match parser.next()? {
        Some(Value(job)) if job == "serve" => parse_serve(parser),
        Some(Value(job)) if job == "call" => parse_call(parser),
        Some(Long("help") | Short('h')) => Ok(None),
        Some(arg) => Err(arg.unexpected()),
        None => Err("say `serve` or `call`".into()),
    }
}

fn parse_serve(mut parser: lexopt::Parser) -> Result<Option<Args>, lexopt::Error> {
    use lexopt::prelude::*;
    let (mut cores, mut limit, mut cert, mut key) = (None, None, None, None);
    let mut listen = SocketAddr::from(([127, 0, 0, 1], 50051));
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => listen = parser.value()?.parse_with(ringwork_ecosystem::address)?,
            Long("cores") => cores = Some(parser.value()?.parse_with(ringwork_ecosystem::cores)?),
            Long("limit") => limit = Some(Duration::from_millis(parser.value()?.parse()?)),
            Long("tls-cert") => cert = Some(PathBuf::from(parser.value()?)),
            Long("tls-key") => key = Some(PathBuf::from(parser.value()?)),
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(arg.unexpected()),
        }
    }
    if cert.is_some() != key.is_some() {
        return Err("--tls-cert and --tls-key go together".into());
    }
    let job = Job::Serve(Serve { listen, limit, tls: cert.zip(key) });
    Ok(Some(Args { job, cores }))
}

fn parse_call(mut parser: lexopt::Parser) -> Result<Option<Args>, lexopt::Error> {
    use lexopt::prelude::*;
    let (mut method, mut numbers) = (None, Vec::new());
    let mut server = tonic::codegen::http::Uri::from_static("http://127.0.0.1:50051");
    let (mut tls_ca, mut deadline, mut pause_ms, mut take) = (None, None, 0, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Value(name) if method.is_none() => method = Some(name.parse_with(method_named)?),
            Value(number) => numbers.push(number.parse()?),
            Long("server") => server = parser.value()?.parse()?,
            Long("tls-ca") => tls_ca = Some(PathBuf::from(parser.value()?)),
            Long("deadline") => deadline = Some(Duration::from_millis(parser.value()?.parse()?)),
            Long("pause") => pause_ms = parser.value()?.parse()?,
            Long("take") => take = Some(parser.value()?.parse()?),
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(arg.unexpected()),
        }
    }
    let method = method.ok_or("missing METHOD")?;
    if matches!(method, Method::Square | Method::Count) && numbers.len() != 1 {
        return Err("`square` and `count` take one number".into());
    }
    match (server.scheme_str(), &tls_ca) {
        (Some("https"), None) => return Err("an https:// server needs --tls-ca FILE".into()),
        (Some("http"), Some(_)) => return Err("--tls-ca goes with an https:// server".into()),
        _ => {}
    }
    let job = Job::Call(Call { method, numbers, server, tls_ca, deadline, pause_ms, take });
    Ok(Some(Args { job, cores: Some(1) }))
}

fn method_named(name: &str) -> Result<Method, &'static str> {
    match name {
        "square" => Ok(Method::Square),
        "count" => Ok(Method::Count),
        "sum" => Ok(Method::Sum),
        "totals" => Ok(Method::Totals),
        _ => Err("expected square, count, sum or totals"),
    }
}
