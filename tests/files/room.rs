//! No more room: the error arrives, and what was there before is still there.

use crate::kit::Folder;
use crate::kit::process::{alone, is_root};
use crate::kit::{bounded, runtime};
use crate::pattern;
use ringwork::fs::{self, File, OpenOptions};

/// The size that no file of this process may pass.
fn limit_file_size(bytes: u64) {
    // SAFETY: ignoring a signal installs no code.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: reads a local.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_file_that_may_not_grow_takes_what_fits_and_says_so() {
    const LIMIT: usize = 100_000;
    alone(|| {
        bounded(|| {
            let folder = Folder::new();
            let path = folder.join("limited");
            let runtime = runtime(1);
            limit_file_size(LIMIT as u64);
            runtime.block_on(async {
                let file = OpenOptions::new().read(true).write(true).create(true).open(&path).await.unwrap();
                file.write_all_at(pattern(50_000), 0).await.0.unwrap();
                let (written, buf) = file.write_all_at(pattern(200_000), 0).await;
                assert_eq!(written.unwrap_err().raw_os_error(), Some(libc::EFBIG));
                assert!(buf == pattern(200_000), "the buffer comes back whole");
                assert_eq!(file.metadata().await.unwrap().len(), LIMIT as u64);
                assert!(fs::read(&path).await.unwrap() == pattern(LIMIT));
                let (written, _) = file.write_at("x", LIMIT as u64).await;
                assert_eq!(written.unwrap_err().raw_os_error(), Some(libc::EFBIG));
                assert!(file.set_len(LIMIT as u64 + 1).await.is_err());
                file.sync_all().await.unwrap();
                // With room again the same file goes on.
                file.set_len(10).await.unwrap();
                file.write_all_at("more", 10).await.0.unwrap();
                assert_eq!(file.metadata().await.unwrap().len(), 14);
            });
        });
    });
}

/// Mounts a file system of one megabyte on `path`, for this process alone.
fn mount_small(path: &std::path::Path) -> bool {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    let (kind, options) = (c"tmpfs", c"size=1m");
    // SAFETY: a system call without memory; the process is this test's alone.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return false;
    }
    let private = libc::MS_REC | libc::MS_PRIVATE;
    let nothing = std::ptr::null();
    // SAFETY: all strings end with NUL and live throughout; no data.
    let kept = unsafe { libc::mount(nothing, c"/".as_ptr(), nothing, private, std::ptr::null()) };
    // SAFETY: as above; the data is such a string.
    let mounted =
        unsafe { libc::mount(kind.as_ptr(), path.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast()) };
    kept == 0 && mounted == 0
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    alone(|| {
        if !is_root() {
            return;
        }
        let folder = Folder::new();
        // Before the cores start, so that their threads see the mount.
        if !mount_small(folder.path()) {
            return;
        }
        let runtime = runtime(1);
        let kept = folder.join("kept");
        runtime.block_on(async {
            fs::write(&kept, pattern(300_000)).await.unwrap();
            let filler = File::create(folder.join("filler")).await.unwrap();
            let (written, buf) = filler.write_all_at(pattern(2 << 20), 0).await;
            assert_eq!(written.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
            assert_eq!(buf.len(), 2 << 20);
            let reached = filler.metadata().await.unwrap().len() as usize;
            assert!(reached > 0 && fs::read(folder.join("filler")).await.unwrap() == pattern(reached));
            let error = filler.allocate(0, 2 << 20).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
            assert!(fs::write(folder.join("late"), pattern(100_000)).await.is_err());
            assert!(fs::read(&kept).await.unwrap() == pattern(300_000));
            // Room again.
            filler.set_len(0).await.unwrap();
            fs::write(folder.join("late"), pattern(100_000)).await.unwrap();
        });
        drop(runtime);
        let path = std::ffi::CString::new(folder.path().to_str().unwrap()).unwrap();
        // SAFETY: the string ends with NUL and lives throughout.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    });
}
