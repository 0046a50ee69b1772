//! `Dir::open_file`: nothing outside the folder is ever opened, and nothing in it makes it wait.

use crate::kit::Folder;
use crate::kit::{bounded, poll_once, process, runtime, seccomp, wait_for};
use ringwork::fs::{self, Dir, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

async fn content(file: File) -> Vec<u8> {
    let (read, buf) = file.read_at(Vec::with_capacity(64), 0).await;
    read.expect("the file can be read");
    buf
}

/// A folder `root` with things in it, and a secret beside it.
fn house() -> (Folder, std::path::PathBuf) {
    let folder = Folder::new();
    let root = folder.join("root");
    std::fs::create_dir_all(root.join("below/deep")).unwrap();
    folder.file("secret", "secret");
    folder.file("root/open", "open");
    folder.file("root/below/deep/file", "deep");
    (folder, root)
}

#[test]
fn what_lies_beneath_is_opened() {
    bounded(|| {
        let runtime = runtime(1);
        let (_folder, root) = house();
        runtime.block_on(async {
            let dir = Dir::open(&root).await.unwrap();
            for (path, expected) in [
                ("open", "open"),
                ("./open", "open"),
                ("below/../open", "open"),
                ("below/deep/file", "deep"),
                ("below//deep/./file", "deep"),
                ("below/deep/../../open", "open"),
            ] {
                let file = dir.open_file(path).await.unwrap_or_else(|error| panic!("{path}: {error}"));
                assert_eq!(content(file).await, expected.as_bytes(), "{path}");
            }
            assert!(dir.open_file("below").await.unwrap().metadata().await.unwrap().is_dir());
            assert!(dir.open_file(".").await.unwrap().metadata().await.unwrap().is_dir());
            assert!(dir.metadata().await.unwrap().is_dir());
        });
    });
}

#[test]
fn paths_that_lead_out_are_refused() {
    bounded(|| {
        let runtime = runtime(1);
        let (folder, root) = house();
        let absolute = folder.join("secret");
        let own = root.join("open");
        runtime.block_on(async {
            let dir = Dir::open(&root).await.unwrap();
            for path in [
                "..",
                "../secret",
                "below/../../secret",
                "below/deep/../../../secret",
                "../root/open",
                absolute.to_str().unwrap(),
                own.to_str().unwrap(),
                "/",
                "/etc/passwd",
            ] {
                let error = dir.open_file(path).await.expect_err(path);
                assert_eq!(error.raw_os_error(), Some(libc::EXDEV), "{path}: {error}");
            }
            let error = dir.open_file("").await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        });
    });
}

#[test]
fn links_are_followed_inside_and_refused_when_they_lead_out() {
    bounded(|| {
        let runtime = runtime(1);
        let (folder, root) = house();
        symlink("below/deep/file", root.join("in")).unwrap();
        symlink("../open", root.join("below/up")).unwrap();
        symlink("below", root.join("folder")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("..", root.join("below/parent")).unwrap();
        symlink("../..", root.join("below/grand")).unwrap();
        symlink(folder.join("secret"), root.join("absolute")).unwrap();
        symlink(root.join("open"), root.join("absolute-in")).unwrap();
        symlink("/proc/self/cwd", root.join("magic")).unwrap();
        symlink("turn", root.join("turn")).unwrap();
        runtime.block_on(async {
            let dir = Dir::open(&root).await.unwrap();
            for path in ["in", "below/up", "folder/deep/file", "below/parent/open"] {
                dir.open_file(path).await.unwrap_or_else(|error| panic!("{path}: {error}"));
            }
            for path in ["out", "absolute", "absolute-in", "below/grand/secret", "magic", "magic/Cargo.toml"]
            {
                let error = dir.open_file(path).await.expect_err(path);
                assert_eq!(error.raw_os_error(), Some(libc::EXDEV), "{path}: {error}");
            }
            let error = dir.open_file("turn").await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
        });
    });
}

#[test]
fn a_fifo_without_a_writer_does_not_make_the_open_wait() {
    bounded(|| {
        let runtime = runtime(1);
        let (_folder, root) = house();
        process::make_fifo(&root.join("fifo"));
        runtime.block_on(async {
            let dir = Dir::open(&root).await.unwrap();
            let fifo = dir.open_file("fifo").await.unwrap();
            let metadata = fifo.metadata().await.unwrap();
            assert!(!metadata.is_file() && !metadata.is_dir());
        });
    });
}

/// A lease of `fcntl(2)` on a file, which its holder gives back when somebody wants to open the file.
struct Lease(std::fs::File);

impl Lease {
    fn take(path: &std::path::Path) -> Self {
        // The word that somebody wants the file, which would end the process.
        // SAFETY: a system call without memory; the process is this test's alone.
        unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
        let lease = Self(std::fs::OpenOptions::new().write(true).open(path).unwrap());
        assert_eq!(lease.call(libc::F_SETLEASE, libc::F_WRLCK), 0, "{}", std::io::Error::last_os_error());
        lease
    }

    fn is_wanted_back(&self) -> bool {
        self.call(libc::F_GETLEASE, 0) != libc::F_WRLCK
    }

    fn give_back(&self) {
        assert_eq!(self.call(libc::F_SETLEASE, libc::F_UNLCK), 0);
    }

    fn call(&self, command: i32, argument: i32) -> i32 {
        // SAFETY: a system call without memory.
        unsafe { libc::fcntl(self.0.as_raw_fd(), command, argument) }
    }
}

#[test]
fn a_file_that_somebody_has_a_lease_on_is_opened_once_it_is_given_back() {
    process::alone(|| {
        bounded(|| {
            let runtime = runtime(1);
            let (_folder, root) = house();
            symlink("file", root.join("link")).unwrap();
            std::fs::write(root.join("file"), "file").unwrap();
            let dir = runtime.block_on(Dir::open(&root)).unwrap();
            for (path, name) in [("open", "open"), ("link", "file")] {
                let lease = Lease::take(&root.join(name));
                let mut opening = Box::pin(dir.open_file(path));
                let opened = runtime.block_on(async {
                    // Many more turns of the ring than an answer that does not wait would take.
                    for turn in 0..500 {
                        assert!(poll_once(&mut opening).await.is_pending(), "{path} in turn {turn}");
                        dir.open_file(format!("no-{name}-{turn}")).await.unwrap_err();
                    }
                    assert!(lease.is_wanted_back());
                    lease.give_back();
                    opening.await
                });
                let file = opened.unwrap_or_else(|error| panic!("{path}: {error}"));
                assert_eq!(runtime.block_on(content(file)), std::fs::read(root.join(name)).unwrap());
            }
        });
    });
}

#[test]
fn a_lease_is_waited_for_by_who_opens_by_name_as_well() {
    process::alone(|| {
        bounded(|| {
            let runtime = runtime(1);
            let folder = Folder::new();
            let path = folder.file("file", "content");
            for options in [File::options().read(true), File::options().write(true).create(true)] {
                let lease = Lease::take(&path);
                let path = path.clone();
                // On the core, where it is tried on the spot first.
                let opened = runtime.handle().spawn_on(0, move || async move {
                    let mut opening = Box::pin(options.open(&path));
                    while !lease.is_wanted_back() {
                        assert!(poll_once(&mut opening).await.is_pending(), "{options:?}");
                        ringwork::task::yield_now().await;
                    }
                    lease.give_back();
                    opening.await.unwrap_or_else(|error| panic!("{options:?}: {error}"));
                });
                runtime.block_on(opened).unwrap();
            }
        });
    });
}

#[test]
fn an_open_that_is_dropped_while_somebody_keeps_a_lease_leaves_nothing_open() {
    process::alone(|| {
        bounded(|| {
            let runtime = runtime(1);
            let (_folder, root) = house();
            let dir = runtime.block_on(Dir::open(&root)).unwrap();
            let lease = Lease::take(&root.join("open"));
            let before = process::descriptors();
            runtime.block_on(async {
                for _ in 0..20 {
                    let mut opening = Box::pin(dir.open_file("open"));
                    assert!(poll_once(&mut opening).await.is_pending());
                    while process::descriptors() == before {
                        assert!(poll_once(&mut opening).await.is_pending());
                    }
                }
            });
            wait_for("what the opens had open to close", || process::descriptors() == before);
            lease.give_back();
        });
    });
}

/// As in a container whose filter is older than the call. Ops of the ring are not filtered.
#[test]
fn a_filter_that_forbids_the_call_leaves_the_op() {
    process::alone(|| {
        for errno in [libc::EPERM, libc::ENOSYS] {
            // On a thread of its own, and so are the filter and the runtime.
            bounded(move || {
                seccomp::forbid(libc::SYS_openat2, errno).unwrap();
                let runtime = runtime(1);
                let (_folder, root) = house();
                let open = async move {
                    let dir = Dir::open(&root).await.unwrap();
                    assert_eq!(content(dir.open_file("open").await.unwrap()).await, b"open");
                    let error = dir.open_file("../secret").await.unwrap_err();
                    assert_eq!(error.raw_os_error(), Some(libc::EXDEV));
                    assert_eq!(fs::metadata(root.join("open")).await.unwrap().len(), 4);
                };
                runtime.block_on(runtime.spawn(open)).unwrap();
            });
        }
    });
}

#[test]
fn a_folder_that_moves_or_vanishes_stays_the_folder_it_was() {
    bounded(|| {
        let runtime = runtime(1);
        let (folder, root) = house();
        runtime.block_on(async {
            let dir = Dir::open(&root).await.unwrap();
            let moved = folder.join("moved");
            std::fs::rename(&root, &moved).unwrap();
            assert_eq!(content(dir.open_file("open").await.unwrap()).await, b"open");
            std::fs::remove_dir_all(&moved).unwrap();
            let error = dir.open_file("open").await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        });
    });
}

/// Somebody swaps a folder for a link to the outside while paths through it are being opened.
#[test]
fn a_link_swapped_in_amid_the_walk_leads_nowhere() {
    bounded(|| {
        let runtime = runtime(1);
        let (folder, root) = house();
        std::fs::create_dir(folder.join("outside")).unwrap();
        folder.file("outside/file", "outside");
        std::fs::create_dir(root.join("swap")).unwrap();
        folder.file("root/swap/file", "inside");
        symlink(folder.join("outside"), root.join("link")).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let (stop, place) = (Arc::clone(&over), root.clone());
        let swapping = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::fs::rename(place.join("swap"), place.join("aside")).unwrap();
                std::fs::rename(place.join("link"), place.join("swap")).unwrap();
                std::fs::rename(place.join("swap"), place.join("link")).unwrap();
                std::fs::rename(place.join("aside"), place.join("swap")).unwrap();
            }
        });
        runtime.block_on(async {
            let dir = Dir::open(&root).await.unwrap();
            let (mut opened, mut round) = (0, 0);
            while round < 2_000 || opened < 20 {
                round += 1;
                // With a walk upwards, which the kernel gives up when names move.
                let path = ["swap/file", "below/../swap/file"][round % 2];
                match dir.open_file(path).await {
                    Ok(file) => {
                        assert_eq!(content(file).await, b"inside");
                        opened += 1;
                    }
                    // Not there at this moment, or the link.
                    Err(error) => {
                        let expected = [Some(libc::ENOENT), Some(libc::EXDEV)];
                        assert!(expected.contains(&error.raw_os_error()), "{error}");
                    }
                }
            }
        });
        over.store(true, Ordering::Relaxed);
        swapping.join().unwrap();
    });
}
