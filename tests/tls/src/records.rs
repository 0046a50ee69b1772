//! Records made by hand, with the secrets of a connection: what no well-behaved library would send.

use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks,
    OutboundPlainMessage,
};
use rustls::{ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite};

/// One direction of a connection: encrypts or decrypts records, counting them.
pub struct Records {
    number: u64,
    version: ProtocolVersion,
    encrypter: Box<dyn MessageEncrypter>,
    decrypter: Box<dyn MessageDecrypter>,
}

impl Records {
    /// Goes on from these secrets.
    ///
    /// # Panics
    /// For a suite that is not known here.
    pub fn new(suite: SupportedCipherSuite, (number, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let (key, iv) = parts(&secrets);
        let (version, encrypter, decrypter) = match suite {
            SupportedCipherSuite::Tls13(suite) => (
                ProtocolVersion::TLSv1_3,
                suite.aead_alg.encrypter(copy(&key), Iv::copy(&iv)),
                suite.aead_alg.decrypter(key, Iv::copy(&iv)),
            ),
            SupportedCipherSuite::Tls12(suite) => {
                // The explicit part of the nonce may be anything that is not used twice.
                let (implicit, explicit) = iv.split_at(4);
                let encrypter = suite.aead_alg.encrypter(copy(&key), implicit, explicit);
                (ProtocolVersion::TLSv1_2, encrypter, suite.aead_alg.decrypter(key, implicit))
            }
        };
        Self { number, version, encrypter, decrypter }
    }

    /// The next record, as it goes over the wire.
    pub fn seal(&mut self, kind: ContentType, payload: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ: kind,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(payload),
        };
        let sealed = self.encrypter.encrypt(message, self.number).expect("the key works").encode();
        self.number += 1;
        sealed
    }

    /// What the next record, as it came over the wire, says.
    ///
    /// # Panics
    /// If it was not made with this key and number.
    pub fn open(&mut self, record: &[u8]) -> (ContentType, Vec<u8>) {
        let mut body = record[5..].to_vec();
        let kind = ContentType::from(record[0]);
        let message = InboundOpaqueMessage::new(kind, ProtocolVersion::TLSv1_2, &mut body);
        let plain = self.decrypter.decrypt(message, self.number).expect("key and number are right");
        self.number += 1;
        (plain.typ, plain.payload.to_vec())
    }

    /// The version of TLS.
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }
}

fn parts(secrets: &ConnectionTrafficSecrets) -> (AeadKey, Vec<u8>) {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (copy(key), iv.as_ref().to_vec()),
        _ => panic!("a suite that is not known here"),
    }
}

/// Keys can be made of 32 bytes only, which is what the suites preferred by default have.
fn copy(key: &AeadKey) -> AeadKey {
    AeadKey::from(<[u8; 32]>::try_from(key.as_ref()).expect("a suite with a key of 256 bits"))
}
