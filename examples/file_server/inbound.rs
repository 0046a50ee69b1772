//! Received bytes that no request has used yet.
//!
//! Teaches: how to parse straight out of the runtime's pooled buffers. In the usual case a whole request
//! arrives in one buffer, is parsed where it lies, and the buffer goes home; nothing is copied, and an idle
//! connection holds no memory. Only a request in several pieces is gathered in a `Vec`.
//! Promises: [`Inbound::bytes`] is contiguous and in order; [`Inbound::release`] gives the pooled buffer back
//! however much of it is unread.
//! It is not a limit: `request.rs` refuses before too much gathers here.

use std::ops::Deref;

/// The unread bytes of one connection; `P` is a pooled buffer.
#[derive(Debug)]
pub(crate) struct Inbound<P> {
    source: Source<P>,
    /// How many bytes of the source have been used.
    used: usize,
}

#[derive(Debug)]
enum Source<P> {
    Nothing,
    Pooled(P),
    Gathered(Vec<u8>),
}

impl<P: Deref<Target = [u8]>> Inbound<P> {
    pub(crate) fn new() -> Inbound<P> {
        Inbound { source: Source::Nothing, used: 0 }
    }

    /// Adds what was received behind what is unread.
    pub(crate) fn push(&mut self, received: P) {
        if self.bytes().is_empty() {
            *self = Inbound { source: Source::Pooled(received), used: 0 };
        } else {
            self.gather().extend_from_slice(&received);
        }
    }

    /// Marks bytes as used.
    pub(crate) fn consume(&mut self, count: usize) {
        assert!(count <= self.bytes().len(), "more bytes used than there are");
        self.used += count;
        if self.bytes().is_empty() {
            *self = Inbound::new();
        }
    }

    /// Lets a pooled buffer go before something that takes long: others may be waiting for one.
    pub(crate) fn release(&mut self) {
        if let Source::Pooled(_) = self.source {
            self.gather();
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.source {
            Source::Nothing => &[],
            Source::Pooled(buffer) => &buffer[self.used..],
            Source::Gathered(buffer) => &buffer[self.used..],
        }
    }

    /// Moves the unread bytes to the front of a `Vec`.
    fn gather(&mut self) -> &mut Vec<u8> {
        let used = std::mem::take(&mut self.used);
        let gathered = match std::mem::replace(&mut self.source, Source::Nothing) {
            Source::Nothing => Vec::new(),
            Source::Pooled(buffer) => buffer[used..].to_vec(),
            Source::Gathered(mut buffer) => {
                buffer.drain(..used);
                buffer
            }
        };
        self.source = Source::Gathered(gathered);
        match &mut self.source {
            Source::Gathered(buffer) => buffer,
            Source::Nothing | Source::Pooled(_) => unreachable!("set in the line before"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    /// Stands for a pooled buffer; the count of its owners shows whether it went home.
    type Pooled = Rc<[u8]>;

    fn pooled(text: &str) -> Pooled {
        Rc::from(text.as_bytes())
    }

    #[test]
    fn a_request_in_one_buffer_is_read_where_it_lies() {
        let buffer = pooled("onetwo");
        let mut inbound = Inbound::new();
        inbound.push(buffer.clone());
        assert_eq!(inbound.bytes().as_ptr(), buffer.as_ptr());
        inbound.consume(3);
        assert_eq!(inbound.bytes(), b"two");
        inbound.consume(3);
        assert_eq!(inbound.bytes(), b"");
        assert_eq!(Rc::strong_count(&buffer), 1, "a used buffer goes home");
    }

    #[test]
    fn pieces_are_gathered_in_order() {
        let (first, second) = (pooled("usedab"), pooled("cd"));
        let mut inbound = Inbound::new();
        inbound.push(first.clone());
        inbound.consume(4);
        inbound.push(second.clone());
        inbound.push(pooled("e"));
        assert_eq!(inbound.bytes(), b"abcde");
        assert_eq!((Rc::strong_count(&first), Rc::strong_count(&second)), (1, 1));
        inbound.consume(2);
        inbound.push(pooled("f"));
        assert_eq!(inbound.bytes(), b"cdef");
        inbound.consume(4);
        assert!(matches!(inbound.source, Source::Nothing), "an idle connection holds no memory");
    }

    #[test]
    fn release_keeps_the_bytes_and_gives_the_buffer_back() {
        let buffer = pooled("abc");
        let mut inbound = Inbound::new();
        inbound.push(buffer.clone());
        inbound.consume(1);
        inbound.release();
        inbound.release();
        assert_eq!(inbound.bytes(), b"bc");
        assert_eq!(Rc::strong_count(&buffer), 1);
    }

    #[test]
    #[should_panic(expected = "more bytes used than there are")]
    fn using_more_than_there_is_is_a_mistake() {
        let mut inbound = Inbound::new();
        inbound.push(pooled("abc"));
        inbound.consume(4);
    }
}
