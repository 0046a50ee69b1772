//! What a stream has received and nobody has taken yet.
//!
//! Owns the order of these buffers, and where the references to them lie: the first one with the stream,
//! those behind it in memory of their own. Of messages there is hardly ever a second one, so a stream of
//! messages has neither that memory nor more than a word for it, and touches one cache line less for each
//! message.
#![forbid(unsafe_code)]

use crate::buf::PooledBuf;
use std::collections::VecDeque;

/// A queue of buffers. The first one lies in front, with what a message touches (recv.rs).
#[derive(Default)]
#[repr(C)]
pub(super) struct Chunks {
    /// Empty only if all is.
    first: Option<PooledBuf>,
    /// Made when there is a second one. It stays: there will be another one.
    #[expect(clippy::box_collection, reason = "it takes four words where it is, and mostly there is none")]
    behind: Option<Box<VecDeque<PooledBuf>>>,
}

impl Chunks {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn len(&self) -> usize {
        // The others lie elsewhere, and mostly there are none.
        if self.first.is_none() { 0 } else { 1 + self.behind.as_ref().map_or(0, |behind| behind.len()) }
    }

    /// The first two, as far as there are so many.
    pub(super) fn first_two(&self) -> (Option<&PooledBuf>, Option<&PooledBuf>) {
        (self.first.as_ref(), self.behind.as_ref().and_then(|behind| behind.front()))
    }

    #[inline]
    pub(super) fn push_back(&mut self, chunk: PooledBuf) {
        if self.first.is_none() {
            self.first = Some(chunk);
        } else {
            self.behind.get_or_insert_default().push_back(chunk);
        }
    }

    pub(super) fn push_front(&mut self, chunk: PooledBuf) {
        if let Some(second) = self.first.replace(chunk) {
            self.behind.get_or_insert_default().push_front(second);
        }
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<PooledBuf> {
        let first = self.first.take()?;
        self.first = self.behind.as_mut().and_then(|behind| behind.pop_front());
        Some(first)
    }

    /// The first one, if it has no more bytes than this.
    pub(super) fn pop_fitting(&mut self, room: usize) -> Option<PooledBuf> {
        if self.first.as_ref()?.len() <= room { self.pop_front() } else { None }
    }

    /// The bytes of all of them, in order.
    pub(super) fn drain(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(chunk) = self.pop_front() {
            all.extend_from_slice(&chunk);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(chunks: &mut Chunks) -> Vec<u8> {
        chunks.pop_front().map_or_else(Vec::new, |chunk| chunk.to_vec())
    }

    #[test]
    fn buffers_leave_in_the_order_in_which_they_came_behind_those_that_were_put_back() {
        let mut chunks = Chunks::default();
        for bytes in [&b"one"[..], b"two", b"three"] {
            chunks.push_back(PooledBuf::copied(bytes));
        }
        assert_eq!(taken(&mut chunks), b"one");
        chunks.push_front(PooledBuf::copied(b"ne"));
        assert_eq!(chunks.len(), 3);
        let (first, second) = chunks.first_two();
        assert_eq!((&first.unwrap()[..], &second.unwrap()[..]), (&b"ne"[..], &b"two"[..]));
        assert!(chunks.pop_fitting(1).is_none());
        assert_eq!(&chunks.pop_fitting(2).unwrap()[..], b"ne");
        assert_eq!(chunks.drain(), b"twothree");
        assert!(chunks.is_empty() && chunks.pop_front().is_none());
        chunks.push_front(PooledBuf::copied(b"again"));
        assert_eq!((chunks.len(), taken(&mut chunks)), (1, b"again".to_vec()));
    }
}
