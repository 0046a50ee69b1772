//! What a client says and what must come back. Pure: bytes in, a verdict out. It checks every byte that has
//! a meaning: of an HTTP answer, the fields between status line and body may change from one second to the
//! next, but not in number.

use crate::keys;

/// A conversation of requests and replies, the same on all connections.
#[derive(Clone, Debug)]
pub(crate) enum Dialog {
    /// A message of that size comes back as it was sent.
    Echo { size: usize },
    /// A key of a store, another one each time, brings its value.
    Get,
    /// A request brings the reply that it brought the first time, whose bytes between `free.0` and `free.1`
    /// may differ.
    Fixed { request: Vec<u8>, reply: Vec<u8>, free: (usize, usize) },
}

impl Dialog {
    /// Bytes of one request.
    pub(crate) fn request_len(&self) -> usize {
        match self {
            Dialog::Echo { size } => *size,
            Dialog::Get => keys::REQUEST,
            Dialog::Fixed { request, .. } => request.len(),
        }
    }

    /// Bytes of one reply.
    pub(crate) fn reply_len(&self) -> usize {
        match self {
            Dialog::Echo { size } => *size,
            Dialog::Get => keys::REPLY,
            Dialog::Fixed { reply, .. } => reply.len(),
        }
    }

    /// Writes the request of a connection for the first time; `seed` tells connections apart.
    pub(crate) fn compose(&self, seed: usize, message: &mut [u8]) {
        match self {
            Dialog::Echo { .. } => {
                for (at, byte) in message.iter_mut().enumerate() {
                    *byte = (at * 31 + seed * 7) as u8;
                }
            }
            Dialog::Get => keys::ask(seed as u64 % keys::KEYS, message),
            Dialog::Fixed { request, .. } => message.copy_from_slice(request),
        }
    }

    /// Makes a request differ from all others of its connection, if the dialog allows it.
    pub(crate) fn stamp(&self, sequence: u64, message: &mut [u8]) {
        match self {
            Dialog::Echo { .. } => {
                if let Some(first) = message.first_chunk_mut::<8>() {
                    *first = sequence.to_le_bytes();
                }
            }
            Dialog::Get => keys::ask_another(message, sequence),
            Dialog::Fixed { .. } => {}
        }
    }

    /// Whether `piece` is what follows `from` bytes of the reply to `request`.
    pub(crate) fn is_right(&self, request: &[u8], from: usize, piece: &[u8]) -> bool {
        let to = from + piece.len();
        match self {
            Dialog::Echo { .. } => request[from..to] == *piece,
            Dialog::Get => keys::answer(request)[from..to] == *piece,
            Dialog::Fixed { reply, free, .. } => {
                let same = |a: usize, b: usize| {
                    let (a, b) = (a.max(from), b.min(to));
                    a >= b || reply[a..b] == piece[a - from..b - from]
                };
                same(0, free.0) && same(free.1, reply.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Dialog;

    #[test]
    fn an_echo_must_come_back_byte_for_byte() {
        let dialog = Dialog::Echo { size: 16 };
        let mut message = [0; 16];
        dialog.compose(3, &mut message);
        dialog.stamp(77, &mut message);
        assert!(dialog.is_right(&message, 4, &message[4..9]));
        let mut changed = message;
        changed[8] ^= 1;
        assert!(!dialog.is_right(&message, 4, &changed[4..9]));
        assert!(dialog.is_right(&message, 9, &changed[9..]));
    }

    #[test]
    fn a_key_must_bring_its_own_value() {
        let dialog = Dialog::Get;
        let mut message = vec![0; dialog.request_len()];
        dialog.compose(3, &mut message);
        let first = crate::keys::answer(&message);
        dialog.stamp(77, &mut message);
        let second = crate::keys::answer(&message);
        assert!(dialog.is_right(&message, 0, &second) && dialog.is_right(&message, 40, &second[40..]));
        assert!(!dialog.is_right(&message, 0, &first));
        assert!(!dialog.is_right(&message, 1, &second[..9]));
    }

    #[test]
    fn a_fixed_reply_may_differ_where_it_is_free_and_nowhere_else() {
        let dialog =
            Dialog::Fixed { request: b"ask".to_vec(), reply: b"HEADdateBODY".to_vec(), free: (4, 8) };
        assert!(dialog.is_right(b"ask", 0, b"HEADdateBODY"));
        assert!(dialog.is_right(b"ask", 0, b"HEADtadeBODY"));
        assert!(dialog.is_right(b"ask", 2, b"ADtade"));
        assert!(!dialog.is_right(b"ask", 0, b"HELDdate"));
        assert!(!dialog.is_right(b"ask", 7, b"eBODE"));
    }
}
