//! The bytes of a record that lies in two receive buffers.
//!
//! Owns the one copy of ciphertext that receiving makes: what is left of a received buffer behind its last
//! whole record, and what the next buffer brings to complete it. It reads the length of a record and
//! nothing else; whether a record is well-formed is judged by the engine, which is shown every header as
//! soon as it is whole, so that nonsense is not waited for.
//!
//! The engine may leave bytes in front of the incomplete record: the pieces of a handshake message that
//! came in several records. They stay where they are until it lets go of them.
#![forbid(unsafe_code)]

use super::spare;

/// Bytes of a record's header: type, version, length.
const HEADER: usize = 5;
/// The longest body of a record that any version allows (RFC 5246, section 6.2.3). The engine refuses a
/// longer one when it has seen the header.
const LONGEST_BODY: usize = 16 * 1024 + 2048;
/// Bytes that are carried at most: twice the longest handshake message, 64 KiB, for one in pieces. A peer
/// that makes the pieces so small that this does not do wants to fill memory.
const MOST: usize = 128 * 1024;

/// Bytes that wait for the rest of their record.
#[derive(Default)]
pub(super) struct Carry {
    bytes: Vec<u8>,
    /// Where the incomplete record starts; what is in front belongs to the engine.
    record: usize,
}

impl Carry {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether more waits than there is reason for.
    pub(super) fn is_too_long(&self) -> bool {
        self.bytes.len() > MOST
    }

    /// The bytes, for the engine.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// How many bytes are missing until the engine has something to look at: the rest of the header, then
    /// the rest of the record. At least one.
    pub(super) fn missing(&self) -> usize {
        let have = &self.bytes[self.record..];
        match have {
            [_, _, _, high, low, ..] => {
                let body = usize::from(u16::from_be_bytes([*high, *low])).min(LONGEST_BODY);
                (HEADER + body).saturating_sub(have.len()).max(1)
            }
            _ => HEADER - have.len(),
        }
    }

    /// Adds bytes, of which `whole` at the front are of records the engine has seen (it keeps them all the
    /// same).
    pub(super) fn add(&mut self, bytes: &[u8], whole: usize) {
        if self.bytes.capacity() == 0 {
            self.bytes = spare::take(spare::SIZE);
            self.bytes.clear();
        }
        self.bytes.extend_from_slice(bytes);
        self.record += whole;
    }

    /// Takes from `bytes` what is missing, as far as it is there; returns how much, and whether the engine
    /// has something to look at.
    pub(super) fn complete(&mut self, bytes: &[u8]) -> (usize, bool) {
        let missing = self.missing();
        let n = missing.min(bytes.len());
        self.add(&bytes[..n], 0);
        // Before the engine looks: it may move the pieces of a message together, over the header.
        self.record += whole_records(&self.bytes[self.record..]);
        (n, n == missing)
    }

    /// The engine has looked: it is done with the first `used` bytes.
    pub(super) fn looked_at(&mut self, used: usize) {
        if used == self.bytes.len() {
            spare::put(std::mem::take(&mut self.bytes));
        } else {
            self.bytes.drain(..used);
        }
        self.record = self.record.saturating_sub(used);
    }

    /// Forgets all: the connection is at its end.
    pub(super) fn clear(&mut self) {
        self.looked_at(self.bytes.len());
    }
}

/// Where the first incomplete record of `bytes` starts; its length if there is none.
pub(super) fn whole_records(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let [_, _, _, high, low, ..] = &bytes[at..] {
        let end = at + HEADER + usize::from(u16::from_be_bytes([*high, *low]));
        if end > bytes.len() {
            break;
        }
        at = end;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(len: usize) -> Vec<u8> {
        let mut record = vec![23, 3, 3];
        record.extend_from_slice(&(len as u16).to_be_bytes());
        record.resize(HEADER + len, 7);
        record
    }

    #[test]
    fn a_record_is_completed_byte_by_byte_and_then_gone() {
        let record = record(20);
        let mut carry = Carry::default();
        carry.add(&record[..1], 0);
        let mut shown = Vec::new();
        for byte in &record[1..] {
            let (n, look) = carry.complete(std::slice::from_ref(byte));
            assert_eq!(n, 1);
            if look {
                shown.push(carry.bytes.len());
                carry.looked_at(if carry.bytes.len() == record.len() { record.len() } else { 0 });
            }
        }
        assert_eq!(shown, [HEADER, HEADER + 20], "the engine sees the header, then the whole");
        assert!(carry.is_empty());
    }

    #[test]
    fn no_byte_behind_the_record_is_taken() {
        let mut bytes = record(20);
        bytes.extend(record(3));
        let mut carry = Carry::default();
        carry.add(&bytes[..8], 0);
        assert_eq!(carry.complete(&bytes[8..]), (17, true));
        assert_eq!(whole_records(&bytes), bytes.len());
        assert_eq!(whole_records(&bytes[..27]), 25);
        assert_eq!(whole_records(&bytes[..24]), 0);
    }

    #[test]
    fn what_the_engine_keeps_stays_in_front() {
        let piece = record(4);
        let mut carry = Carry::default();
        carry.add(&piece, piece.len());
        assert_eq!(carry.missing(), HEADER);
        assert_eq!(carry.complete(&piece), (HEADER, true));
        carry.looked_at(0);
        assert_eq!(carry.complete(&piece[HEADER..]), (4, true));
        carry.looked_at(0);
        assert_eq!((carry.bytes.len(), carry.missing()), (18, HEADER));
        carry.looked_at(18);
        assert!(carry.is_empty());
    }

    #[test]
    fn a_record_that_is_too_long_is_shown_and_not_waited_for() {
        let mut carry = Carry::default();
        carry.add(&[23, 3, 3, 0xff, 0xff], 0);
        assert_eq!(carry.missing(), LONGEST_BODY);
    }
}
