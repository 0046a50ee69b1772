//! Locks that the program has on a file: what we do to the file gives none of them up.

use crate::kit::process::alone;
use crate::kit::{Folder, bounded, runtime};
use ringwork::fs::{self, File};
use std::fs::Permissions;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

/// Whether this process has a record lock on any file (`proc_locks(5)`).
fn has_lock() -> bool {
    let own = std::process::id().to_string();
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|lock| lock.contains("POSIX") && lock.split_whitespace().any(|word| word == own))
}

/// The kernel drops the record locks of a process when it closes any descriptor of the file (`fcntl(2)`).
#[test]
fn record_locks_are_kept_whatever_is_done_with_the_file() {
    alone(|| {
        bounded(|| {
            let runtime = runtime(1);
            let folder = Folder::new();
            runtime.block_on(async {
                let file = File::create_new(folder.join("locked")).await.unwrap();
                // SAFETY: an all-zero lock is one of the whole file; the call only reads it.
                let locked = unsafe {
                    let lock = libc::flock { l_type: libc::F_WRLCK as _, ..std::mem::zeroed() };
                    libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock)
                };
                assert_eq!(locked, 0);
                assert!(has_lock());
                file.write_all_at("content", 0).await.0.unwrap();
                file.set_len(4).await.unwrap();
                file.set_permissions(Permissions::from_mode(0o600)).await.unwrap();
                file.allocate(0, 4096).await.unwrap();
                file.sync_all().await.unwrap();
                assert_eq!(file.metadata().await.unwrap().mode() & 0o777, 0o600);
                assert_eq!(fs::metadata(folder.join("locked")).await.unwrap().len(), 4096);
                drop(file.try_clone().await.unwrap());
                assert!(has_lock(), "it was given up");
                drop(file);
                assert!(!has_lock(), "it goes with the last handle");
            });
        });
    });
}

#[test]
fn lengths_that_no_file_has_are_refused() {
    bounded(|| {
        let runtime = runtime(1);
        let folder = Folder::new();
        runtime.block_on(async {
            let file = File::create(folder.join("file")).await.unwrap();
            for len in [u64::MAX, 1 << 63, i64::MAX as u64] {
                file.set_len(len).await.expect_err("no file is so long");
            }
            assert_eq!(file.metadata().await.unwrap().len(), 0);
        });
    });
}
