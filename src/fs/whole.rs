//! Whole files in one call.
#![forbid(unsafe_code)]

use super::File;
use crate::buf::IoBuf;
use std::io;
use std::path::Path;

/// Bytes asked for at a time when a file does not say how long it is.
const CHUNK: usize = 64 * 1024;

/// Reads a whole file.
///
/// # Errors
/// The kernel's.
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let file = File::open(path).await?;
    let expected = usize::try_from(file.metadata().await?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    // One more byte of room, so that the end is seen without growing the vector.
    let mut bytes = Vec::new();
    // A sparse file may claim to be larger than any memory.
    bytes.try_reserve_exact(expected.saturating_add(1)).map_err(|_| io::ErrorKind::OutOfMemory)?;
    loop {
        if bytes.len() == bytes.capacity() {
            bytes.reserve(CHUNK);
        }
        let at = bytes.len() as u64;
        let (read, buf) = file.read_at(bytes, at).await;
        bytes = buf;
        if read? == 0 {
            return Ok(bytes);
        }
    }
}

/// Reads a whole file that is UTF-8.
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// let manifest = ringwork::fs::read_to_string("Cargo.toml").await?;
/// assert!(manifest.contains("[package]"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The kernel's; [`io::ErrorKind::InvalidData`] if it is not UTF-8.
pub async fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    String::from_utf8(read(path).await?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes a whole file: creates it or empties it first. Not synced to the device.
///
/// # Errors
/// The kernel's.
pub async fn write<B: IoBuf>(path: impl AsRef<Path>, bytes: B) -> io::Result<()> {
    let file = File::create(path).await?;
    file.write_all_at(bytes, 0).await.0
}
