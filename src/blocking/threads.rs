//! The threads of a pool, from the promise to the very end.
//!
//! Owns [`Threads`], which is guarded by the pool's lock. A thread that has left (it runs no code of the pool
//! any more) still drops its thread-local values, which is foreign code: it is kept until the system is
//! through with it, so that the end of the pool can wait for that. It starts nobody and waits for nobody
//! (pool.rs does).
#![forbid(unsafe_code)]

use crate::sys::join::Joinable;
use std::thread::JoinHandle;

/// Threads that have not ended, as far as was looked.
#[derive(Debug, Default)]
pub(super) struct Threads {
    all: Vec<Member>,
    promised: u64,
}

#[derive(Debug)]
struct Member {
    number: u64,
    has_left: bool,
    /// None before it is known to have started, which it may know earlier itself.
    thread: Option<Joinable>,
}

impl Threads {
    /// A thread is about to be started. Gives its number.
    pub(super) fn promise(&mut self) -> u64 {
        self.promised += 1;
        self.all.push(Member { number: self.promised, has_left: false, thread: None });
        self.promised
    }

    /// Thread `number` has been started.
    pub(super) fn started(&mut self, number: u64, thread: JoinHandle<()>) {
        if let Some(member) = self.find(number) {
            member.thread = Some(thread.into());
        }
    }

    /// Thread `number` was refused.
    pub(super) fn refused(&mut self, number: u64) {
        self.all.retain(|member| member.number != number);
    }

    /// Thread `number` says that it leaves. Those that have ended since they said so are forgotten: there is
    /// little more than this one, unless their thread-local values take time.
    pub(super) fn leaves(&mut self, number: u64) {
        self.all.retain_mut(|member| !(member.has_left && member.has_ended()));
        if let Some(member) = self.find(number) {
            member.has_left = true;
        }
    }

    /// How many there are whose end is not yet to be waited for: they have not left, or it is not known yet
    /// what to wait for.
    pub(super) fn present(&self) -> usize {
        self.all.iter().filter(|member| !member.has_left || member.thread.is_none()).count()
    }

    /// Those that have left, to be waited for.
    pub(super) fn take_left(&mut self) -> Vec<Joinable> {
        let left = self.all.extract_if(.., |member| member.has_left && member.thread.is_some());
        left.filter_map(|member| member.thread).collect()
    }

    fn find(&mut self, number: u64) -> Option<&mut Member> {
        self.all.iter_mut().find(|member| member.number == number)
    }
}

impl Member {
    fn has_ended(&mut self) -> bool {
        self.thread.as_mut().is_some_and(Joinable::has_ended)
    }
}
