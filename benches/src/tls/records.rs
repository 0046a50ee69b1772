//! The records of TLS 1.3 (RFC 8446, 5.2) with nothing but the cipher: what a TLS server cannot do without.
//! Floor and load generator use it once rustls has agreed on the keys. It knows application data only: an
//! alert or a message of the handshake is an error.

use std::io;

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};

/// Type, version and length.
const HEAD: usize = 5;
const TAG: usize = 16;
const APPLICATION_DATA: u8 = 23;

/// Key and counter of one direction.
struct Half {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Half {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> io::Result<Half> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(io::Error::other("a cipher that is not known here")),
        };
        let wrong = |_| io::Error::other("a key or nonce of another length");
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(wrong)?;
        let iv = iv.as_ref().try_into().map_err(|_| io::Error::other("a nonce of another length"))?;
        Ok(Half { key: LessSafeKey::new(key), iv, sequence })
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, counter) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= counter;
        }
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Both directions of a connection.
pub(crate) struct Records {
    sealing: Half,
    opening: Half,
    /// Received, and not opened yet.
    incoming: Vec<u8>,
}

impl Records {
    pub(super) fn new(secrets: ExtractedSecrets) -> io::Result<Records> {
        let (sealing, opening) = (Half::new(secrets.tx)?, Half::new(secrets.rx)?);
        Ok(Records { sealing, opening, incoming: Vec::new() })
    }

    /// Appends a record with `plain` in it, which must fit.
    pub(crate) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let length = (plain.len() + 1 + TAG) as u16;
        let [high, low] = length.to_be_bytes();
        let head = [APPLICATION_DATA, 3, 3, high, low];
        out.extend_from_slice(&head);
        let start = out.len();
        out.extend_from_slice(plain);
        out.push(APPLICATION_DATA);
        let nonce = self.sealing.nonce();
        let tag = self.sealing.key.seal_in_place_separate_tag(nonce, Aad::from(head), &mut out[start..]);
        out.extend_from_slice(tag.expect("a record is short").as_ref());
    }

    /// Takes in what has come and hands the plaintext of every whole record to `each`.
    pub(crate) fn feed(
        &mut self,
        piece: &[u8],
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.incoming.extend_from_slice(piece);
        let mut at = 0;
        while let Some(&head) = self.incoming[at..].first_chunk::<HEAD>() {
            let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
            let Some(record) = self.incoming[at + HEAD..].get_mut(..length) else { break };
            at += HEAD + length;
            let nonce = self.opening.nonce();
            let opened = self.opening.key.open_in_place(nonce, Aad::from(head), record);
            let opened = opened.map_err(|_| io::Error::other("a record that was changed"))?;
            match opened.split_last() {
                Some((&APPLICATION_DATA, plain)) => each(plain)?,
                kind => return Err(io::Error::other(format!("no application data: {kind:?}"))),
            }
        }
        self.incoming.drain(..at);
        Ok(())
    }
}
