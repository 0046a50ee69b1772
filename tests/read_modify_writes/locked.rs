//! Telling an atomic read-modify-write from other instructions, by its bytes (x86-64).
//!
//! Owns the rule that `step.rs` beside it counts by, and the stepper of `benches/instructions`, which takes
//! this file in. It knows the instructions that compilers emit, not all that there are.

/// Whether the instruction is a read-modify-write of memory that no other CPU may divide.
///
/// # Safety
/// A whole instruction is there.
pub(crate) unsafe fn is_locked(mut at: *const u8) -> bool {
    loop {
        // SAFETY: an instruction does not end with a prefix.
        match unsafe { *at } {
            0xf0 => return true,
            // The other prefixes.
            0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf2 | 0xf3 => at = at.wrapping_add(1),
            // An exchange, unless with a register.
            // SAFETY: one more byte says with what.
            0x86 | 0x87 => return unsafe { *at.add(1) } < 0xc0,
            _ => return false,
        }
    }
}
