//! The waker of a task: four functions over a counted reference to its header.
//!
//! A waker may be cloned, woken and dropped on any thread, at any time, also after the task and its runtime
//! have ended; it keeps the task's memory, but neither future nor output. It never blocks or spins, nor
//! allocates in steady state: a queue of a core may have to grow (the scheduler's `schedule` keeps that
//! promise for its part).

use super::afar;
use super::answer::{Side, Wake, Woken};
use super::cell::{Header, Reference};
use super::remote::WAKE;
#[cfg(feature = "tracing")]
use super::trace;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// The functions of every task's waker.
pub(super) static WAKER: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// The waker lent to a poll: the runner's own reference, not counted again.
///
/// # Safety
/// The task is referenced for as long as the result is used.
#[inline]
pub(super) unsafe fn lend(task: NonNull<Header>) -> ManuallyDrop<Waker> {
    // SAFETY: never dropped, so the uncounted reference is never given up; the caller keeps the task alive.
    ManuallyDrop::new(unsafe { Reference::from_raw(task) }.into_waker())
}

/// Turns a waker's pointer back into what it was made from.
///
/// # Safety
/// `data` comes from a waker with the table [`WAKER`].
#[inline]
unsafe fn address(data: *const ()) -> NonNull<Header> {
    // SAFETY: `Reference::into_waker` is the only maker of such wakers; its pointer is not null.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the waker that is cloned holds a reference throughout; ours is not counted, hence not dropped.
    let task = ManuallyDrop::new(unsafe { Reference::from_raw(address(data)) });
    #[cfg(feature = "tracing")]
    trace::waker(task.header(), "waker.clone");
    task.header().state.retain();
    RawWaker::new(data, &WAKER)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the waker gives its reference to this call.
    let task = unsafe { Reference::from_raw(address(data)) };
    #[cfg(feature = "tracing")]
    trace::waker(task.header(), "waker.wake");
    if task.header().state.side() == Side::Afar {
        return afar::give(task, WAKE);
    }
    let functions = task.header().functions();
    match task.header().state.wake_and_release() {
        // The waker's reference is gone, and perhaps the task.
        Woken::Done => _ = task.into_raw(),
        // SAFETY: `Last` says that nobody else knows the task.
        Woken::Last => unsafe { (functions.free)(task.into_raw()) },
        // SAFETY: `Schedule` says that a `Notified` is due; the waker's reference becomes its own.
        Woken::Schedule => unsafe { (functions.schedule)(task.into_raw(), false) },
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the waker is borrowed throughout, so its reference is there; ours is not counted, hence not
    // dropped.
    let task = ManuallyDrop::new(unsafe { Reference::from_raw(address(data)) });
    #[cfg(feature = "tracing")]
    trace::waker(task.header(), "waker.wake_by_ref");
    if task.header().state.side() == Side::Afar {
        // SAFETY: the waker's reference.
        unsafe { afar::ask(task.address(), WAKE) }
    } else if task.header().state.wake_and_retain() == Wake::Schedule {
        // SAFETY: `wake_and_retain` has added the reference of the `Notified` that is due.
        unsafe { (task.header().functions().schedule)(task.address(), true) }
    }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the waker gives its reference to this call, which gives it up below.
    #[cfg(feature = "tracing")]
    trace::waker(ManuallyDrop::new(unsafe { Reference::from_raw(address(data)) }).header(), "waker.drop");
    // SAFETY: as above.
    unsafe { Reference::give_up(address(data)) }
}
