//! Errors: the kernel's, as std gives them, and the file is usable after one.

use crate::kit::Folder;
use crate::kit::process::{alone, is_root};
use crate::kit::{bounded, runtime};
use ringwork::fs::{self, Dir, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().expect("it fails").raw_os_error()
}

#[test]
fn paths_that_lead_nowhere_fail_as_with_std() {
    bounded(|| {
        let runtime = runtime(1);
        let folder = Folder::new();
        let file = folder.file("file", "x");
        std::os::unix::fs::symlink("loop", folder.join("loop")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.join("dangling")).unwrap();
        let long = folder.join(&"n".repeat(300));
        let deep = folder.join(&"n/".repeat(3_000));
        let paths = [folder.join("absent"), file.join("below"), folder.join("loop"), folder.join("dangling")];
        for path in paths.into_iter().chain([long, deep, "".into(), folder.join("absent/below")]) {
            let expected = errno(std::fs::File::open(&path));
            assert!(expected.is_some());
            runtime.block_on(async {
                assert_eq!(errno(File::open(&path).await), expected, "open {path:?}");
                assert_eq!(errno(fs::read(&path).await), expected, "read {path:?}");
                assert_eq!(errno(fs::metadata(&path).await), expected, "metadata {path:?}");
                assert_eq!(errno(Dir::open(&path).await), expected, "dir {path:?}");
            });
        }
    });
}

#[test]
fn a_path_with_a_nul_byte_is_refused_before_the_kernel_sees_it() {
    bounded(|| {
        let runtime = runtime(1);
        runtime.block_on(async {
            let error = File::open("a\0b").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let error = fs::metadata("a\0b").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        });
    });
}

#[test]
fn folders_are_no_files_and_files_no_folders() {
    bounded(|| {
        let runtime = runtime(1);
        let folder = Folder::new();
        let file = folder.file("file", "x");
        runtime.block_on(async {
            assert_eq!(errno(File::create(folder.path()).await), Some(libc::EISDIR));
            assert_eq!(errno(fs::read(folder.path()).await), Some(libc::EISDIR));
            let opened = File::open(folder.path()).await.unwrap();
            assert_eq!(errno(opened.read_at([0; 8], 0).await.0), Some(libc::EISDIR));
            assert_eq!(errno(Dir::open(&file).await), Some(libc::ENOTDIR));
        });
    });
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    bounded(|| {
        let runtime = runtime(1);
        let folder = Folder::new();
        let file = folder.file("file", "x");
        let nonsense = [
            OpenOptions::new(),
            OpenOptions::new().read(true).create(true),
            OpenOptions::new().read(true).truncate(true),
            OpenOptions::new().append(true).truncate(true),
        ];
        for options in nonsense {
            let error = runtime.block_on(options.open(&file)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{options:?}");
        }
        assert_eq!(std::fs::read(&file).unwrap(), b"x");
        // There is nothing to empty in a file that is new.
        let log = OpenOptions::new().append(true).truncate(true).create_new(true);
        runtime.block_on(log.open(folder.join("new"))).unwrap();
    });
}

#[test]
fn create_new_refuses_what_is_there_and_modes_are_obeyed() {
    bounded(|| {
        let runtime = runtime(1);
        let folder = Folder::new();
        let path = folder.join("new");
        let options = OpenOptions::new().write(true).create_new(true).mode(0o640);
        runtime.block_on(async {
            options.open(&path).await.unwrap();
            assert_eq!(errno(options.open(&path).await), Some(libc::EEXIST));
            let link = folder.join("link");
            std::os::unix::fs::symlink(&path, &link).unwrap();
            assert_eq!(errno(options.open(&link).await), Some(libc::EEXIST));
            let no_follow = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW);
            assert_eq!(errno(no_follow.open(&link).await), Some(libc::ELOOP));
        });
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !0o640, 0, "{mode:o}");
        assert_eq!(mode & 0o600, 0o600, "{mode:o}");
    });
}

/// `open(2)` does not look at such bits, and a mode out of metadata has them.
#[test]
fn a_mode_may_say_what_kind_of_file_it_is_of() {
    bounded(|| {
        let runtime = runtime(1);
        let folder = Folder::new();
        let like = folder.file("like", "x");
        std::fs::set_permissions(&like, PermissionsExt::from_mode(0o640)).unwrap();
        runtime.block_on(async {
            let mode = fs::metadata(&like).await.unwrap().permissions().mode();
            assert_ne!(mode & libc::S_IFREG, 0);
            let mode_of = |path| std::fs::metadata(path).unwrap().permissions().mode();
            let options = OpenOptions::new().write(true).create_new(true).mode(mode);
            options.open(folder.join("new")).await.unwrap();
            assert_eq!(mode_of(folder.join("new")) & 0o777 & !0o640, 0);
            fs::DirBuilder::new().mode(mode | 0o100).create(folder.join("folder")).await.unwrap();
            assert_eq!(mode_of(folder.join("folder")) & 0o777 & !0o740, 0);
            fs::set_permissions(folder.join("new"), PermissionsExt::from_mode(mode | 0o4000)).await.unwrap();
            assert_eq!(mode_of(folder.join("new")), libc::S_IFREG | 0o4640);
        });
    });
}

