//! Sending an answer: the bytes of the head, then a part of a file.
//!
//! Teaches: two ways to the same end. A small part is read behind the head and leaves with it in one send. Of
//! a large one the first piece leaves with the head, and others follow, that the runtime moves from file to
//! socket, so a connection needs the same memory for a file of 10 GiB as for one of 10 KiB.
//! A small answer is sent off: nobody waits until it has left, and the next one waits if it has not. A large
//! page is waited for in pieces, as a large file is.
//! Promises: exactly the announced number of bytes, or the connection is no longer usable; no wait for the
//! client is longer than [`PIECE_TIME`], so a client that stops reading does not stay; what is on its way
//! when [`send`] returns is one small answer at most.
//! It is not where the part is chosen: see `answer.rs`.

use std::io;
use std::ops::Range;
use std::time::Duration;

use ringwork::buf::{IoBuf, IoBufMut, SpareBuf};
use ringwork::fs::File;
use ringwork::net::TcpStream;
use ringwork::time::timeout;

/// A part up to this size is read behind the head. Measured on one core: up to 16 KiB this is cheaper than a
/// second send from the file itself (4 KiB: 9 us against 14), at 32 KiB equal, at 64 KiB dearer (28 against
/// 21). A page up to this size is small, too.
pub(crate) const SMALL_MAX: u64 = 16 * 1024;
/// What a large file or page is cut into: the amount a client must take within [`PIECE_TIME`].
const PIECE: u64 = 256 * 1024;
/// How long one piece may take. With [`PIECE`] it makes the slowest client allowed: 8.5 KiB a second.
const PIECE_TIME: Duration = Duration::from_secs(30);

/// What has become of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Whole,
    /// The file could not be read, and the head that speaks of it has not left: another answer can.
    Nothing,
}

/// Sends `head`, then `part` of `file`. A small answer is only on its way when this returns, and the next one
/// waits for it. After an error nothing more may be sent: the client cannot tell where the next answer would
/// start.
pub(crate) async fn send(
    stream: &TcpStream,
    head: Vec<u8>,
    file: Option<(&File, Range<u64>)>,
) -> io::Result<Sent> {
    match file {
        None if head.len() as u64 <= SMALL_MAX => send_off(stream, head).await?,
        // In a box: a task is as large as its largest wait, and this one would make idle connections larger.
        None => Box::pin(send_page(stream, head)).await?,
        Some((file, part)) if part.end - part.start <= SMALL_MAX => {
            let announced = head.len() + (part.end - part.start) as usize;
            let Ok(bytes) = read_behind(head, file, part).await else { return Ok(Sent::Nothing) };
            let complete = bytes.len() == announced;
            send_off(stream, bytes).await?;
            if !complete {
                all_sent(stream).await?;
                return Err(shrunk());
            }
        }
        Some((file, part)) => {
            // In a box for the same reason.
            Box::pin(send_pieces(stream, head, file, part)).await?;
        }
    }
    Ok(Sent::Whole)
}

/// Waits until all that was sent has been handed to the kernel. A client that does not read puts that off.
pub(crate) async fn all_sent(stream: &TcpStream) -> io::Result<()> {
    timeout(PIECE_TIME, stream.all_sent()).await.map_err(|_| give_up(stream))?
}

async fn send_off(stream: &TcpStream, bytes: Vec<u8>) -> io::Result<()> {
    timeout(PIECE_TIME, stream.send_off(SpareBuf::from(bytes))).await.map_err(|_| give_up(stream))?
}

/// Sends a large page. Sent off as a whole it would have no time limit, and its connection would count as
/// idle, and be closed when the server stops, while the client still reads.
async fn send_page(stream: &TcpStream, page: Vec<u8>) -> io::Result<()> {
    all_sent(stream).await?;
    let mut page = SpareBuf::from(page);
    let mut start = 0;
    while start < page.len() {
        let end = page.len().min(start + PIECE as usize);
        let piece = stream.send_all(page.slice(start..end));
        let (sent, piece) = timeout(PIECE_TIME, piece).await.map_err(|_| too_slow())?;
        sent?;
        page = piece.into_inner();
        start = end;
    }
    Ok(())
}

/// Reads `part` behind what `bytes` holds; less if the file has become shorter.
async fn read_behind(mut bytes: Vec<u8>, file: &File, part: Range<u64>) -> io::Result<Vec<u8>> {
    let end = bytes.len() + (part.end - part.start) as usize;
    bytes.reserve(end - bytes.len());
    let mut offset = part.start;
    while bytes.len() < end {
        let start = bytes.len();
        // A slice: the buffer may have room for more than is wanted.
        let (result, room) = file.read_at(bytes.slice_mut(start..end), offset).await;
        bytes = room.into_inner();
        match result? {
            0 => break,
            count => offset += count as u64,
        }
    }
    Ok(bytes)
}

async fn send_pieces(stream: &TcpStream, head: Vec<u8>, file: &File, part: Range<u64>) -> io::Result<()> {
    // First: who gives up a piece stops it by that, but not what was sent off before it.
    all_sent(stream).await?;
    let mut offset = part.start;
    let piece = |offset| PIECE.min(part.end - offset);
    let first = stream.send_file_with_head(SpareBuf::from(head), file, offset, piece(offset));
    let (mut sent, _head) = timeout(PIECE_TIME, first).await.map_err(|_| too_slow())?;
    loop {
        match sent? {
            0 => return Err(shrunk()),
            count => offset += count,
        }
        if offset == part.end {
            return Ok(());
        }
        let next = stream.send_file(file, offset, piece(offset));
        sent = timeout(PIECE_TIME, next).await.map_err(|_| too_slow())?;
    }
}

fn shrunk() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was being sent")
}

/// The client has not taken what was sent off, which goes on without us: for as long as a little of it is
/// read now and then it would keep the connection. So that ends with a reset.
fn give_up(stream: &TcpStream) -> io::Error {
    // Failing means that the client has gone.
    let _ = stream.set_linger(Some(Duration::ZERO));
    too_slow()
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client does not read")
}
