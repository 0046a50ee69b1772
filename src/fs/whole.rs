//! Whole files in one call.
#![forbid(unsafe_code)]

use super::File;
use crate::blocking;
use crate::buf::{IoBuf, IoBufMut};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes asked for at a time when a file does not say how long it is. Files of `/proc` call themselves empty,
/// and some give their content only to a read at its beginning, as much of it as is asked for.
const CHUNK: usize = 64 * 1024;
/// Bytes of one read: what the page cache holds is copied on the core, which takes some tens of microseconds,
/// or a hundred and more where the vector lies badly (kernel-notes/copy-offset.md).
pub(super) const PIECE: usize = 256 * 1024;

/// Reads a whole file, piece by piece: other tasks run in between, however long it is.
///
/// # Errors
/// The kernel's; [`io::ErrorKind::OutOfMemory`] if there is no memory for all of it.
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let file = File::open(path).await?;
    file.never_lease();
    let expected = usize::try_from(file.metadata().await?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let room = match expected {
        0 => CHUNK,
        // One more byte of room, so that the end is seen without growing the vector.
        expected => expected.saturating_add(1),
    };
    let mut bytes = Vec::new();
    // A sparse file may claim to be larger than any memory.
    bytes.try_reserve_exact(room).map_err(|_| io::ErrorKind::OutOfMemory)?;
    loop {
        if bytes.len() == bytes.capacity() {
            bytes.try_reserve(CHUNK).map_err(|_| io::ErrorKind::OutOfMemory)?;
        }
        let at = bytes.len();
        let end = bytes.capacity().min(at + PIECE);
        let (read, buf) = file.read_at(bytes.slice_mut(at..end), at as u64).await;
        bytes = buf.into_inner();
        if read? == 0 {
            if expected == 0 {
                bytes.shrink_to_fit();
            }
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

/// Writes a whole file: creates it or empties it first. It is closed when this is done. Not synced to the
/// device. Dropping the future cancels what is left to do: the file may be empty, or hold a part.
///
/// A regular file is written on the blocking pool, where the buffer is dropped, too.
///
/// # Errors
/// The kernel's.
pub async fn write<B: IoBuf>(path: impl AsRef<Path>, bytes: B) -> io::Result<()> {
    let file = File::create(path).await?;
    // Whoever writes a program starts it next, which nobody may who has it open for writing.
    file.never_lease();
    if !file.gives_again() {
        return file.write_all_at(bytes, 0).await.0;
    }
    // Of an op that a helper thread has done, the kernel may have the file a while longer than the op lasts
    // (kernel-notes/file-of-an-op.md).
    let stop = Stop::default();
    let is_stopped = Arc::clone(&stop.0);
    blocking::run(move || {
        for (piece, at) in bytes.as_slice().chunks(PIECE).zip((0_u64..).step_by(PIECE)) {
            if is_stopped.load(Ordering::Relaxed) {
                break;
            }
            file.write_all_now(piece, at)?;
        }
        Ok(())
    })
    .await?
}

/// Says, when it is dropped, that nobody waits any more.
#[derive(Default)]
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Copies a file with its permissions; creates `to` or empties it first. Gives how many bytes it has. On the
/// blocking pool, where the kernel copies and, on some file systems, only shares the blocks
/// (`copy_file_range(2)`). Not synced to the device.
///
/// A copy that has been polled once goes on to its end although the future be dropped. Symbolic links are
/// followed on both sides. If `to` is a FIFO, a thread of the pool waits until somebody reads from it.
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// # let to = std::env::temp_dir().join(format!("ringwork-copy-{}", std::process::id()));
/// let copied = ringwork::fs::copy("Cargo.toml", &to).await?;
/// assert_eq!(copied, ringwork::fs::metadata("Cargo.toml").await?.len());
/// # ringwork::fs::remove_file(&to).await
/// # }
/// ```
///
/// # Errors
/// The kernel's; some of `to` may have been written. [`io::ErrorKind::InvalidInput`] if `from` is no regular
/// file.
///
/// # Panics
/// Outside of a runtime.
pub async fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let (from, to) = (from.as_ref().to_owned(), to.as_ref().to_owned());
    blocking::run(move || {
        // A FIFO that nobody writes to would keep the thread, and nothing ends it there.
        if !std::fs::metadata(&from)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "what is copied is no regular file"));
        }
        std::fs::copy(from, to)
    })
    .await?
}
