//! What programs that come from std or tokio ask of files and paths, against what std answers.

use crate::kit::process::make_fifo;
use crate::kit::{Folder, bounded, poll_once, runtime};
use crate::names::everywhere;
use ringwork::fs::{self, DirBuilder, File, FileType};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// One of each kind that needs no right.
fn zoo(folder: &Folder) -> Vec<PathBuf> {
    let link = folder.join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    make_fifo(&folder.join("fifo"));
    drop(UnixListener::bind(folder.join("socket")).unwrap());
    std::fs::create_dir(folder.join("folder")).unwrap();
    let file = folder.file("file", "content");
    vec![link, folder.join("fifo"), folder.join("socket"), folder.join("folder"), file, "/dev/null".into()]
}

fn assert_same(kind: FileType, expected: std::fs::FileType, path: &Path) {
    let found = [kind.is_file(), kind.is_dir(), kind.is_symlink(), kind.is_fifo(), kind.is_socket()];
    let in_std = [
        expected.is_file(),
        expected.is_dir(),
        expected.is_symlink(),
        expected.is_fifo(),
        expected.is_socket(),
    ];
    assert_eq!(found, in_std, "{path:?}");
    assert_eq!(kind.is_char_device(), expected.is_char_device(), "{path:?}");
    assert_eq!(kind.is_block_device(), expected.is_block_device(), "{path:?}");
    assert_eq!(kind, expected.into(), "{path:?}");
}

#[test]
fn every_kind_of_file_is_told_as_std_tells_it() {
    everywhere(|folder| async move {
        for path in zoo(&folder) {
            let expected = std::fs::symlink_metadata(&path).unwrap().file_type();
            assert_same(fs::symlink_metadata(&path).await.unwrap().file_type(), expected, &path);
        }
        let mut entries = fs::read_dir(folder.join(".")).await.unwrap();
        while let Some(entry) = entries.next_entry().await.unwrap() {
            let expected = std::fs::symlink_metadata(entry.path()).unwrap().file_type();
            assert_same(entry.file_type().unwrap(), expected, &entry.path());
        }
    });
}

#[test]
fn metadata_says_who_owns_a_file_and_what_it_takes_as_std_says_it() {
    everywhere(|folder| async move {
        let path = folder.file("file", vec![1; 100_000]);
        std::fs::hard_link(&path, folder.join("other")).unwrap();
        let (found, expected) = (fs::metadata(&path).await.unwrap(), std::fs::metadata(&path).unwrap());
        assert_eq!((found.uid(), found.gid()), (expected.uid(), expected.gid()));
        assert_eq!((found.nlink(), found.ino(), found.dev()), (2, expected.ino(), expected.dev()));
        assert_eq!(found.blocks(), expected.blocks());
        assert_eq!(found.permissions(), expected.permissions());
    });
}

