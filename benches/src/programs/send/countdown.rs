//! Tells one task when many others have done their work, without a handle for each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

/// Counts tasks that have done their work; the last one says so.
pub(crate) struct Countdown {
    left: AtomicU64,
    done: Mutex<Option<oneshot::Sender<()>>>,
}

impl Countdown {
    /// A countdown of `tasks`, and what is awaited for its end.
    pub(crate) fn new(tasks: u64) -> (Arc<Countdown>, oneshot::Receiver<()>) {
        let (done, all) = oneshot::channel();
        (Arc::new(Countdown { left: AtomicU64::new(tasks), done: Mutex::new(Some(done)) }), all)
    }

    /// Notes that one more has done its work.
    pub(crate) fn one_is_done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let done = self.done.lock().expect("nothing panics under it").take();
            let _ = done.expect("only one is the last").send(());
        }
    }
}
