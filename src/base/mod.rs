//! L0, the floor of the house: what two threads share and how they meet.
//!
//! Owns the atomic structures everything above is built on: the [`inbox`] (the only way into a core from
//! outside) and the [`message`] that travels through it, the [`slot`] (where a result and a waker meet),
//! [`reach`] (which cores a thread may send to), the rule by which they look before they sleep ([`spin`]),
//! what keeps one's values out of another's cache lines ([`apart`]) and the [`guard`]s that keep foreign code
//! from unwinding through ours. Promises that nothing here makes a system call, reads a clock or knows what a
//! task or an op is. All files take their atomics from [`sync`], so that `tests/loom` can compile the same
//! text against loom.

pub(crate) mod apart;
pub(crate) mod coop;
pub(crate) mod guard;
#[cfg(feature = "tracing")]
pub(crate) mod heard;
pub(crate) mod inbox;
pub(crate) mod message;
pub(crate) mod parcel;
pub(crate) mod place;
pub(crate) mod rarely;
pub(crate) mod reach;
pub(crate) mod slot;
pub(crate) mod spin;
pub(crate) mod sync;
