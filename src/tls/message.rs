//! What a send takes: one buffer or several, as one row of bytes.
#![forbid(unsafe_code)]

use super::spare;
use crate::buf::IoBuf;

/// Plaintext in one or several buffers.
pub(super) trait Message: Send + 'static {
    /// Bytes in all.
    fn len(&self) -> usize;

    /// Calls `seal` with the bytes from `at` up to `end` in one piece.
    fn with_piece<R>(&self, at: usize, end: usize, seal: impl FnOnce(&[u8]) -> R) -> R;
}

/// One buffer.
impl<B: IoBuf> Message for B {
    fn len(&self) -> usize {
        IoBuf::len(self)
    }

    fn with_piece<R>(&self, at: usize, end: usize, seal: impl FnOnce(&[u8]) -> R) -> R {
        seal(&self.as_slice()[at..end])
    }
}

/// Several buffers, one behind the other. What lies in more than one of them is copied together first: a
/// record costs more than a copy of what is in it.
pub(super) struct Gathered<B>(pub(super) Vec<B>);

impl<B: IoBuf> Message for Gathered<B> {
    fn len(&self) -> usize {
        self.0.iter().map(IoBuf::len).sum()
    }

    fn with_piece<R>(&self, at: usize, end: usize, seal: impl FnOnce(&[u8]) -> R) -> R {
        let (mut start, mut together) = (0, None);
        for buf in self.0.iter().map(IoBuf::as_slice) {
            let from = at.saturating_sub(start).min(buf.len());
            let to = end.saturating_sub(start).min(buf.len());
            if to - from == end - at {
                return seal(&buf[from..to]);
            }
            if from < to {
                together.get_or_insert_with(emptied).extend_from_slice(&buf[from..to]);
            }
            start += buf.len();
        }
        let together = together.unwrap_or_default();
        let sealed = seal(&together);
        spare::put(together);
        sealed
    }
}

fn emptied() -> Vec<u8> {
    let mut buf = spare::take(spare::SIZE);
    buf.clear();
    buf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_of_several_buffers_is_what_lies_there() {
        let bufs = ["", "ab", "cdefg", "", "h", ""];
        let all = bufs.concat();
        let gathered = Gathered(bufs.to_vec());
        assert_eq!(Message::len(&gathered), all.len());
        for at in 0..=all.len() {
            for end in at..=all.len() {
                gathered
                    .with_piece(at, end, |piece| assert_eq!(piece, &all.as_bytes()[at..end], "{at}..{end}"));
            }
        }
    }
}
