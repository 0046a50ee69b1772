//! Frames of HTTP/2 (RFC 9113) as floor and load generator need them: where one ends, what it is, and whole
//! frames of our own. It decodes no header fields; both ends write theirs without the table that HPACK shares
//! between them.

/// Bytes of a frame's head.
pub(crate) const HEAD: usize = 9;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The indexed field `:status: 200`.
pub(crate) const STATUS_200: u8 = 0x88;

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: &'a [u8],
}

impl Frame<'_> {
    /// Whether it answers one of the same kind.
    pub(crate) fn is_ack(&self) -> bool {
        self.flags & ACK != 0
    }

    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// The frame at the front of `bytes` and what is behind it, if all of it is there.
pub(crate) fn next(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let (payload, rest) = rest.split_at_checked(length)?;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7FFF_FFFF;
    Some((Frame { kind: head[3], flags: head[4], stream, payload }, rest))
}

/// Appends a frame.
pub(crate) fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Bytes of a stream that come in pieces.
#[derive(Default)]
pub(crate) struct Pieces {
    /// The beginning of a frame whose end has not come.
    begun: Vec<u8>,
}

impl Pieces {
    /// Hands every frame that `piece` completes to `each`, in order, until one is refused.
    pub(crate) fn feed<E>(
        &mut self,
        piece: &[u8],
        mut each: impl FnMut(Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.begun.is_empty() {
            let rest = each_frame(piece, &mut each)?;
            self.begun.extend_from_slice(rest);
            return Ok(());
        }
        self.begun.extend_from_slice(piece);
        let left = each_frame(&self.begun, &mut each)?.len();
        self.begun.drain(..self.begun.len() - left);
        Ok(())
    }
}

/// Hands on the whole frames at the front of `bytes`; what is behind them.
fn each_frame<'a, E>(
    mut bytes: &'a [u8],
    each: &mut impl FnMut(Frame<'a>) -> Result<(), E>,
) -> Result<&'a [u8], E> {
    while let Some((frame, rest)) = next(bytes) {
        each(frame)?;
        bytes = rest;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut bytes = Vec::new();
        put(&mut bytes, HEADERS, END_HEADERS, 7, &[STATUS_200, 1, 2]);
        put(&mut bytes, DATA, END_STREAM, 7, b"Hello");
        put(&mut bytes, SETTINGS, ACK, 0, &[]);
        for cut in 0..=bytes.len() {
            let (mut pieces, mut seen) = (Pieces::default(), Vec::new());
            for piece in [&bytes[..cut], &bytes[cut..]] {
                let fed = pieces.feed(piece, |frame| {
                    seen.push((frame.kind, frame.flags, frame.stream, frame.payload.to_vec()));
                    Ok::<(), ()>(())
                });
                fed.expect("nothing is refused");
            }
            assert_eq!(seen.len(), 3, "cut at {cut}");
            assert_eq!(seen[1], (DATA, END_STREAM, 7, b"Hello".to_vec()));
            assert!(pieces.begun.is_empty());
        }
    }
}
