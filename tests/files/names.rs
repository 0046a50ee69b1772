//! Names: renamed, removed, linked, and listed.

use crate::kit::Folder;
use crate::kit::{bounded, poll_once, runtime, wait_for};
use ringwork::fs;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::task::Poll;
use std::time::Duration;

/// Runs `body` on a core and on a thread that is none, each time with a folder of its own.
pub(crate) fn everywhere<F>(body: impl Fn(Folder) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    bounded(move || {
        let runtime = runtime(2);
        let inside = body.clone();
        runtime.block_on(runtime.handle().spawn_on(0, move || inside(Folder::new()))).unwrap();
        runtime.block_on(body(Folder::new()));
    });
}

async fn names(folder: &Path) -> BTreeSet<String> {
    let mut entries = fs::read_dir(folder).await.unwrap();
    let mut names = BTreeSet::new();
    while let Some(entry) = entries.next_entry().await.unwrap() {
        assert_eq!(entry.path(), folder.join(entry.file_name()));
        assert!(names.insert(entry.file_name().into_string().unwrap()), "each name comes once");
    }
    assert!(entries.next_entry().await.unwrap().is_none(), "the end is the end");
    names
}

#[test]
fn a_file_gets_another_name_in_place_of_what_had_it() {
    everywhere(|folder| async move {
        let (old, new) = (folder.file("old", "content"), folder.file("new", "in the way"));
        fs::rename(&old, &new).await.unwrap();
        assert_eq!(fs::read(&new).await.unwrap(), b"content");
        assert_eq!(fs::rename(&old, &new).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(names(&folder.join(".")).await, ["new".to_owned()].into());
    });
}

#[test]
fn folders_are_made_and_removed_and_a_full_one_is_not_removed_by_mistake() {
    everywhere(|folder| async move {
        let one = folder.join("one");
        fs::create_dir(&one).await.unwrap();
        assert_eq!(std::fs::metadata(&one).unwrap().permissions().mode() & 0o700, 0o700);
        assert_eq!(fs::create_dir(&one).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::create_dir(one.join("a/b")).await.unwrap_err().kind(), ErrorKind::NotFound);
        fs::create_dir_all(one.join("a/b")).await.unwrap();
        fs::create_dir_all(one.join("a/b")).await.unwrap();
        assert_eq!(fs::remove_dir(&one).await.unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
        assert_eq!(fs::remove_file(&one).await.unwrap_err().kind(), ErrorKind::IsADirectory);
        fs::remove_dir(one.join("a/b")).await.unwrap();
        fs::remove_dir_all(&one).await.unwrap();
        assert_eq!(fs::metadata(&one).await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_file_lives_until_its_last_name_is_removed() {
    everywhere(|folder| async move {
        let (first, second, link) =
            (folder.file("first", "content"), folder.join("second"), folder.join("link"));
        fs::hard_link(&first, &second).await.unwrap();
        assert_eq!(std::fs::metadata(&first).unwrap().nlink(), 2);
        fs::symlink("second", &link).await.unwrap();
        fs::remove_file(&first).await.unwrap();
        assert_eq!(fs::read(&link).await.unwrap(), b"content");
        fs::remove_file(&second).await.unwrap();
        assert_eq!(fs::read(&link).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("second"));
        assert_eq!(fs::symlink("x", &link).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::hard_link(&second, &first).await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_folder_of_any_size_is_listed_whole() {
    everywhere(|folder| async move {
        assert_eq!(names(&folder.join(".")).await, BTreeSet::new());
        let mut expected = BTreeSet::new();
        for number in 0..2_500 {
            let name = format!("file-{number}");
            folder.file(&name, "");
            expected.insert(name);
        }
        assert_eq!(names(&folder.join(".")).await, expected);
        let not_a_folder = fs::read_dir(folder.join("file-1")).await.unwrap_err();
        assert_eq!(not_a_folder.kind(), ErrorKind::NotADirectory);
    });
}

#[test]
fn entries_say_what_they_are() {
    everywhere(|folder| async move {
        let file = folder.file("file", "");
        fs::create_dir(folder.join("folder")).await.unwrap();
        fs::symlink("file", folder.join("link")).await.unwrap();
        let mut entries = fs::read_dir(folder.join(".")).await.unwrap();
        while let Some(entry) = entries.next_entry().await.unwrap() {
            let kind = entry.file_type().unwrap();
            match entry.file_name().to_str().unwrap() {
                "file" => {
                    assert!(kind.is_file());
                    assert_eq!(entry.ino(), fs::metadata(&file).await.unwrap().ino());
                }
                "folder" => assert!(kind.is_dir()),
                "link" => {
                    assert!(kind.is_symlink() && entry.metadata().await.unwrap().is_symlink());
                    assert!(fs::symlink_metadata(entry.path()).await.unwrap().is_symlink());
                    assert!(fs::metadata(entry.path()).await.unwrap().is_file());
                }
                other => panic!("{other} was not made"),
            }
        }
    });
}

#[test]
fn a_folder_that_is_read_with_metadata_tells_of_each_entry_what_it_was_then() {
    everywhere(|folder| async move {
        let (file, link) = (folder.file("file", "four"), folder.join("link"));
        fs::create_dir(folder.join("folder")).await.unwrap();
        fs::symlink("nowhere", &link).await.unwrap();
        let mut entries = fs::read_dir_with_metadata(folder.join(".")).await.unwrap();
        let inode = fs::metadata(&file).await.unwrap().ino();
        fs::write(&file, "longer by now").await.unwrap();
        fs::remove_file(&link).await.unwrap();
        let mut names = BTreeSet::new();
        while let Some(entry) = entries.next_entry().await.unwrap() {
            let metadata = entry.metadata().await.unwrap();
            assert_eq!((metadata.ino(), metadata.file_type()), (entry.ino(), entry.file_type().unwrap()));
            if metadata.is_file() {
                assert_eq!((metadata.len(), metadata.ino()), (4, inode));
            }
            assert!(names.insert(entry.file_name().into_string().unwrap()));
        }
        assert_eq!(names, ["file", "folder", "link"].map(str::to_owned).into());
        let not_a_folder = fs::read_dir_with_metadata(&file).await.unwrap_err();
        assert_eq!(not_a_folder.kind(), ErrorKind::NotADirectory);
    });
}

#[test]
fn metadata_of_an_entry_is_of_what_is_in_the_folder_that_was_read() {
    everywhere(|folder| async move {
        let (read, moved) = (folder.join("read"), folder.join("moved"));
        std::fs::create_dir(&read).unwrap();
        folder.file("read/file", "content");
        std::os::unix::fs::symlink("nowhere", read.join("link")).unwrap();
        let mut entries = Vec::new();
        let mut list = fs::read_dir(&read).await.unwrap();
        while let Some(entry) = list.next_entry().await.unwrap() {
            entries.push(entry);
        }
        drop(list);
        assert_eq!(entries.len(), 2);
        std::fs::rename(&read, &moved).unwrap();
        for foreign in [false, true] {
            if foreign {
                std::fs::create_dir(&read).unwrap();
                folder.file("read/file", "something else");
                folder.file("read/link", "no link");
            }
            for entry in &entries {
                let found = entry.metadata().await.unwrap();
                let expected = std::fs::symlink_metadata(moved.join(entry.file_name())).unwrap();
                assert_eq!((found.ino(), found.mode()), (expected.ino(), expected.mode()), "{entry:?}");
                assert_eq!(found.file_type(), entry.file_type().unwrap());
                assert_eq!(entry.path(), read.join(entry.file_name()));
            }
        }
        std::fs::remove_dir_all(&moved).unwrap();
        assert_eq!(entries[0].metadata().await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_folder_that_is_removed_while_it_is_read_has_an_end() {
    everywhere(|folder| async move {
        let read = folder.join("read");
        std::fs::create_dir(&read).unwrap();
        for number in 0..5_000 {
            folder.file(&format!("read/{number}"), "");
        }
        let mut list = fs::read_dir(&read).await.unwrap();
        std::fs::remove_dir_all(&read).unwrap();
        while list.next_entry().await.unwrap().is_some() {}
        assert!(list.next_entry().await.unwrap().is_none());
    });
}

#[test]
fn a_list_whose_future_is_dropped_goes_on_where_it_was() {
    everywhere(|folder| async move {
        let mut expected = BTreeSet::new();
        for number in 0..2_500 {
            expected.insert(format!("file-{number}"));
            folder.file(&format!("file-{number}"), "");
        }
        let mut entries = fs::read_dir(folder.join(".")).await.unwrap();
        let mut found = BTreeSet::new();
        loop {
            // Polled once: at the end of a batch it waits for the next one, and is dropped.
            let Poll::Ready(entry) = poll_once(&mut Box::pin(entries.next_entry())).await else { continue };
            let Some(entry) = entry.unwrap() else { break };
            assert!(found.insert(entry.file_name().into_string().unwrap()));
        }
        assert_eq!(found, expected);
    });
}

#[test]
fn a_rename_that_is_dropped_is_done_or_not_and_nothing_stays_behind() {
    bounded(|| {
        let runtime = runtime(2);
        let folder = Folder::new();
        let (old, new) = (folder.file("old", "content"), folder.join("new"));
        let task = runtime.spawn(async move {
            for _ in 0..200 {
                let mut there = Box::pin(fs::rename(&old, &new));
                // Done or not.
                let _ = poll_once(&mut there).await;
                drop(there);
                let _ = fs::rename(&new, &old).await;
            }
        });
        runtime.block_on(task).unwrap();
        wait_for("all ops to end", || {
            runtime.handle().metrics().cores.iter().all(|core| core.in_flight == 0)
        });
        assert_eq!(runtime.block_on(names(&folder.join("."))).len(), 1);
    });
}

#[test]
fn a_removal_whose_future_is_dropped_is_done_all_the_same() {
    everywhere(|folder| async move {
        for round in 0..50 {
            let path = folder.file(&format!("file-{round}"), "");
            let mut removal = Box::pin(fs::remove_file(&path));
            // From outside it may be done at once.
            let _ = poll_once(&mut removal).await;
            drop(removal);
            while path.exists() {
                ringwork::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
}
