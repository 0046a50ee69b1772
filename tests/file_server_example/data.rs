//! The bytes of the files, and numbers that look random and are the same in each run.

use std::ops::Range;
use std::sync::LazyLock;

/// Repeated, it has no period in common with any buffer or page, so that a piece that is lost, doubled or out
/// of place does not look right.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = Random::new(1);
    let words = std::iter::repeat_with(|| random.next().to_le_bytes()).take(PERIOD.div_ceil(8));
    let mut bytes = words.flatten().collect::<Vec<u8>>();
    bytes.truncate(PERIOD);
    bytes
});
const PERIOD: usize = 1_000_003;

/// These bytes of an endless file.
pub(crate) fn bytes(range: Range<usize>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(range.len());
    while bytes.len() < range.len() {
        let at = (range.start + bytes.len()) % PERIOD;
        let len = (PERIOD - at).min(range.len() - bytes.len());
        bytes.extend_from_slice(&PATTERN[at..at + len]);
    }
    bytes
}

/// The whole of a file of this length.
pub(crate) fn file(len: usize) -> Vec<u8> {
    bytes(0..len)
}

/// Panics if `chunk` is not what the endless file has at `offset`.
#[track_caller]
pub(crate) fn check(mut chunk: &[u8], mut offset: usize) {
    while !chunk.is_empty() {
        let at = offset % PERIOD;
        let len = chunk.len().min(PERIOD - at);
        assert!(chunk[..len] == PATTERN[at..at + len], "wrong bytes between {offset} and {}", offset + len);
        (chunk, offset) = (&chunk[len..], offset + len);
    }
}

/// Numbers without an order.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Less than `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end
    }

    pub(crate) fn choice<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
