//! The answers of the state word: what the caller of a transition now has to do.
//!
//! Owns the enums and no logic; each is the answer of the method of `State` (state.rs) that its first line
//! names. None may be ignored.
#![forbid(unsafe_code)]

/// What the holder of a `Notified` has to do (`State::start`).
#[must_use = "the answer says who owns the future now"]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// RUNNING is the caller's: drop the future, the task has been aborted.
    Cancel,
    /// The task ended, or is being ended, without this `Notified`; its reference is given up.
    Gone,
    /// As `Gone`, and it was the last reference.
    Last,
    /// RUNNING is the caller's: poll the future.
    Poll,
}

/// What the poller has to do after `Pending` (`State::pause`).
#[must_use = "the answer says who owns the future now"]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// Woken during the poll: the caller's reference is now that of a new `Notified`, to be scheduled.
    Again,
    /// Aborted during the poll: RUNNING is still the caller's, to drop the future.
    Cancel,
    /// The task sleeps; the caller's reference is given up.
    Idle,
    /// Nobody else knows this task: it can never be woken. Free it.
    Last,
}

/// What the completer has to do next (`State::complete`).
#[must_use = "the answer says what is left to do"]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Complete {
    /// Over; the caller's references are given up.
    Done,
    /// COMPLETE is set and the join waker is the caller's, as are its references still: take the waker, give
    /// up the references, wake.
    Joined,
    /// Nobody else knows this task: free it.
    Last,
    /// A local task that other threads have reached for is over; the caller's references are still its own,
    /// and so is the join waker, if `joined`. To do: take it, take the far joiner, merge the counts, wake.
    Reached { joined: bool },
    /// Nobody will ask for the output, which has to be dropped: do so, then call `complete` again and say so.
    Unwanted,
}

/// Who may make transitions, as the calling thread sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Any thread, this one too.
    Shared,
    /// This thread alone.
    Home,
    /// Another thread alone: leave a request.
    Afar,
}

/// Whether a wake or an abort owes a call to the scheduler.
#[must_use = "a task marked NOTIFIED without a `Notified` sleeps for ever"]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// The task is over, already scheduled, or sees the mark when its poll ends.
    Seen,
    /// A `Notified` must be made and scheduled.
    Schedule,
}

/// What a waker that is used up has to do (`State::wake_and_release`).
#[must_use = "a task marked NOTIFIED without a `Notified` sleeps for ever, and the last reference frees it"]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// Nothing, as after [`Wake::Seen`]; the waker's reference is given up.
    Done,
    /// As `Done`, and it was the last reference.
    Last,
    /// The waker's reference is that of a `Notified` now, to be scheduled.
    Schedule,
}

/// Who drops the future of a task that is shut down (`State::claim`).
#[must_use = "a claimed task must be cancelled by the claimer"]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The caller: RUNNING is now its own.
    Ours,
    /// Whoever is polling it: it is marked and ends when that poll does. Or it is over already.
    Theirs,
}

/// What a dropped `JoinHandle` has to do (`State::leave`).
#[must_use = "the answer says what the handle still owns"]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Nothing; the handle's reference is given up.
    Done,
    /// As `Done`, and it was the last reference.
    Last,
    /// The output is the handle's: drop it, then give up the reference.
    Output,
    /// Wakers of the handle are left: drop them, then give up the reference. The far joiner may be there, and
    /// the join waker is the handle's, if `joined`.
    Wakers { joined: bool },
}

/// What becomes of the waker that a `JoinHandle` elsewhere has left (`State::note_far_joiner`).
#[must_use = "nobody else wakes it or drops it"]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FarJoin {
    /// It waits for the end.
    Waits,
    /// The end has come: wake it.
    Over,
    /// The handle has come home and gone: drop it.
    Left,
}

/// What a `JoinHandle` that went elsewhere has left at home (`State::note_far_leave`).
#[must_use = "what is left is to be dropped"]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FarLeave {
    /// Nothing.
    Nothing,
    /// The output: the task is over.
    Output,
    /// The join waker: it waited here before it went.
    Waker,
}
