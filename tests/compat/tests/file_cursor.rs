//! A file with a position under the traits of tokio and of futures.

#[path = "../../support/mod.rs"]
mod support;

use ringwork::compat::FileCursor;
use ringwork::fs::File;
use std::io::SeekFrom;
use std::path::PathBuf;
use support::{assert_pattern, on_cores, pattern};

/// A file of its own for each test, removed afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("ringwork-cursor-{}-{name}", std::process::id())))
    }

    async fn open(&self) -> FileCursor {
        let options = File::options().read(true).write(true).create(true).truncate(true);
        FileCursor::new(options.open(&self.0).await.unwrap(), 0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn what_is_written_is_read_back_through_tokios_traits() {
    use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
    on_cores(1, |_| async {
        let scratch = Scratch::new("tokio");
        let mut file = scratch.open().await;
        // More than one op takes.
        file.write_all(&pattern(0, 300_000)).await.unwrap();
        assert_eq!(file.position(), 300_000);
        file.rewind().await.unwrap();
        let mut all = Vec::new();
        file.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 300_000);
        assert_pattern(0, &all);
        assert_eq!(file.seek(SeekFrom::End(-8)).await.unwrap(), 299_992);
        let mut word = [0; 8];
        file.read_exact(&mut word).await.unwrap();
        assert_pattern(299_992, &word);
        assert_eq!(file.read(&mut word).await.unwrap(), 0, "the end");
        let error = file.seek(SeekFrom::Current(-300_001)).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(file.stream_position().await.unwrap(), 300_000);
    });
}

#[test]
fn what_is_written_is_read_back_through_the_traits_of_futures() {
    use futures_lite::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
    on_cores(1, |_| async {
        let scratch = Scratch::new("futures");
        let mut file = scratch.open().await;
        file.write_all(&pattern(0, 100_000)).await.unwrap();
        file.seek(SeekFrom::Start(16)).await.unwrap();
        file.write_all(b"new word").await.unwrap();
        let mut next = [0; 8];
        file.read_exact(&mut next).await.unwrap();
        assert_pattern(24, &next);
        file.close().await.unwrap();
        let content = std::fs::read(&scratch.0).unwrap();
        assert_pattern(0, &content[..16]);
        assert_eq!(&content[16..24], b"new word");
        assert_pattern(24, &content[24..]);
    });
}

#[test]
fn a_read_that_is_given_up_moves_nothing_and_a_write_after_it_goes_to_the_position() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    on_cores(1, |_| async {
        let scratch = Scratch::new("given-up");
        let mut file = scratch.open().await;
        file.write_all(&pattern(0, 1_000)).await.unwrap();
        file.flush().await.unwrap();
        let mut file = FileCursor::new(file.file().clone(), 100);
        {
            let mut read = std::pin::pin!(file.read_u64());
            let _ = read.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        }
        let position = file.position();
        file.write_all(b"x").await.unwrap();
        file.flush().await.unwrap();
        let content = std::fs::read(&scratch.0).unwrap();
        assert_eq!(content[position as usize], b'x');
        assert_pattern(0, &content[..position as usize]);
        assert_pattern(position as usize + 1, &content[position as usize + 1..]);
    });
}

#[test]
fn the_error_of_a_write_is_told_by_the_next_call_once() {
    use tokio::io::AsyncWriteExt;
    on_cores(1, |_| async {
        let full = File::options().write(true).open("/dev/full").await.unwrap();
        let mut file = FileCursor::new(full, 0);
        // The write itself may find it out.
        let error = match file.write(b"x").await {
            Err(error) => error,
            Ok(n) => {
                assert_eq!(n, 1);
                file.flush().await.unwrap_err()
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        file.flush().await.unwrap();
    });
}

#[test]
fn a_cursor_that_is_dropped_behind_a_write_has_written_it() {
    use tokio::io::AsyncWriteExt;
    on_cores(1, |handle| async move {
        let scratch = Scratch::new("dropped");
        let mut file = scratch.open().await;
        let whole = file.file().clone();
        file.write_all(&pattern(0, 50_000)).await.unwrap();
        drop(file);
        // The kernel says nothing to those who have let go; the test's time limit bounds this.
        while whole.metadata().await.unwrap().len() < 50_000 {
            handle.spawn_on(0, || async {}).await.unwrap();
        }
        assert_pattern(0, &std::fs::read(&scratch.0).unwrap());
    });
}

#[test]
fn bytes_that_could_not_be_written_leave_the_position_where_they_belong() {
    use tokio::io::AsyncWriteExt;
    on_cores(1, |_| async {
        let scratch = Scratch::new("refused");
        scratch.open().await.write_all(b"before").await.unwrap();
        let mut file = FileCursor::new(File::open(&scratch.0).await.unwrap(), 2);
        let refused = match file.write_all(b"new").await {
            Ok(()) => file.flush().await,
            refused => refused,
        };
        assert!(refused.is_err(), "it is open for reading only");
        assert_eq!(file.position(), 2);
    });
}
