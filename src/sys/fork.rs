//! Am I a forked child, and which process am I? Words that the kernel wipes on fork.
//!
//! A ring belongs to the process that made it: in a child every op fails with [`error`] and dropping a
//! runtime touches no ring memory (kernel-notes/fork.md). Reading the word costs two loads. The parent counts
//! its forks ([`count`]): a child has all that was open, and may do with it what it likes. What belongs to
//! one process without rings knows it by [`name`].

use super::map::Map;
use std::io;
use std::ptr;
use std::sync::OnceLock;
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
    let word = wiped_word()?;
    word.store(1, Ordering::Release);
    // SAFETY: the handler touches an atomic of this program, and no more, in whatever thread forks.
    match unsafe { libc::pthread_atfork(Some(note_fork), Some(note_fork), None) } {
        0 => {}
        error => return Err(io::Error::from_raw_os_error(error)),
    }
    // Of two threads that come here at once one leaves a page that nobody reads, and forks count double.
    let word = ptr::from_ref(word).cast_mut();
    let _ = WORD.compare_exchange(none, word, Ordering::AcqRel, Ordering::Relaxed);
    Ok(())
}

/// A word that reads zero, and does so again in every child. It lives for ever.
fn wiped_word() -> io::Result<&'static AtomicU32> {
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
    std::mem::forget(map);
    // SAFETY: the page is aligned, zeroed, never unmapped, and nobody else knows it.
    Ok(unsafe { &*start.cast::<AtomicU32>() })
}

/// What this process is called, once it has been given a name.
static NAME: OnceLock<&'static AtomicU32> = OnceLock::new();
/// Names that this process, and those that it was forked from, have given themselves.
static NAMES: AtomicU32 = AtomicU32::new(0);

/// The name of this process, which it has for life and none that it was forked from had; 0 as long as it has
/// not asked for one ([`give_name`]). Async-signal-safe.
pub(crate) fn name() -> u32 {
    NAME.get().map_or(0, |name| name.load(Ordering::Acquire))
}

/// The same; it has one from here on.
///
/// # Errors
/// If there is no memory for it.
pub(crate) fn give_name() -> io::Result<u32> {
    if NAME.get().is_none() {
        // Of two threads that come here at once one leaves a page that nobody reads.
        let _ = NAME.set(wiped_word()?);
    }
    let name = NAME.get().expect("just set");
    // The count of names is not wiped, so a child's is another one than all that it knows of.
    let new = NAMES.fetch_add(1, Ordering::Relaxed) + 1;
    match name.compare_exchange(0, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(new),
        Err(given) => Ok(given),
    }
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

/// Runs `body` in a forked child, which is a process of one thread; whether it said yes there.
#[cfg(test)]
pub(crate) fn in_a_child(body: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `body`, which is about memory of its own, and leaves by `_exit`. It may
    // allocate, which glibc allows in a child.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let yes = body();
        // SAFETY: leaves without running anything of the parent's.
        unsafe { libc::_exit(i32::from(!yes)) };
    }
    let mut status = 0;
    // SAFETY: waits for our own child into a local.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_has_no_name_until_it_asks_for_one_and_then_another() {
        let ours = give_name().unwrap();
        assert_eq!((name(), give_name().unwrap()), (ours, ours));
        let asks = || name() == 0 && give_name().is_ok_and(|name| name != ours && name != 0);
        assert!(in_a_child(asks));
        assert_eq!(name(), ours);
    }

    #[test]
    fn a_forked_child_knows_that_it_is_one() {
        mark().unwrap();
        assert!(!is_child());
        let forks = count();
        assert!(in_a_child(is_child));
        assert_ne!(count(), forks, "the parent knows that it has a child");
    }
}
