//! An authority, and what it signs.

use crate::NAME;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::sync::Arc;

/// Signs certificates for servers and clients, and is trusted by the configurations it makes.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Identity {
    /// The key, PKCS #8.
    pub fn key_bytes(&self) -> &[u8] {
        &self.key
    }

    /// The key as rustls wants it.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()))
    }

    /// Both, for a resolver.
    pub fn certified(&self) -> Arc<CertifiedKey> {
        let key = rustls::crypto::ring::sign::any_supported_type(&self.key()).expect("the key is sound");
        Arc::new(CertifiedKey::new(vec![self.certificate.clone()], key))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// An authority with a fresh key.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(Vec::new()).expect("there are no names to refuse");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("it signs itself").der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn identity(&self, names: &[&str], usage: ExtendedKeyUsagePurpose) -> Identity {
        let key = KeyPair::generate().expect("a key can be made");
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let mut params = CertificateParams::new(names).expect("names are names");
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs").der().clone();
        Identity { certificate, key: key.serialize_der() }
    }

    /// A server that goes by these names.
    pub fn server(&self, names: &[&str]) -> Identity {
        self.identity(names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client.
    pub fn client(&self) -> Identity {
        self.identity(&["client.test"], ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// Trust in this authority alone.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("an authority is one");
        roots
    }

    /// A server called [`NAME`] that asks nothing of clients.
    pub fn server_config(&self) -> ServerConfig {
        self.server_config_of(rustls::ALL_VERSIONS)
    }

    /// The same with some versions of TLS only.
    pub fn server_config_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        self.server_config_as(NAME, versions)
    }

    /// A server of another name.
    pub fn server_config_named(&self, name: &str) -> ServerConfig {
        self.server_config_as(name, rustls::ALL_VERSIONS)
    }

    fn server_config_as(&self, name: &str, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let identity = self.server(&[name]);
        let builder = ServerConfig::builder_with_protocol_versions(versions).with_no_client_auth();
        builder
            .with_single_cert(vec![identity.certificate.clone()], identity.key())
            .expect("key and name fit")
    }

    /// A server called [`NAME`] that talks only to clients of this authority.
    pub fn server_config_for_clients(&self) -> ServerConfig {
        let identity = self.server(&[NAME]);
        let verifier =
            WebPkiClientVerifier::builder(Arc::new(self.roots())).build().expect("there are roots");
        let builder = ServerConfig::builder().with_client_cert_verifier(verifier);
        builder
            .with_single_cert(vec![identity.certificate.clone()], identity.key())
            .expect("key and name fit")
    }

    /// A client that trusts this authority and shows nothing.
    pub fn client_config(&self) -> ClientConfig {
        self.client_config_of(rustls::ALL_VERSIONS)
    }

    /// The same with some versions of TLS only.
    pub fn client_config_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let builder = ClientConfig::builder_with_protocol_versions(versions);
        builder.with_root_certificates(self.roots()).with_no_client_auth()
    }

    /// A client that shows this.
    pub fn client_config_with(&self, identity: &Identity) -> ClientConfig {
        let builder = ClientConfig::builder().with_root_certificates(self.roots());
        let chain = vec![identity.certificate.clone()];
        builder.with_client_auth_cert(chain, identity.key()).expect("key and certificate fit")
    }
}
