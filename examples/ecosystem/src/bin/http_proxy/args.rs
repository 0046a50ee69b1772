//! The command line.
#![forbid(unsafe_code)]

use crate::forward::Upstream;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) const USAGE: &str = "usage: http_proxy --listen ADDR --upstream URL [--cores N]
                  [--tls-cert FILE --tls-key FILE]

  --listen ADDR    where clients connect (port 0 picks one)
  --upstream URL   where requests go: http://HOST[:PORT]
  --cores N        how many cores (default: all this process may use)
  --tls-cert FILE  the certificate chain, in PEM; clients then speak TLS
  --tls-key FILE   its private key, in PEM
  --help           this text";

/// The two files of TLS.
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

pub(crate) struct Args {
    pub(crate) listen: SocketAddr,
    pub(crate) upstream: Upstream,
    pub(crate) cores: Option<usize>,
    pub(crate) tls: Option<TlsFiles>,
}

/// `None` if only help was asked for.
pub(crate) fn parse() -> Result<Option<Args>, lexopt::Error> {
    use lexopt::prelude::*;
    let (mut listen, mut upstream, mut cores, mut cert, mut key) = (None, None, None, None, None);
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => listen = Some(parser.value()?.parse_with(ringwork_ecosystem::address)?),
            Long("upstream") => upstream = Some(parser.value()?.parse_with(Upstream::parse)?),
            Long("cores") => cores = Some(parser.value()?.parse_with(ringwork_ecosystem::cores)?),
            Long("tls-cert") => cert = Some(PathBuf::from(parser.value()?)),
            Long("tls-key") => key = Some(PathBuf::from(parser.value()?)),
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(arg.unexpected()),
        }
    }
    let listen = listen.ok_or("missing --listen ADDR")?;
    let upstream = upstream.ok_or("missing --upstream URL")?;
    let tls = match (cert, key) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
        (None, None) => None,
        _ => return Err("--tls-cert and --tls-key go together".into()),
    };
    Ok(Some(Args { listen, upstream, cores, tls }))
}
