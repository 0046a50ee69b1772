//! A file with a position under the traits of tokio and of futures.

mod scratch;
#[path = "../../support/mod.rs"]
mod support;

use futures_lite::future::poll_once;
use ringwork::compat::FileCursor;
use ringwork::fs::File;
use ringwork::runtime::Handle;
use scratch::Scratch;
use std::ffi::CString;
use std::io::{Read, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use support::{assert_pattern, on_cores, pattern};
use tokio::sync::Notify;

/// A FIFO, whose cursor reads what it writes, and another descriptor of it, which waits for nothing.
async fn fifo(scratch: &Scratch) -> (FileCursor, std::fs::File) {
    let path = CString::new(scratch.0.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is a C string.
    let made = unsafe { libc::mkfifo(path.as_ptr(), 0o600) };
    assert_eq!(made, 0, "mkfifo: {}", std::io::Error::last_os_error());
    let file = File::options().read(true).write(true).open(&scratch.0).await.unwrap();
    let options = std::fs::File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).clone();
    (FileCursor::new(file, 0), options.open(&scratch.0).unwrap())
}

/// Somebody to be woken.
#[derive(Default)]
struct Sleeper(Notify);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

impl Sleeper {
    fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// Returns once it has been woken; the test's time limit bounds it.
    async fn woken(&self) {
        self.0.notified().await;
    }
}

/// Keeps the only core of the runtime until what is returned is dropped: no op begins or completes.
fn hold(handle: &Handle) -> Sender<()> {
    let ((here, is_here), (holds, held)) = (channel(), channel());
    drop(handle.spawn_on(0, move || async move {
        here.send(()).unwrap();
        let _let_go = held.recv();
    }));
    is_here.recv().unwrap();
    holds
}

/// Returns when tasks that were woken before have run.
async fn turns(handle: &Handle) {
    for _ in 0..3 {
        handle.spawn_on(0, || async {}).await.unwrap();
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

#[test]
fn a_read_of_one_half_goes_on_behind_a_write_and_a_flush_of_the_other() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    on_cores(1, |handle| async move {
        let scratch = Scratch::new("halves");
        let (mut reads, mut writes) = tokio::io::split(fifo(&scratch).await.0);
        let reading = handle.spawn(async move {
            let mut byte = [0];
            reads.read_exact(&mut byte).await.unwrap();
            byte
        });
        turns(&handle).await;
        writes.flush().await.unwrap();
        turns(&handle).await;
        writes.write_all(b"x").await.unwrap();
        writes.flush().await.unwrap();
        assert_eq!(reading.await.unwrap(), *b"x");
    });
}

#[test]
fn a_flush_of_one_half_returns_although_the_other_half_reads_meanwhile() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    on_cores(1, |handle| async move {
        let scratch = Scratch::new("full");
        let (cursor, mut other) = fifo(&scratch).await;
        // SAFETY: plain integers.
        let size = unsafe { libc::fcntl(other.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
        other.write_all(&pattern(0, size as usize)).unwrap();
        let (mut reads, mut writes) = tokio::io::split(cursor);
        let flushing = handle.spawn(async move {
            writes.write_all(b"x").await.unwrap();
            writes.flush().await.unwrap();
        });
        turns(&handle).await;
        let reading = handle.spawn(async move { reads.read_exact(&mut [0]).await.unwrap() });
        turns(&handle).await;
        while !flushing.is_finished() {
            let _ = other.read(&mut [0; 4096]);
            turns(&handle).await;
        }
        flushing.await.unwrap();
        // For a read that is still there.
        other.write_all(b"y").unwrap();
        reading.await.unwrap();
    });
}

#[test]
fn who_reads_and_who_flushes_are_both_woken_by_the_write_that_they_wait_for() {
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
    on_cores(1, |handle| async move {
        let scratch = Scratch::new("both");
        let (mut reads, mut writes) = tokio::io::split(scratch.open().await);
        let [reader, writer]: [Arc<Sleeper>; 2] = Default::default();
        let (to_read, to_write) = (reader.waker(), writer.waker());
        let holds = hold(&handle);
        let (mut reading, mut writing) = (Context::from_waker(&to_read), Context::from_waker(&to_write));
        assert!(Pin::new(&mut writes).poll_write(&mut writing, b"x").is_ready());
        assert!(Pin::new(&mut writes).poll_flush(&mut writing).is_pending());
        assert!(Pin::new(&mut reads).poll_read(&mut reading, &mut ReadBuf::new(&mut [0; 4])).is_pending());
        drop(holds);
        reader.woken().await;
        writer.woken().await;
        writes.flush().await.unwrap();
        assert_eq!(reads.read(&mut [0; 4]).await.unwrap(), 0, "behind what was written is the end");
    });
}

#[test]
fn who_reads_is_woken_when_a_write_takes_its_place() {
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
    on_cores(1, |handle| async move {
        let scratch = Scratch::new("place");
        std::fs::write(&scratch.0, b"before").unwrap();
        let file = File::options().read(true).write(true).open(&scratch.0).await.unwrap();
        let (mut reads, mut writes) = tokio::io::split(FileCursor::new(file, 0));
        let reader = Arc::new(Sleeper::default());
        let to_read = reader.waker();
        let holds = hold(&handle);
        let mut reading = Context::from_waker(&to_read);
        assert!(Pin::new(&mut reads).poll_read(&mut reading, &mut ReadBuf::new(&mut [0; 4])).is_pending());
        let mut writing = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut writes).poll_write(&mut writing, b"aft").is_ready());
        drop(holds);
        reader.woken().await;
        let mut rest = String::new();
        reads.read_to_string(&mut rest).await.unwrap();
        writes.flush().await.unwrap();
        assert_eq!((&rest[..], &std::fs::read(&scratch.0).unwrap()[..]), ("ore", &b"aftore"[..]));
    });
}

#[test]
fn the_error_of_a_write_is_not_told_to_who_reads() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    on_cores(1, |handle| async move {
        let full = File::options().read(true).write(true).open("/dev/full").await.unwrap();
        let (mut reads, mut writes) = tokio::io::split(FileCursor::new(full, 0));
        let holds = hold(&handle);
        assert_eq!(writes.write(b"x").await.unwrap(), 1);
        drop(holds);
        let mut byte = [1];
        reads.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, [0]);
        assert_eq!(writes.flush().await.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        writes.flush().await.unwrap();
    });
}

