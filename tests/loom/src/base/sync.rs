//! The loom half of `src/base/sync.rs`: the same names, every access seen by the model checker.

pub(crate) use loom::cell::UnsafeCell;
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
pub(crate) use loom::sync::{Arc, Mutex};
