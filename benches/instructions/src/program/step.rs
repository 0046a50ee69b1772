//! Counting the instructions of stretches of a thread's life, by the CPU's trap flag.
//!
//! Owns the flag, the handler of the trap and the sums. A stretch lies between [`begin`] and [`end`] on one
//! thread; what other threads do meanwhile does not count. The kernel calls the handler between any two
//! instructions of the stretch, on the thread itself, without the flag, so the handler is not counted. A
//! system call is one instruction, and so is a repeated string instruction, however often it repeats. Counted
//! beside them: instructions that are atomic read-modify-writes, and, if a histogram was asked for, how often
//! each address was executed. What `begin` and `end` execute of themselves is measured once and taken off.
//!
//! Sums belong to the process. Stretches of different threads must not overlap; the callers hand over to each
//! other by locks.

use crate::program::locked::is_locked;
use std::arch::asm;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

mod histogram;

pub(crate) use histogram::Histogram;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) instructions: u64,
    /// Those among them that are atomic read-modify-writes.
    pub(crate) rmws: u64,
}

/// Of the stretch that is under way on this thread.
#[derive(Clone, Copy)]
struct Seen {
    count: Count,
    last: usize,
}

const NOTHING: Seen = Seen { count: Count { instructions: 0, rmws: 0 }, last: 0 };

thread_local! {
    static SEEN: Cell<Seen> = const { Cell::new(NOTHING) };
    static IS_ON: Cell<bool> = const { Cell::new(false) };
}

/// Off while paths warm up.
static ENABLED: AtomicBool = AtomicBool::new(false);
static INSTRUCTIONS: AtomicU64 = AtomicU64::new(0);
static RMWS: AtomicU64 = AtomicU64::new(0);
/// What a stretch with nothing in it counts.
static EMPTY: AtomicU64 = AtomicU64::new(0);

/// Installs the handler and finds out what a stretch costs by itself. Once, before all else.
pub(crate) fn install() {
    // SAFETY: zero is a value of each of its fields.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_trap as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler touches thread-locals without a destructor, atomics, and memory that is about to be
    // executed, so it may run between any two instructions.
    let set = unsafe { libc::sigaction(libc::SIGTRAP, &action, std::ptr::null_mut()) };
    assert_eq!(set, 0, "sigaction: {}", std::io::Error::last_os_error());
    enable(true);
    begin();
    end();
    EMPTY.store(take().instructions, Ordering::Relaxed);
    enable(false);
}

/// Whether stretches count from now on, on all threads.
pub(crate) fn enable(on: bool) {
    ENABLED.store(on, Ordering::SeqCst);
}

/// The sums since the last call, which begin anew.
pub(crate) fn take() -> Count {
    Count { instructions: INSTRUCTIONS.swap(0, Ordering::SeqCst), rmws: RMWS.swap(0, Ordering::SeqCst) }
}

/// Whether a stretch is under way on this thread.
pub(crate) fn is_on() -> bool {
    IS_ON.get()
}

/// Begins a stretch.
#[inline(never)]
pub(crate) fn begin() {
    if !ENABLED.load(Ordering::Relaxed) {
        return;
    }
    assert!(!IS_ON.get(), "a stretch in a stretch");
    SEEN.set(NOTHING);
    IS_ON.set(true);
    // SAFETY: the trap flag is there for this; `install` has put the handler in place.
    unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
}

/// Ends the stretch; it must be this thread's.
#[inline(never)]
pub(crate) fn end() {
    // SAFETY: as in `begin`; a flag that is not set stays so.
    unsafe { asm!("pushfq", "and qword ptr [rsp], ~0x100", "popfq") };
    if !IS_ON.replace(false) {
        return;
    }
    let Count { instructions, rmws } = SEEN.get().count;
    INSTRUCTIONS.fetch_add(instructions - EMPTY.load(Ordering::Relaxed), Ordering::SeqCst);
    RMWS.fetch_add(rmws, Ordering::SeqCst);
}

extern "C" fn on_trap(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel passes this to a handler with SA_SIGINFO.
    let next = unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] } as usize;
    let mut seen = SEEN.get();
    // The trap comes after each repetition.
    if seen.last == next {
        return;
    }
    seen.last = next;
    seen.count.instructions += 1;
    // SAFETY: the thread goes on there, so a whole instruction is there.
    seen.count.rmws += u64::from(unsafe { is_locked(std::ptr::with_exposed_provenance(next)) });
    SEEN.set(seen);
    histogram::add(next);
}

/// Executes `pairs` × 2 instructions and nothing else, give or take a few in all.
pub(crate) fn burn(pairs: u64) {
    if pairs > 0 {
        // SAFETY: it counts a register down.
        unsafe { asm!("2:", "dec {0}", "jnz 2b", inout(reg) pairs => _, options(nomem, nostack)) };
    }
}