#[test]
fn what_a_read_of_a_fifo_that_was_given_up_brings_is_there_behind_a_flush_and_a_write() {
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, ReadBuf};
    on_cores(1, |_| async {
        let scratch = Scratch::new("once");
        let (mut cursor, mut other) = fifo(&scratch).await;
        let reader = Arc::new(Sleeper::default());
        let waker = reader.waker();
        let (mut reading, mut given_up) = (Context::from_waker(&waker), [0; 5]);
        assert!(Pin::new(&mut cursor).poll_read(&mut reading, &mut ReadBuf::new(&mut given_up)).is_pending());
        other.write_all(b"hello").unwrap();
        reader.woken().await;
        cursor.flush().await.unwrap();
        cursor.write_all(b" again").await.unwrap();
        cursor.flush().await.unwrap();
        let refused = cursor.seek(SeekFrom::Start(9)).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ESPIPE));
        let mut all = [0; 11];
        cursor.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"hello again");
    });
}

#[test]
fn a_read_of_a_fifo_waits_for_no_write_and_a_write_lets_it_wait_on() {
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
    on_cores(1, |handle| async move {
        let scratch = Scratch::new("independent");
        let (cursor, mut other) = fifo(&scratch).await;
        let (mut reads, mut writes) = tokio::io::split(cursor);
        let reader = Arc::new(Sleeper::default());
        let waker = reader.waker();
        let mut bytes = [0; 4];
        let mut buf = ReadBuf::new(&mut bytes);
        let mut reading = Context::from_waker(&waker);
        let holds = hold(&handle);
        assert!(Pin::new(&mut reads).poll_read(&mut reading, &mut buf).is_pending());
        let mut writing = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut writes).poll_write(&mut writing, b"x").is_ready());
        assert!(poll_once(reader.woken()).await.is_none(), "nothing has become of the read");
        drop(holds);
        reader.woken().await;
        assert!(Pin::new(&mut reads).poll_read(&mut reading, &mut buf).is_ready());
        assert_eq!(buf.filled(), b"x");
        // A write that has to wait.
        writes.flush().await.unwrap();
        // SAFETY: plain integers.
        let size = unsafe { libc::fcntl(other.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
        other.write_all(&pattern(0, size as usize)).unwrap();
        writes.write_all(b"y").await.unwrap();
        assert!(Pin::new(&mut writes).poll_flush(&mut writing).is_pending());
        let mut all = vec![0; size as usize + 1];
        reads.read_exact(&mut all).await.unwrap();
        assert_pattern(0, &all[..size as usize]);
        assert_eq!(all[size as usize], b'y');
        writes.flush().await.unwrap();
    });
}

#[test]
fn what_the_kernel_did_not_take_of_a_write_goes_on_by_itself() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    on_cores(1, |_| async {
        let scratch = Scratch::new("rest");
        let (mut cursor, mut other) = fifo(&scratch).await;
        // SAFETY: plain integers.
        let size = unsafe { libc::fcntl(other.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) } as usize;
        let mut all = pattern(0, 3 * size);
        cursor.write_all(&all).await.unwrap();
        all.fill(0);
        cursor.read_exact(&mut all).await.unwrap();
        assert_pattern(0, &all);
        cursor.flush().await.unwrap();

        // Also without its cursor.
        cursor.write_all(&all).await.unwrap();
        drop(cursor);
        let mut at = 0;
        while at < all.len() {
            match other.read(&mut all[..size]) {
                Ok(n) => {
                    assert_pattern(at, &all[..n]);
                    at += n;
                }
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                    ringwork::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    });
}

#[test]
fn a_position_that_no_file_has_is_refused() {
    use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
    on_cores(1, |_| async {
        let scratch = Scratch::new("far");
        let mut cursor = scratch.open().await;
        let last = i64::MAX as u64;
        assert_eq!(cursor.seek(SeekFrom::Start(last)).await.unwrap(), last);
        for to in [SeekFrom::Start(u64::MAX), SeekFrom::Start(last + 1), SeekFrom::Current(1)] {
            let refused = cursor.seek(to).await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput, "{to:?}");
        }
        assert_eq!(cursor.position(), last);
        for at in [u64::MAX, last + 1, last] {
            let mut cursor = FileCursor::new(cursor.file().clone(), at);
            let refused = cursor.write(b"ab").await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput, "{at}");
            assert_eq!(cursor.position(), at);
        }
        let refused = FileCursor::new(cursor.file().clone(), u64::MAX).read(&mut [0; 4]).await;
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(cursor.file().metadata().await.unwrap().len(), 0);
    });
}
