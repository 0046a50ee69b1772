//! Looking at each instruction that a thread executes, by the CPU's trap flag.
//!
//! Owns the flag, the handler of the trap, and what counts: an instruction with a `lock` prefix, or an
//! exchange with memory, which is locked without one; beside them, how many instructions there were at all.
//! The handler runs before each instruction, on the same thread, and is not looked at itself. A system call
//! is one instruction. It does not know what the instructions are for.

use super::locked::is_locked;
use std::arch::asm;
use std::cell::{Cell, RefCell};

thread_local! {
    static IS_ON: Cell<bool> = const { Cell::new(false) };
    static SEEN: Cell<Seen> = const { Cell::new(Seen { locked: 0, all: 0 }) };
    static SEEN_BEFORE: Cell<Seen> = const { Cell::new(Seen { locked: 0, all: 0 }) };
    static LAPS: RefCell<Vec<Lap>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Copy)]
struct Seen {
    locked: u64,
    all: u64,
}

/// How many read-modify-writes, and instructions of all kinds, were executed before this call of [`lap`] and
/// after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lap {
    pub(crate) name: &'static str,
    pub(crate) count: u64,
    pub(crate) instructions: u64,
}

/// From here on this thread's instructions are looked at.
pub(crate) fn begin() {
    // SAFETY: zero is a value of each of its fields.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_trap as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler touches two thread-locals without a destructor and memory that is about to be
    // executed, so it may run between any two instructions.
    let set = unsafe { libc::sigaction(libc::SIGTRAP, &action, std::ptr::null_mut()) };
    assert_eq!(set, 0, "sigaction: {}", std::io::Error::last_os_error());
    IS_ON.set(true);
    // SAFETY: the trap flag is there for this; the handler is installed.
    unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
}

/// No longer. What the laps came to.
pub(crate) fn end() -> Vec<Lap> {
    // SAFETY: as in `begin`.
    unsafe { asm!("pushfq", "and qword ptr [rsp], ~0x100", "popfq") };
    IS_ON.set(false);
    LAPS.take()
}

/// Ends a stretch and names it; one without a name is forgotten. The next one begins at the end of this call.
pub(crate) fn lap(name: &'static str) {
    if !IS_ON.get() {
        return;
    }
    let (now, before) = (SEEN.get(), SEEN_BEFORE.get());
    if !name.is_empty() {
        let (count, instructions) = (now.locked - before.locked, now.all - before.all);
        LAPS.with_borrow_mut(|laps| laps.push(Lap { name, count, instructions }));
    }
    SEEN_BEFORE.set(SEEN.get());
}

extern "C" fn on_trap(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel passes this to a handler with SA_SIGINFO.
    let next = unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] };
    // SAFETY: the thread goes on there, so a whole instruction is there.
    let is_locked = unsafe { is_locked(std::ptr::with_exposed_provenance(next as usize)) };
    let seen = SEEN.get();
    SEEN.set(Seen { locked: seen.locked + u64::from(is_locked), all: seen.all + 1 });
}
