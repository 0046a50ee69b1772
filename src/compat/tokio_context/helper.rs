//! The helper thread and the tokio runtime that lives on it.
//!
//! Owns both from their start to their end: the runtime is made, driven and shut down on that thread and
//! never leaves it, others have its handle. When it may end is `until.rs`; when its context is entered is
//! `runtime::companion`.
#![forbid(unsafe_code)]

use super::died;
use super::until::{Kept, Until};
use crate::runtime::companion::{Companion, Inside};
use crate::runtime::names::thread_name;
use crate::sys::cpu;
use crate::sys::join::{Joinable, LAST_WORD};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use tokio::runtime::{Builder, Handle, Runtime};

thread_local! {
    /// The helper that this thread belongs to (the address of what it waits for; 0 is none).
    static BELONGS_TO: Cell<usize> = const { Cell::new(0) };
    /// What a thread of tokio's blocking pool is inside of.
    static INSIDE: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// A tokio runtime on a thread of its own.
pub(super) struct Helper {
    handle: Handle,
    until: Arc<Until>,
    kept: Weak<Kept>,
    thread: Mutex<Thread>,
}

/// What the one who ends the helper takes.
struct Thread {
    kept: Option<Arc<Kept>>,
    go: Option<Sender<Inside>>,
    /// Nothing is sent: it hangs up when the thread ends.
    ended: Receiver<()>,
    join: Option<JoinHandle<()>>,
}

impl Helper {
    /// Starts the thread and waits until its runtime is there.
    pub(super) fn make(name: &str) -> io::Result<Self> {
        let until = Arc::new(Until::default());
        let (made, handle) = channel();
        let (go, gone) = channel();
        let (over, ended) = channel();
        let mine = Arc::clone(&until);
        let join = thread::Builder::new().name(thread_name(name, "-tokio")).spawn(move || {
            let _over: Sender<()> = over;
            help(&mine, &made, &gone);
        })?;
        let handle = handle.recv().map_err(|_| died())??;
        let kept = Arc::new(Kept(Arc::clone(&until)));
        Ok(Self {
            handle,
            until,
            kept: Arc::downgrade(&kept),
            thread: Mutex::new(Thread { kept: Some(kept), go: Some(go), ended, join: Some(join) }),
        })
    }

    fn thread(&self) -> MutexGuard<'_, Thread> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Companion for Helper {
    fn start(&self, inside: Inside) {
        if let Some(go) = self.thread().go.take() {
            // A thread that has ended has said why.
            let _ = go.send(inside);
        }
    }

    fn around(&self, work: &mut dyn FnMut()) {
        let _context = self.handle.enter();
        work();
    }

    fn keep(&self) -> Option<Box<dyn Any + Send>> {
        Some(Box::new(self.kept.upgrade()?))
    }

    fn is_own_thread(&self) -> bool {
        BELONGS_TO.get() == address(&self.until)
    }

    fn end(&self, deadline: Instant) {
        self.until.set_deadline(deadline);
        let mut thread = self.thread();
        thread.go = None;
        thread.kept = None;
        let Some(join) = thread.join.take() else { return };
        let left = deadline.saturating_duration_since(Instant::now()) + LAST_WORD;
        if thread.ended.recv_timeout(left) == Err(RecvTimeoutError::Disconnected) {
            // A panic there has been reported, and there is nobody to hand it to. tokio's tasks may have left
            // values in their thread.
            let _ = Joinable::from(join).join_until(deadline.max(Instant::now()) + LAST_WORD);
        }
    }
}

fn address(until: &Arc<Until>) -> usize {
    Arc::as_ptr(until).addr()
}

/// All that the helper thread does.
fn help(until: &Arc<Until>, made: &Sender<io::Result<Handle>>, go: &Receiver<Inside>) {
    cpu::unpin();
    BELONGS_TO.set(address(until));
    let way_in = Arc::new(OnceLock::new());
    let runtime = match runtime(until, &way_in) {
        Ok(runtime) => runtime,
        Err(error) => return drop(made.send(Err(error))),
    };
    // Whoever makes it waits for this; without a go there will be no cores.
    let handed = made.send(Ok(runtime.handle().clone()));
    let Some(inside) = handed.ok().and_then(|()| go.recv().ok()) else { return };
    let inside = way_in.get_or_init(|| inside);
    let _inside = inside();
    runtime.block_on(until.is_over());
    // Tasks are dropped on this thread, inside of both runtimes.
    runtime.shutdown_timeout(until.time_left());
}

/// A runtime with all drivers that the build has. The threads of its blocking pool use all CPUs, and are
/// inside of the runtime that `way_in` leads to.
fn runtime(until: &Arc<Until>, way_in: &Arc<OnceLock<Inside>>) -> io::Result<Runtime> {
    let (way_in, belongs_to) = (Arc::clone(way_in), address(until));
    Builder::new_current_thread()
        .enable_all()
        .on_thread_start(move || {
            cpu::unpin();
            BELONGS_TO.set(belongs_to);
            INSIDE.set(way_in.get().map(|enter| enter()));
        })
        .on_thread_stop(|| drop(INSIDE.take()))
        .build()
}
