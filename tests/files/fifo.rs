//! FIFOs: an open waits for the other end as with std, and nothing is left of one that is given up.

use crate::kit::process::{alone, make_fifo};
use crate::kit::{Folder, bounded, poll_once, runtime};
use crate::leaks::leaves_no_descriptor;
use crate::names::everywhere;
use ringwork::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;

type Opening = Pin<Box<dyn Future<Output = io::Result<File>> + Send>>;

/// A new one each time: an end of another test's, or of one that was given up, may be open for a moment
/// longer (a child that is being started has all that is open here).
fn fifo(folder: &Folder) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let path = folder.join(&format!("fifo-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    make_fifo(&path);
    // Its name is in the kernel's cache, so that an open is tried on the core.
    std::fs::metadata(&path).unwrap();
    path
}

fn reading(path: &Path) -> Opening {
    let path = path.to_owned();
    Box::pin(async move { File::open(path).await })
}

fn writing(path: &Path) -> Opening {
    let path = path.to_owned();
    Box::pin(async move { OpenOptions::new().write(true).open(path).await })
}

fn creating(path: &Path) -> Opening {
    let path = path.to_owned();
    Box::pin(async move { File::create(path).await })
}

/// Polls for many more turns of the ring than an open that does not wait would take.
async fn assert_waits(opening: &mut Opening) {
    for turn in 0..100 {
        if let Poll::Ready(opened) = poll_once(opening).await {
            panic!("did not wait: {opened:?} in turn {turn}");
        }
        by_op(Path::new("/nowhere")).await.unwrap_err();
    }
}

/// An open that is always an op, and done in the enter that submits it: one that says itself that it does not
/// wait. Others may be done on the spot.
fn by_op(path: &Path) -> Opening {
    let path = path.to_owned();
    Box::pin(async move { OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).await })
}

/// Opens one end without waiting for the other.
fn at_once(options: &mut std::fs::OpenOptions, path: &Path) -> io::Result<std::fs::File> {
    options.custom_flags(libc::O_NONBLOCK).open(path)
}

#[test]
fn an_open_for_writing_waits_for_a_reader() {
    everywhere(|folder| async move {
        let path = fifo(&folder);
        let mut opening = writing(&path);
        assert_waits(&mut opening).await;
        let reader = thread::spawn(move || std::fs::read(path).unwrap());
        let file = opening.await.unwrap();
        file.write_all_at("content", 0).await.0.unwrap();
        drop(file);
        assert_eq!(ringwork::spawn_blocking(|| reader.join().unwrap()).await.unwrap(), b"content");
    });
}

#[test]
fn an_open_for_reading_waits_for_a_writer_even_one_that_writes_nothing() {
    everywhere(|folder| async move {
        for content in ["content", ""] {
            let path = fifo(&folder);
            let mut opening = reading(&path);
            assert_waits(&mut opening).await;
            let mut writer = at_once(std::fs::OpenOptions::new().write(true), &path).unwrap();
            let file = opening.await.unwrap();
            writer.write_all(content.as_bytes()).unwrap();
            drop(writer);
            let (read, bytes) = file.read_at(Vec::with_capacity(64), 0).await;
            assert_eq!((read.unwrap(), &bytes[..]), (content.len(), content.as_bytes()));
        }
    });
}

/// A core has four helper threads for files, and the other ends are opened there as well.
#[test]
fn however_many_opens_wait_files_and_the_other_ends_are_opened() {
    everywhere(|folder| async move {
        let paths: Vec<_> = (0..8).map(|_| fifo(&folder)).collect();
        let mut openings: Vec<_> = paths.iter().map(|path| reading(path)).collect();
        for opening in &mut openings {
            assert_waits(opening).await;
        }
        let file = folder.join("file");
        fs::write(&file, "content").await.unwrap();
        assert_eq!(fs::read(&file).await.unwrap(), b"content");
        // A socket's open fails as that of a FIFO without a reader does, and is not waited for.
        drop(std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap());
        let socket = OpenOptions::new().write(true).open(folder.join("socket")).await;
        assert_eq!(socket.unwrap_err().raw_os_error(), Some(libc::ENXIO));
        for (path, opening) in paths.iter().zip(openings) {
            fs::write(path, "to somebody").await.unwrap();
            let (read, bytes) = opening.await.unwrap().read_at(Vec::with_capacity(64), 0).await;
            assert_eq!((read.unwrap(), &bytes[..]), (11, &b"to somebody"[..]));
        }
    });
}

