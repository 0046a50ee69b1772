//! `Dir::open_file`: nothing outside the folder is ever opened, and nothing in it makes it wait.

use crate::kit::Folder;
use crate::kit::{bounded, process, runtime};
use ringwork::fs::{Dir, File};
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