#[test]
fn permissions_are_set_by_path_and_by_file() {
    everywhere(|folder| async move {
        let path = folder.file("file", "");
        std::os::unix::fs::symlink("file", folder.join("link")).unwrap();
        fs::set_permissions(folder.join("link"), PermissionsExt::from_mode(0o640)).await.unwrap();
        assert_eq!(mode(&path), 0o640);
        let file = File::open(&path).await.unwrap();
        file.set_permissions(PermissionsExt::from_mode(0o600)).await.unwrap();
        assert_eq!(mode(&path), 0o600);
        let absent = fs::set_permissions(folder.join("absent"), PermissionsExt::from_mode(0o600)).await;
        assert_eq!(absent.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn paths_are_followed_to_where_they_lead() {
    everywhere(|folder| async move {
        let file = folder.file("file", "");
        let (link, dangling) = (folder.join("link"), folder.join("dangling"));
        std::os::unix::fs::symlink("./file", &link).unwrap();
        std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
        let through = folder.join(".").join("link");
        assert_eq!(fs::canonicalize(through).await.unwrap(), file.canonicalize().unwrap());
        assert_eq!(fs::canonicalize(&dangling).await.unwrap_err().kind(), ErrorKind::NotFound);

        assert_eq!(fs::read_link(&link).await.unwrap(), Path::new("./file"));
        assert_eq!(fs::read_link(&dangling).await.unwrap(), Path::new("nowhere"));
        assert_eq!(fs::read_link(&file).await.unwrap_err().kind(), ErrorKind::InvalidInput);

        assert!(fs::try_exists(&link).await.unwrap() && fs::try_exists(folder.join(".")).await.unwrap());
        assert!(!fs::try_exists(&dangling).await.unwrap());
        assert!(!fs::try_exists(folder.join("absent/below")).await.unwrap());
        let below_a_file = fs::try_exists(file.join("below")).await.unwrap_err();
        assert_eq!(below_a_file.kind(), ErrorKind::NotADirectory);
    });
}

#[test]
fn a_copy_has_bytes_and_permissions_and_replaces_what_was_there() {
    everywhere(|folder| async move {
        let content = crate::pattern(1_000_000);
        let (from, to) = (folder.file("from", &content), folder.file("to", vec![0; 2_000_000]));
        std::fs::set_permissions(&from, PermissionsExt::from_mode(0o640)).unwrap();
        assert_eq!(fs::copy(&from, &to).await.unwrap(), 1_000_000);
        assert!(fs::read(&to).await.unwrap() == content);
        assert_eq!(mode(&to), 0o640);
        assert_eq!(fs::copy(folder.join("absent"), &to).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::metadata(&to).await.unwrap().len(), 1_000_000);
        // Nobody ever writes to this FIFO.
        make_fifo(&folder.join("fifo"));
        for other in [".", "fifo"] {
            let error = fs::copy(folder.join(other), &to).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{other}");
        }
        assert_eq!(fs::metadata(&to).await.unwrap().len(), 1_000_000);
    });
}

#[test]
fn a_copy_whose_future_is_dropped_is_made_all_the_same() {
    everywhere(|folder| async move {
        let (from, to) = (folder.file("from", "content"), folder.join("to"));
        let mut copy = Box::pin(fs::copy(&from, &to));
        let _ = poll_once(&mut copy).await;
        drop(copy);
        while std::fs::read(&to).ok().as_deref() != Some(b"content") {
            ringwork::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn folders_are_made_with_the_mode_that_was_asked_for() {
    everywhere(|folder| async move {
        let one = folder.join("one");
        DirBuilder::new().mode(0o700).create(&one).await.unwrap();
        assert_eq!(mode(&one), 0o700);
        let again = DirBuilder::new().create(&one).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        let below = DirBuilder::new().create(one.join("a/b")).await.unwrap_err();
        assert_eq!(below.kind(), ErrorKind::NotFound);
        let all = DirBuilder::new().recursive(true).mode(0o700);
        all.create(one.join("a/b")).await.unwrap();
        all.create(one.join("a/b")).await.unwrap();
        assert_eq!((mode(&one), mode(&one.join("a")), mode(&one.join("a/b"))), (0o700, 0o700, 0o700));
    });
}

#[test]
fn a_new_file_is_created_once_and_its_clones_outlive_it() {
    everywhere(|folder| async move {
        let path = folder.join("file");
        let file = File::create_new(&path).await.unwrap();
        assert_eq!(File::create_new(&path).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        let other = file.try_clone().await.unwrap();
        file.write_all_at("content", 0).await.0.unwrap();
        drop(file);
        let (read, bytes) = other.read_at(Vec::with_capacity(100), 0).await;
        assert_eq!((read.unwrap(), &bytes[..]), (7, &b"content"[..]));
    });
}

#[test]
fn a_std_file_becomes_ours_by_from() {
    bounded(|| {
        let folder = Folder::new();
        let path = folder.file("file", "content");
        runtime(1).block_on(async {
            let file = File::from(std::fs::File::open(&path).unwrap());
            assert_eq!(file.read_at(Vec::with_capacity(100), 0).await.1, b"content");
        });
    });
}
