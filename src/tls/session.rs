//! What a handshake has agreed on.
#![forbid(unsafe_code)]

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, CommonState, HandshakeKind, ProtocolVersion};

/// What a handshake has agreed on; see [`TlsStream::session`](super::TlsStream::session).
#[derive(Debug)]
#[non_exhaustive]
pub struct Session {
    /// The protocol that both want to speak inside (ALPN), if they have agreed on one.
    pub alpn: Option<Vec<u8>>,
    /// The name a client has asked for (SNI), or the name we have asked for if we are the client and it is
    /// a name. A server knows it from the client and no certificate vouches for it.
    pub server_name: Option<String>,
    /// The peer's certificates, its own first; none if it has shown none.
    pub peer_certificates: Option<Vec<CertificateDer<'static>>>,
    /// The version of TLS.
    pub version: Option<ProtocolVersion>,
    /// The cipher suite.
    pub suite: Option<CipherSuite>,
    /// Whether an earlier session was resumed.
    pub handshake_kind: Option<HandshakeKind>,
}

impl Session {
    /// What rustls tells after a handshake.
    pub(super) fn new(common: &CommonState, server_name: Option<String>) -> Self {
        Self {
            alpn: common.alpn_protocol().map(<[u8]>::to_vec),
            server_name,
            peer_certificates: common.peer_certificates().map(<[CertificateDer<'static>]>::to_vec),
            version: common.protocol_version(),
            suite: common.negotiated_cipher_suite().map(|suite| suite.suite()),
            handshake_kind: common.handshake_kind(),
        }
    }
}
