//! One connection of the generator: how far its conversation has come. Pure bookkeeping: requests take slots
//! in turn and are answered in order. It moves no bytes.

use std::net::TcpStream;
use std::time::Instant;

/// A connection and its requests.
pub(super) struct Line {
    pub(super) socket: TcpStream,
    /// The far end of a proxy: sends back what it has received.
    pub(super) is_upstream: bool,
    /// A receive is in the kernel.
    pub(super) armed: bool,
    /// Bytes of the current reply received so far.
    pub(super) received: usize,
    /// Requests that are to be sent.
    pub(super) owed: usize,
    sent: u64,
    answered: u64,
    /// When the latency of the request in each slot began.
    since: Vec<Instant>,
}

impl Line {
    pub(super) fn new(socket: TcpStream, is_upstream: bool, depth: usize) -> Line {
        let since = vec![Instant::now(); depth];
        Line { socket, is_upstream, armed: false, received: 0, owed: 0, sent: 0, answered: 0, since }
    }

    /// The slot whose request is answered after `more` others; none if nothing was asked. An upstream is
    /// asked, it keeps what it gets in its only slot.
    pub(super) fn waits_in_slot(&self, more: usize) -> Option<usize> {
        let next = self.answered + more as u64;
        if self.is_upstream {
            return (more == 0).then_some(0);
        }
        (next < self.sent).then(|| self.slot(next))
    }

    /// The first free slot, and how many requests go there and to the slots right behind.
    pub(super) fn next_slots(&self) -> (usize, usize) {
        let first = self.slot(self.sent);
        (first, self.owed.min(self.since.len() - first))
    }

    /// A request goes to the next slot. Its number.
    pub(super) fn sent_one(&mut self, since: Instant) -> u64 {
        let slot = self.slot(self.sent);
        self.since[slot] = since;
        self.sent += 1;
        self.owed -= 1;
        self.sent
    }

    /// The oldest request is answered. When its latency began.
    pub(super) fn answered_one(&mut self) -> Instant {
        let slot = self.slot(self.answered);
        self.answered += 1;
        self.since[slot]
    }

    fn slot(&self, number: u64) -> usize {
        (number % self.since.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn requests_take_slots_in_turn_and_never_wrap_within_one_send() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let socket = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let mut line = Line::new(socket, false, 4);
        assert_eq!(line.waits_in_slot(0), None);
        line.owed = 4;
        assert_eq!(line.next_slots(), (0, 4));
        for _ in 0..4 {
            line.sent_one(Instant::now());
        }
        assert_eq!(
            (line.waits_in_slot(0), line.waits_in_slot(3), line.waits_in_slot(4)),
            (Some(0), Some(3), None)
        );
        for _ in 0..3 {
            line.answered_one();
        }
        line.owed = 3;
        assert_eq!(line.next_slots(), (0, 3));
        for _ in 0..3 {
            line.sent_one(Instant::now());
        }
        for _ in 0..2 {
            line.answered_one();
        }
        line.owed = 2;
        // One slot is left before the end: the other request waits.
        assert_eq!(line.next_slots(), (3, 1));
        assert_eq!(line.sent_one(Instant::now()), 8);
        assert_eq!(line.next_slots(), (0, 1));
    }
}
