//! HTTP/2 in both raw loops, which read the frames of their clients and answer every request with the same
//! header block and body. They decode no header and keep no windows: answers are short and the clients'
//! windows wide. Answers to requests that came together leave together.

use std::convert::Infallible;
use std::io;
use std::net::TcpStream;

use super::HELLO;
use crate::frames::{self, Frame, PREFACE, Pieces};
use crate::plan::Plan;
use crate::programs::answers::{self, Protocol};

/// On a raw ring.
pub(crate) fn ring(plan: &Plan) -> io::Result<()> {
    answers::from_ring(plan, Hello { block: header_block() })
}

/// In an epoll loop.
pub(crate) fn epoll(plan: &Plan) -> io::Result<()> {
    answers::from_epoll(plan, Hello { block: header_block() })
}

/// The header of each answer: the status from the static table, the fields as literals without a name in it.
fn header_block() -> Vec<u8> {
    let mut block = vec![frames::STATUS_200];
    let length = HELLO.len().to_string();
    for (name, value) in [("content-length", length.as_str()), ("date", "Thu, 01 Jan 1970 00:00:00 GMT")] {
        block.push(0);
        for text in [name, value] {
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

struct Hello {
    block: Vec<u8>,
}

/// What a client has said that is no whole frame yet.
#[derive(Default)]
struct Unread {
    /// Of the preface.
    greeted: usize,
    pieces: Pieces,
}

impl Protocol for Hello {
    type State = Unread;

    fn begin(&mut self, _: &mut TcpStream) -> io::Result<Unread> {
        Ok(Unread::default())
    }

    fn take(&mut self, unread: &mut Unread, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let greeting = piece.len().min(PREFACE.len() - unread.greeted);
        unread.greeted += greeting;
        let fed = unread.pieces.feed(&piece[greeting..], |frame| {
            answer(frame, &self.block, out);
            Ok::<(), Infallible>(())
        });
        let Ok(()) = fed;
        Ok(())
    }
}

fn answer(frame: Frame<'_>, block: &[u8], out: &mut Vec<u8>) {
    match frame.kind {
        frames::SETTINGS if !frame.is_ack() => {
            frames::put(out, frames::SETTINGS, 0, 0, &[]);
            frames::put(out, frames::SETTINGS, frames::ACK, 0, &[]);
        }
        frames::PING if !frame.is_ack() => {
            frames::put(out, frames::PING, frames::ACK, 0, frame.payload);
        }
        _ if frame.ends_stream() => {
            frames::put(out, frames::HEADERS, frames::END_HEADERS, frame.stream, block);
            frames::put(out, frames::DATA, frames::END_STREAM, frame.stream, HELLO.as_bytes());
        }
        _ => {}
    }
}