#[test]
fn further_flags_do_not_change_which_access_was_asked_for() {
    bounded(|| {
        let runtime = runtime(1);
        let folder = Folder::new();
        let path = folder.file("file", "content");
        runtime.block_on(async {
            let options = OpenOptions::new().read(true).custom_flags(libc::O_WRONLY | libc::O_NOFOLLOW);
            let file = options.open(&path).await.unwrap();
            assert_eq!(file.read_at([0; 20], 0).await.0.unwrap(), 7);
            assert_eq!(errno(file.write_at("x", 0).await.0), Some(libc::EBADF));
        });
    });
}

#[test]
fn the_wrong_direction_fails_and_the_file_goes_on() {
    bounded(|| {
        let runtime = runtime(1);
        let folder = Folder::new();
        let path = folder.file("file", "content");
        runtime.block_on(async {
            let reader = File::open(&path).await.unwrap();
            assert_eq!(errno(reader.write_at("x", 0).await.0), Some(libc::EBADF));
            assert!(reader.set_len(1).await.is_err());
            assert_eq!(reader.read_at([0; 20], 0).await.0.unwrap(), 7);
            let writer = OpenOptions::new().write(true).open(&path).await.unwrap();
            assert_eq!(errno(writer.read_at([0; 8], 0).await.0), Some(libc::EBADF));
            writer.write_all_at("C", 0).await.0.unwrap();
            let (read, buf) = reader.read_exact_at([0; 7], 0).await;
            read.unwrap();
            assert_eq!(&buf, b"Content");
        });
    });
}

#[test]
fn negative_and_huge_offsets_fail_and_the_buffer_comes_back() {
    bounded(|| {
        let runtime = runtime(1);
        let folder = Folder::new();
        let path = folder.file("file", "content");
        runtime.block_on(async {
            let file = OpenOptions::new().read(true).write(true).open(&path).await.unwrap();
            let (written, buf) = file.write_at(vec![1; 10], i64::MAX as u64 - 3).await;
            assert!(written.is_err() && buf.len() == 10);
            let (read, buf) = file.read_at(Vec::with_capacity(10), i64::MIN as u64).await;
            assert!(read.is_err() && buf.capacity() == 10);
            assert_eq!(file.metadata().await.unwrap().len(), 7);
        });
    });
}

/// An offset of all ones means "the cursor" to the kernel, and there is none here.
#[test]
fn the_last_offset_of_all_is_no_cursor() {
    bounded(|| {
        let runtime = runtime(1);
        let folder = Folder::new();
        let path = folder.file("file", "content");
        runtime.block_on(async {
            let file = OpenOptions::new().read(true).write(true).open(&path).await.unwrap();
            let (read, _) = file.read_at(Vec::with_capacity(4), u64::MAX).await;
            assert!(!matches!(read, Ok(1..)), "read at the cursor: {read:?}");
            let (written, _) = file.write_at("oops", u64::MAX).await;
            assert!(written.is_err(), "written at the cursor");
            assert_eq!(fs::read(&path).await.unwrap(), b"content");
        });
    });
}

#[test]
fn what_others_may_not_read_is_refused() {
    alone(|| {
        let folder = Folder::new();
        let secret = folder.file("secret", "x");
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&secret, mode(0)).unwrap();
        std::fs::set_permissions(folder.path(), mode(0o755)).unwrap();
        let was_root = is_root();
        if was_root {
            become_user(65_534);
        }
        let runtime = runtime(1);
        runtime.block_on(async {
            assert_eq!(errno(File::open(&secret).await), Some(libc::EACCES));
            assert_eq!(errno(fs::read(&secret).await), Some(libc::EACCES));
            assert_eq!(errno(fs::write("/proc/version", "x").await), Some(libc::EACCES));
            let dir = Dir::open(folder.path()).await.unwrap();
            assert_eq!(errno(dir.open_file("secret").await), Some(libc::EACCES));
        });
        drop(runtime);
        if was_root {
            // To clear up.
            become_user(0);
        }
    });
}

/// Changes whose rights all threads of this process have.
fn become_user(id: libc::uid_t) {
    // SAFETY: a call without memory; the process is this test's alone.
    assert_eq!(unsafe { libc::seteuid(id) }, 0);
}

#[test]
fn a_place_that_is_opened_as_a_path_only_is_neither_created_nor_emptied_as_with_std() {
    bounded(|| {
        let (runtime, folder) = (runtime(1), Folder::new());
        let file = folder.file("file", "content");
        for path in [&file, &folder.join("absent")] {
            let mut std = std::fs::OpenOptions::new();
            std.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_PATH);
            let ours = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(libc::O_PATH);
            let opened = runtime.block_on(ours.open(path));
            assert_eq!(opened.map(drop).map_err(|error| error.raw_os_error()), {
                std.open(path).map(drop).map_err(|error| error.raw_os_error())
            });
        }
        assert_eq!(std::fs::read(file).unwrap(), b"content");
    });
}
