//! Where seeks of a file with a position lead.

mod scratch;
#[path = "../../support/mod.rs"]
mod support;

use ringwork::compat::FileCursor;
use ringwork::fs::File;
use scratch::Scratch;
use std::io::SeekFrom;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use support::{assert_pattern, on_cores, pattern};

#[test]
fn a_seek_that_nobody_waits_for_does_not_happen_once_something_else_has_begun() {
    use tokio::io::{AsyncReadExt, AsyncSeek, AsyncSeekExt, AsyncWriteExt};
    on_cores(1, |_| async {
        let scratch = Scratch::new("abandoned");
        let mut file = scratch.open().await;
        file.write_all(&pattern(0, 1_000)).await.unwrap();
        file.seek(SeekFrom::Start(100)).await.unwrap();
        Pin::new(&mut file).start_seek(SeekFrom::Start(500)).unwrap();
        let mut word = [0; 8];
        file.read_exact(&mut word).await.unwrap();
        assert_pattern(100, &word);
        assert_eq!(file.stream_position().await.unwrap(), 108);
        Pin::new(&mut file).start_seek(SeekFrom::Start(500)).unwrap();
        file.write_all(b"word").await.unwrap();
        assert_eq!(file.stream_position().await.unwrap(), 112);
        Pin::new(&mut file).start_seek(SeekFrom::Start(500)).unwrap();
        assert_eq!(futures_lite::AsyncSeekExt::seek(&mut file, SeekFrom::Current(4)).await.unwrap(), 116);
        assert_eq!(file.stream_position().await.unwrap(), 116);
        file.flush().await.unwrap();
        assert_eq!(&std::fs::read(&scratch.0).unwrap()[108..112], b"word");
    });
}

/// As with every file that has the trait: `seek` first waits for the one before, and cannot tell that nobody
/// else does.
#[test]
fn a_seek_that_nobody_waits_for_happens_before_the_next_seek_of_tokios() {
    use tokio::io::{AsyncReadExt, AsyncSeek, AsyncSeekExt, AsyncWriteExt};
    on_cores(1, |_| async {
        let scratch = Scratch::new("resumed");
        let mut file = scratch.open().await;
        file.write_all(&pattern(0, 1_000)).await.unwrap();
        Pin::new(&mut file).start_seek(SeekFrom::Start(500)).unwrap();
        assert_eq!(file.seek(SeekFrom::Current(4)).await.unwrap(), 504);
        Pin::new(&mut file).start_seek(SeekFrom::Start(100)).unwrap();
        assert_eq!(file.stream_position().await.unwrap(), 100);
        let mut word = [0; 8];
        file.read_exact(&mut word).await.unwrap();
        assert_pattern(100, &word);
        Pin::new(&mut file).start_seek(SeekFrom::Current(-1_000)).unwrap();
        file.seek(SeekFrom::Start(0)).await.unwrap_err();
        assert_eq!(file.seek(SeekFrom::Start(0)).await.unwrap(), 0);
    });
}

/// A block device with the content of a file, for as long as it is open. `None` where there is none to be
/// had.
fn loop_device(content: &std::fs::File) -> Option<std::fs::File> {
    const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
    const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
    const LO_FLAGS_AUTOCLEAR: u32 = 4;
    let control = std::fs::File::open("/dev/loop-control").ok()?;
    // SAFETY: a request without memory.
    let free = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
    let device = std::fs::File::options().read(true).write(true).open(format!("/dev/loop{free}")).ok()?;
    // `struct loop_config` of `linux/loop.h`, 304 bytes: the file, and among much else the flags.
    let mut config = [0_u32; 76];
    config[0] = u32::try_from(content.as_raw_fd()).ok()?;
    config[15] = LO_FLAGS_AUTOCLEAR;
    // SAFETY: the structure is as long as the request wants it, and lives over the call.
    let is_set = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, config.as_ptr()) } == 0;
    is_set.then_some(device)
}

#[test]
fn the_end_of_a_block_device_is_where_its_last_byte_is() {
    use tokio::io::{AsyncReadExt, AsyncSeekExt};
    on_cores(1, |_| async {
        let scratch = Scratch::new("device");
        std::fs::write(&scratch.0, pattern(0, 1 << 20)).unwrap();
        let content = std::fs::File::options().read(true).write(true).open(&scratch.0).unwrap();
        let Some(device) = loop_device(&content) else { return println!("skipped: no loop device here") };
        let mut file = FileCursor::new(File::from_std(device), 0);
        assert_eq!(file.seek(SeekFrom::End(0)).await.unwrap(), 1 << 20);
        assert_eq!(file.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(file.seek(SeekFrom::End(-8)).await.unwrap(), (1 << 20) - 8);
        let mut word = [0; 8];
        file.read_exact(&mut word).await.unwrap();
        assert_pattern((1 << 20) - 8, &word);
    });
}
