//! The threads of a pool, from the promise to the very end.
//!
//! Owns [`Threads`], which is guarded by the pool's lock. A thread that has left (it runs no code of the pool
//! any more) still drops its thread-local values, which is foreign code: it is kept until the system is
//! through with it, so that the end of the pool can wait for that. It starts nobody and waits for nobody
//! (pool.rs does).
#![forbid(unsafe_code)]

use crate::sys::join::Joinable;
use std::thread::JoinHandle;

/// Threads that have not ended, as far as was looked, by the numbers that the line gave them.
#[derive(Debug, Default)]
pub(super) struct Threads(Vec<Member>);

#[derive(Debug)]
struct Member {
    number: usize,
    has_left: bool,
    /// None before it is known to have started, which it may know earlier itself.
    thread: Option<Joinable>,
}

impl Threads {
    /// Thread `number` is about to be started.
    pub(super) fn promise(&mut self, number: usize) {
        self.0.push(Member { number, has_left: false, thread: None });
    }

    /// Thread `number` has been started.
    pub(super) fn started(&mut self, number: usize, thread: JoinHandle<()>) {
        if let Some(member) = self.find(number) {
            member.thread = Some(thread.into());
        }
    }

    /// Thread `number` was refused.
    pub(super) fn refused(&mut self, number: usize) {
        self.0.retain(|member| member.number != number);
    }

    /// Thread `number` says that it leaves. Those that have ended since they said so are forgotten: there is
    /// little more than this one, unless their thread-local values take time.
    pub(super) fn leaves(&mut self, number: usize) {
        self.0.retain_mut(|member| !(member.has_left && member.has_ended()));
        if let Some(member) = self.find(number) {
            member.has_left = true;
        }
    }

    /// How many there are whose end is not yet to be waited for: they have not left, or it is not known yet
    /// what to wait for.
    pub(super) fn present(&self) -> usize {
        self.0.iter().filter(|member| !member.has_left || member.thread.is_none()).count()
    }

    /// Those that have left, to be waited for.
    pub(super) fn take_left(&mut self) -> Vec<Joinable> {
        let left = self.0.extract_if(.., |member| member.has_left && member.thread.is_some());
        left.filter_map(|member| member.thread).collect()
    }

    fn find(&mut self, number: usize) -> Option<&mut Member> {
        self.0.iter_mut().find(|member| member.number == number)
    }
}

impl Member {
    fn has_ended(&mut self) -> bool {
        self.thread.as_mut().is_some_and(Joinable::has_ended)
    }
}