/// An open that creates or empties is not tried on the core: the kernel gives it to a helper thread.
#[test]
fn however_many_creating_opens_wait_names_are_changed() {
    everywhere(|folder| async move {
        let paths: Vec<_> = (0..4).map(|_| fifo(&folder)).collect();
        let mut openings: Vec<_> = paths.iter().map(|path| creating(path)).collect();
        for opening in &mut openings {
            assert_waits(opening).await;
        }
        let file = folder.file("file", "content");
        fs::rename(&file, folder.join("renamed")).await.unwrap();
        for (path, opening) in paths.iter().zip(openings) {
            let mut reader = at_once(std::fs::OpenOptions::new().read(true), path).unwrap();
            opening.await.unwrap().write_all_at("to somebody", 0).await.0.unwrap();
            let mut read = String::new();
            reader.read_to_string(&mut read).unwrap();
            assert_eq!(read, "to somebody");
        }
    });
}

/// Nor is one of a path that leads through a link which the kernel has to make up: the cache never holds it.
#[test]
fn however_many_opens_of_uncached_paths_wait_names_are_changed() {
    everywhere(|folder| async move {
        let paths: Vec<_> = (0..4).map(|_| fifo(&folder)).collect();
        let uncached = |path: &PathBuf| Path::new("/proc/self/root").join(path.strip_prefix("/").unwrap());
        let mut openings: Vec<_> = paths.iter().map(|path| reading(&uncached(path))).collect();
        for opening in &mut openings {
            assert_waits(opening).await;
        }
        let file = folder.file("file", "content");
        fs::rename(&file, folder.join("renamed")).await.unwrap();
        for (path, opening) in paths.iter().zip(openings) {
            fs::write(path, "to somebody").await.unwrap();
            let (read, bytes) = opening.await.unwrap().read_at(Vec::with_capacity(64), 0).await;
            assert_eq!((read.unwrap(), &bytes[..]), (11, &b"to somebody"[..]));
        }
    });
}

/// The flag with which an open does not wait is not left behind.
#[test]
fn what_was_opened_has_the_flags_that_were_asked_for() {
    everywhere(|folder| async move {
        let flags = |fd: &File| {
            // SAFETY: a system call without memory.
            let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
            flags & (libc::O_NONBLOCK | libc::O_APPEND | libc::O_ACCMODE)
        };
        let file = folder.join("file");
        assert_eq!(flags(&File::create(&file).await.unwrap()), libc::O_WRONLY);
        assert_eq!(flags(&File::open(&file).await.unwrap()), libc::O_RDONLY);
        let log = OpenOptions::new().append(true).open(&file).await.unwrap();
        assert_eq!(flags(&log), libc::O_WRONLY | libc::O_APPEND);
        let path = fifo(&folder);
        let both = OpenOptions::new().read(true).write(true).open(&path).await.unwrap();
        assert_eq!(flags(&both), libc::O_RDWR);
        // Others may wait on the helper threads; then it is told of a writer by what he has written.
        both.write_all_at("content", 0).await.0.unwrap();
        assert_eq!(flags(&File::open(&path).await.unwrap()), libc::O_RDONLY);
        assert_eq!(flags(&File::create(&path).await.unwrap()), libc::O_WRONLY);
        let now = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).await.unwrap();
        assert_eq!(flags(&now), libc::O_RDONLY | libc::O_NONBLOCK);
        assert_eq!(flags(&File::create("/dev/null").await.unwrap()), libc::O_WRONLY);
        // Nothing but a name, which is no file to be read.
        OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&path).await.unwrap();
    });
}

