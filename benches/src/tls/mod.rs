//! TLS as servers, floor and load generator need it: the configurations of both ends, and records without a
//! library around them. Servers show a certificate that they have just made, which the generator takes as it
//! is: who they are is not the subject.

mod records;

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConfig, ServerConnection,
    SignatureScheme,
};

pub(crate) use records::Records;

/// What servers are configured with: rustls's defaults but for session tickets, which nobody here resumes.
pub(crate) fn server_config() -> io::Result<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let chain = vec![made.cert.der().clone()];
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(io::Error::other)?;
    config.send_tls13_tickets = 0;
    // For the floor, which goes on without rustls.
    config.enable_secret_extraction = true;
    Ok(config)
}

/// What the load generator is configured with.
pub(crate) fn client_config() -> io::Result<ClientConfig> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let verifier = Arc::new(TakesAnyone(provider));
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.enable_secret_extraction = true;
    Ok(config)
}

/// Does the client's side of a handshake on a blocking socket.
pub(crate) fn connect(config: &Arc<ClientConfig>, socket: &mut (impl Read + Write)) -> io::Result<Records> {
    let name = ServerName::try_from("localhost").expect("a host name");
    let mut connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    while connection.is_handshaking() || connection.wants_write() {
        connection.complete_io(socket)?;
    }
    Records::new(connection.dangerous_extract_secrets().map_err(io::Error::other)?)
}

/// The server's side of the same. No byte behind the handshake may have come.
pub(crate) fn accept(config: &Arc<ServerConfig>, socket: &mut (impl Read + Write)) -> io::Result<Records> {
    let mut connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
    while connection.is_handshaking() || connection.wants_write() {
        connection.complete_io(socket)?;
    }
    Records::new(connection.dangerous_extract_secrets().map_err(io::Error::other)?)
}

/// Asks nobody who they are, but whether they have the key that they show.
#[derive(Debug)]
struct TakesAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for TakesAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn what_one_end_seals_the_other_opens_and_a_changed_byte_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let client = thread::spawn(move || {
            let config = Arc::new(super::client_config().expect("sound"));
            super::connect(&config, &mut TcpStream::connect(address).expect("it listens"))
        });
        let config = Arc::new(super::server_config().expect("sound"));
        let mut server =
            super::accept(&config, &mut listener.accept().expect("it connects").0).expect("agreed");
        let mut client = client.join().expect("no panic").expect("agreed");
        let mut sealed = Vec::new();
        for message in [&b"first"[..], b"", b"third"] {
            client.seal(message, &mut sealed);
        }
        let (front, back) = sealed.split_at(7);
        let mut opened = Vec::new();
        for piece in [front, back] {
            let fed = server.feed(piece, |plain| {
                opened.extend_from_slice(plain);
                Ok(())
            });
            fed.expect("sealed as it should be");
        }
        assert_eq!(opened, b"firstthird");
        sealed.clear();
        server.seal(b"answer", &mut sealed);
        *sealed.last_mut().expect("a tag") ^= 1;
        client.feed(&sealed, |_| Ok(())).expect_err("the tag is wrong");
    }
}
