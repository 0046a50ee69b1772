//! Files of which the kernel does not tell whether its cache holds them: those of other users.

use crate::headed_files::{file, forget};
use crate::kit::process::alone;
use crate::kit::{bounded, seccomp};
use crate::support::{assert_pattern, half_std_pair, on_cores, pattern};
use ringwork::fs::File;
use ringwork::net::TcpStream;
use std::io::Read;
use std::os::fd::AsRawFd;

const SYS_CACHESTAT: libc::c_long = 451;
const PAGE: usize = 4096;
const LEN: usize = 4 * PAGE;

/// Reads a page on the spot, or not.
fn read_page(file: &File, page: usize, flags: i32) -> bool {
    let mut bytes = [0_u8; PAGE];
    let part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: PAGE };
    // SAFETY: the bytes live over the call and are as many as the vector says.
    let read =
        unsafe { libc::preadv2(file.as_raw_fd(), &raw const part, 1, (page * PAGE) as libc::off_t, flags) };
    read == PAGE as isize
}

/// Sends head and file; how many ops that took.
async fn ops_of_a_send(stream: &TcpStream, file: &File) -> u64 {
    let ops = || ringwork::runtime::Handle::current().metrics().cores[0].sqes;
    let before = ops();
    let (sent, _) = stream.send_file_with_head(pattern(0, 100), file, 0, LEN as u64).await;
    assert_eq!(sent.unwrap(), LEN as u64);
    ops() - before
}

#[test]
fn they_leave_on_the_spot_if_all_of_what_is_sent_is_cached() {
    alone(|| cached_files_leave_where_cachestat_answers(libc::EPERM));
}

#[test]
fn so_do_all_files_where_the_kernel_cannot_count() {
    alone(|| cached_files_leave_where_cachestat_answers(libc::ENOSYS));
}

fn cached_files_leave_where_cachestat_answers(errno: i32) {
    // On a thread of its own, and so are the filter and the runtime.
    bounded(move || {
        seccomp::forbid(SYS_CACHESTAT, errno).expect("the kernel takes filters");
        on_cores(1, |handle| async move {
            handle.spawn_on(0, send_what_is_cached_and_what_is_not).await.unwrap();
        });
    });
}

async fn send_what_is_cached_and_what_is_not() {
    let file = file("untold", pattern(100, LEN)).await;
    if !read_page(&file, 0, libc::RWF_NOWAIT) {
        return println!("skipped: this file system has no reads that do not wait");
    }
    let (stream, mut peer) = half_std_pair();
    let mut arrives = || {
        let mut all = vec![0; 100 + LEN];
        peer.read_exact(&mut all).unwrap();
        assert_pattern(0, &all);
    };
    assert_eq!(ops_of_a_send(&stream, &file).await, 0, "all is cached");
    arrives();
    // From now on pages come one by one.
    // SAFETY: no pointers; the descriptor is open.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
    forget(&file);
    for page in [0, 3] {
        assert!(read_page(&file, page, 0));
    }
    if read_page(&file, 1, libc::RWF_NOWAIT) {
        return println!("skipped: the page cache cannot be emptied here");
    }
    assert!(ops_of_a_send(&stream, &file).await > 0, "the middle is not cached");
    arrives();
    assert_eq!(ops_of_a_send(&stream, &file).await, 0, "all is cached again");
    arrives();
}
