//! A message on a stream: its length in four bytes, most significant first, and JSON.
#![forbid(unsafe_code)]

use ringwork::net::TcpStream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;

/// Longer ones are refused on both sides: the largest snapshot, and so the largest map.
const MAX: usize = 64 << 20;
/// Longer ones are not made sense of on a core, which would have no time for elections meanwhile.
const HEAVY: usize = 1 << 20;
const HEAD: usize = 4;

/// The frame of a message.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`] for one that is too long.
pub(super) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEAD];
    serde_json::to_writer(&mut frame, message)?;
    let len = frame.len() - HEAD;
    if len > MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the message is too long for a frame"));
    }
    frame[..HEAD].copy_from_slice(&(len as u32).to_be_bytes());
    Ok(frame)
}

/// Sends a frame. If the future is dropped, the frame leaves all the same, whole.
pub(super) async fn send(stream: &TcpStream, frame: Vec<u8>) -> io::Result<()> {
    stream.send_all(frame).await.0.map(drop)
}

/// Receives a message; `None` if the peer has closed instead. If the future is dropped, the stream is of no
/// use any more: part of a message may have been read.
pub(super) async fn receive<T: DeserializeOwned + Send + 'static>(
    stream: &TcpStream,
) -> io::Result<Option<T>> {
    let (received, head) = stream.recv_exact(Vec::with_capacity(HEAD)).await;
    match received {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && head.is_empty() => return Ok(None),
        received => received?,
    }
    let len = u32::from_be_bytes(head[..].try_into().expect("it is full")) as usize;
    if len > MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {len} bytes")));
    }
    let (received, body) = stream.recv_exact(Vec::with_capacity(len)).await;
    received?;
    let message = if len > HEAVY {
        let made_sense_of = ringwork::spawn_heavy(move || serde_json::from_slice(&body));
        made_sense_of.await.map_err(io::Error::from)?
    } else {
        serde_json::from_slice(&body)
    };
    Ok(Some(message?))
}
