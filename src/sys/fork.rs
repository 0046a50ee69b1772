//! Am I a forked child? One word that the kernel wipes on fork.
//!
//! A ring belongs to the process that made it: in a child every op fails with [`error`] and dropping a
//! runtime touches no ring memory (kernel-notes/fork.md). Reading the word costs two loads. The parent counts
//! its forks ([`count`]): a child has all that was open, and may do with it what it likes.

use super::map::Map;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// The word of a process without rings: it is no child of one that has any.
static NO_RINGS: AtomicU32 = AtomicU32::new(1);

/// A word that reads 1 in the process that made it and 0 in its children. It lives for ever.
static WORD: AtomicPtr<AtomicU32> = AtomicPtr::new((&raw const NO_RINGS).cast_mut());

/// Counted before each fork of this process and behind it, since it was marked.
static FORKS: AtomicU32 = AtomicU32::new(0);

extern "C" fn note_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Changes with each fork of this process, as far as `fork(3)` of the C library knows: where it differs from
/// an earlier answer there may be children that have what was open then. Twice for each: another thread may
/// open something while the fork is going on, which the child has, too. Who spawns a program without it
/// (`posix_spawn(3)`, `vfork(2)`) hands on only what is to stay open across the exec.
#[inline]
pub(crate) fn count() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Marks this process as the one that owns rings. Called before the first ring is made.
pub(crate) fn mark() -> io::Result<()> {
    if is_child() {
        return Err(error());
    }
    let none = (&raw const NO_RINGS).cast_mut();
    if !ptr::eq(WORD.load(Ordering::Acquire), none) {
        return Ok(());
    }
    let map = Map::new(4096)?;
    let start = map.start().as_ptr();
    // SAFETY: the page is ours and lives for ever (forgotten below). DOFORK undoes the DONTFORK of `Map`, so
    // that the child has a page to read; WIPEONFORK makes it read zero there (Linux 4.14).
    let wiped = unsafe {
        libc::madvise(start.cast(), map.len(), libc::MADV_DOFORK);
        libc::madvise(start.cast(), map.len(), libc::MADV_WIPEONFORK)
    };
    if wiped == -1 {
        return Err(io::Error::last_os_error());
    }
    let word = start.cast::<AtomicU32>();
    // SAFETY: the page is aligned, zeroed and not published yet.
    unsafe { (*word).store(1, Ordering::Release) };
    std::mem::forget(map);
    // SAFETY: the handler touches an atomic of this program, and no more, in whatever thread forks.
    match unsafe { libc::pthread_atfork(Some(note_fork), Some(note_fork), None) } {
        0 => {}
        error => return Err(io::Error::from_raw_os_error(error)),
    }
    // Of two threads that come here at once one leaves a page that nobody reads, and forks count double.
    let _ = WORD.compare_exchange(none, word, Ordering::AcqRel, Ordering::Relaxed);
    Ok(())
}

/// Whether this process is a child of the one that made the rings.
#[inline]
pub(crate) fn is_child() -> bool {
    // SAFETY: what is published lives for ever.
    unsafe { (*WORD.load(Ordering::Acquire)).load(Ordering::Relaxed) == 0 }
}

/// Before a call touches what is the parent's, or waits for it.
///
/// # Errors
/// In a child.
#[inline]
pub(crate) fn check() -> io::Result<()> {
    if is_child() { Err(error()) } else { Ok(()) }
}

/// What an op answers in a forked child.
#[cold]
pub(crate) fn error() -> io::Error {
    io::Error::other(
        "this process was forked from one that runs ringwork: its rings belong to the parent; \
         fork before the first runtime starts, or exec",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_knows_that_it_is_one() {
        mark().unwrap();
        assert!(!is_child());
        let forks = count();
        // SAFETY: the child only reads the word and leaves by `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let code = i32::from(!is_child());
            // SAFETY: leaves without running anything of the parent's.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: waits for our own child into a local.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
        assert_ne!(count(), forks, "the parent knows that it has a child");
    }
}