/// The writer comes and goes between two looks of the one who waits.
#[test]
fn a_writer_that_is_gone_again_has_been_there() {
    everywhere(|folder| async move {
        for round in 0..200 {
            let path = fifo(&folder);
            let mut opening = reading(&path);
            if let Poll::Ready(opened) = poll_once(&mut opening).await {
                panic!("did not wait: {opened:?} in round {round}");
            }
            // There is no reader before the open has come to the kernel.
            let mut writer = loop {
                match at_once(std::fs::OpenOptions::new().write(true), &path) {
                    Ok(writer) => break writer,
                    Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENXIO)),
                }
                if let Poll::Ready(opened) = poll_once(&mut opening).await {
                    panic!("did not wait: {opened:?} in round {round}");
                }
                ringwork::task::yield_now().await;
            };
            writer.write_all(b"quick").unwrap();
            drop(writer);
            let file = opening.await.unwrap();
            let (read, bytes) = file.read_at(Vec::with_capacity(64), 0).await;
            assert_eq!((read.unwrap(), &bytes[..]), (5, &b"quick"[..]), "round {round}");
        }
    });
}

#[test]
fn a_whole_fifo_is_what_is_written_until_the_last_writer_goes() {
    bounded(|| {
        let runtime = runtime(1);
        let folder = Folder::new();
        let path = fifo(&folder);
        let text = "line\n".repeat(50_000);
        let (to, written) = (path.clone(), text.clone());
        let writer = thread::spawn(move || std::fs::write(to, written).unwrap());
        assert!(runtime.block_on(fs::read_to_string(&path)).unwrap() == text);
        writer.join().unwrap();
    });
}

#[test]
fn who_asks_not_to_wait_does_not_wait() {
    everywhere(|folder| async move {
        let path = fifo(&folder);
        let now = |options: OpenOptions| options.custom_flags(libc::O_NONBLOCK);
        let error = now(OpenOptions::new().write(true)).open(&path).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
        now(OpenOptions::new().read(true)).open(&path).await.unwrap();
        OpenOptions::new().read(true).write(true).open(&path).await.unwrap();
        // A socket has no such end to wait for.
        drop(std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap());
        let error = File::open(folder.join("socket")).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
    });
}

#[test]
fn an_open_that_is_dropped_while_it_waits_is_no_end_of_the_fifo() {
    alone(|| {
        leaves_no_descriptor(|runtime, folder| {
            let pairs: Vec<_> = (0..20).map(|_| (fifo(folder), fifo(folder))).collect();
            let task = runtime.spawn(async move {
                for (path, other) in pairs {
                    let mut opening = reading(&path);
                    assert_waits(&mut opening).await;
                    drop(opening);
                    // An open for writing that does not wait finds no reader.
                    while at_once(std::fs::OpenOptions::new().write(true), &path).is_ok() {
                        ringwork::task::yield_now().await;
                    }
                    let mut opening = writing(&other);
                    assert_waits(&mut opening).await;
                    drop(opening);
                    // Without a writer, what is read is the end.
                    let mut reader = at_once(std::fs::OpenOptions::new().read(true), &other).unwrap();
                    while !matches!(reader.read(&mut [0]), Ok(0)) {
                        ringwork::task::yield_now().await;
                    }
                }
            });
            runtime.block_on(task).unwrap();
        });
    });
}

#[test]
fn a_reader_has_the_fifo_that_its_writer_has_found_whatever_becomes_of_the_name() {
    // Tests beside it could have all the places of this process for opens that wait.
    alone(|| {
        let (runtime, folder) = (runtime(1), Folder::new());
        for round in 0..200 {
            let path = fifo(&folder);
            let opening = runtime.spawn(reading(&path));
            // Once it is open somebody reads.
            let writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            if round % 2 == 0 {
                std::fs::remove_file(&path).unwrap();
            } else {
                std::fs::rename(folder.file("other", "another file"), &path).unwrap();
            }
            let file = runtime.block_on(opening).unwrap().unwrap();
            let metadata = runtime.block_on(file.metadata()).unwrap();
            assert!(metadata.file_type().is_fifo(), "in round {round}");
            drop(writer);
        }
    });
}
