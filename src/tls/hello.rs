//! The name a client asks for.
//!
//! Owns a second look at the first message of a client, because rustls does not tell the name afterwards
//! when its buffers are the caller's. It judges nothing: what is wrong with the message the engine finds
//! out.
#![forbid(unsafe_code)]

use rustls::server::Acceptor;
use std::io::Read;

/// Reads along until the client's first message is complete.
pub(super) struct Hello {
    reading: Option<Acceptor>,
    name: Option<String>,
}

impl Hello {
    /// Nothing has been read.
    pub(super) fn new() -> Self {
        Self { reading: Some(Acceptor::default()), name: None }
    }

    /// Reads along.
    pub(super) fn look(&mut self, mut received: &[u8]) {
        while let Some(acceptor) = &mut self.reading
            && !received.is_empty()
        {
            let went_on = acceptor.read_tls(&mut received as &mut dyn Read).is_ok_and(|n| n > 0);
            match acceptor.accept() {
                Ok(None) if went_on => {}
                Ok(Some(accepted)) => {
                    self.name = accepted.client_hello().server_name().map(str::to_owned);
                    self.reading = None;
                }
                _ => self.reading = None,
            }
        }
    }

    /// The name, if there was one.
    pub(super) fn into_name(self) -> Option<String> {
        self.name
    }
}
