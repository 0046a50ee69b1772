//! The TLS echo in both raw loops: the cipher and nothing else. Handshakes are rustls's, one after the other
//! on a blocking socket, as the load generator does them: a client that keeps silent would stop the server.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::ServerConfig;

use crate::plan::Plan;
use crate::programs::answers::{self, Protocol};
use crate::tls::{self, Records};

/// On a raw ring.
pub(crate) fn ring(plan: &Plan) -> io::Result<()> {
    answers::from_ring(plan, Echo::new()?)
}

/// In an epoll loop.
pub(crate) fn epoll(plan: &Plan) -> io::Result<()> {
    answers::from_epoll(plan, Echo::new()?)
}

struct Echo {
    config: Arc<ServerConfig>,
    /// What a piece has brought.
    plain: Vec<u8>,
}

impl Echo {
    fn new() -> io::Result<Echo> {
        Ok(Echo { config: Arc::new(tls::server_config()?), plain: Vec::new() })
    }
}

impl Protocol for Echo {
    type State = Records;

    fn begin(&mut self, socket: &mut TcpStream) -> io::Result<Records> {
        tls::accept(&self.config, socket)
    }

    /// Seals again what was sealed.
    fn take(&mut self, records: &mut Records, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let plain = &mut self.plain;
        plain.clear();
        let opened = records.feed(piece, |opened| {
            plain.extend_from_slice(opened);
            Ok(())
        });
        if !plain.is_empty() {
            records.seal(plain, out);
        }
        opened
    }
}
