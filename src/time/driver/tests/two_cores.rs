//! Two real cores that throw tasks at each other, with their timers.
#![forbid(unsafe_code)]

use super::*;
use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

/// Two cores, and tasks that run on whichever takes them first.
struct Cores {
    inboxes: [Arc<Inbox>; 2],
    ready: Mutex<VecDeque<Arc<Job>>>,
    left: AtomicUsize,
    done: AtomicBool,
}

struct Job {
    /// Nothing once it is done: a wake that crossed a cancel may come later.
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    cores: Arc<Cores>,
}

impl Job {
    /// Polls the future; true if that ended it.
    fn run(self: Arc<Self>) -> bool {
        let mut future = self.future.lock().unwrap();
        let waker = Waker::from(Arc::clone(&self));
        let Some(polled) = future.as_mut() else { return false };
        let done = polled.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        if done {
            *future = None;
        }
        done
    }
}

impl Wake for Job {
    fn wake(self: Arc<Self>) {
        let cores = Arc::clone(&self.cores);
        cores.ready.lock().unwrap().push_back(self);
        cores.inboxes.iter().for_each(|inbox| inbox.knock());
    }
}

impl Cores {
    fn run(&self, inbox: &Inbox) {
        let mut wakers = Vec::new();
        while !self.done.load(Ordering::SeqCst) {
            inbox.take_pinned().for_each(Message::deliver);
            fire(std::time::Instant::now(), &mut wakers);
            wakers.drain(..).for_each(Waker::wake);
            if let Some(job) = self.take() {
                if job.run() && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
                    self.done.store(true, Ordering::SeqCst);
                    self.inboxes.iter().for_each(|inbox| inbox.knock());
                }
                continue;
            }
            inbox.park();
            if inbox.is_empty() && self.ready.lock().unwrap().is_empty() && !self.done.load(Ordering::SeqCst)
            {
                match next_deadline() {
                    Some(due) => {
                        thread::park_timeout(due.saturating_duration_since(std::time::Instant::now()))
                    }
                    None => thread::park(),
                }
            }
            inbox.unpark();
        }
    }

    fn take(&self) -> Option<Arc<Job>> {
        self.ready.lock().unwrap().pop_front()
    }
}

/// Sleeps, resets, drops and times out, on two cores by turns; checks that nothing is early.
async fn restless(seed: u64) {
    let millis = |n: u64| Duration::from_millis(n % 4);
    for step in seed..seed + 12 {
        let start = Instant::now();
        let mut idle = pin!(sleep(HOUR));
        assert!(timeout(millis(step), idle.as_mut()).await.is_err());
        assert!(start.elapsed() >= millis(step));
        let deadline = Instant::now() + millis(step + 1);
        idle.as_mut().reset(deadline);
        if step % 2 == 0 {
            sleep(millis(step + 2)).await;
            let later = deadline + millis(step);
            idle.as_mut().reset(later);
            idle.as_mut().await;
            assert!(Instant::now() >= later);
        } else {
            idle.as_mut().await;
            assert!(Instant::now() >= deadline);
        }
    }
}

#[test]
fn tasks_thrown_between_two_cores_miss_no_timer_and_leave_none() {
    const JOBS: usize = 40;
    let bells: Arc<[OnceLock<thread::Thread>; 2]> = Arc::default();
    let inboxes = [0, 1].map(|core| {
        let bells = Arc::clone(&bells);
        Arc::new(Inbox::new(Box::new(move || bells[core].get().expect("it has parked").unpark())))
    });
    let (ready, left) = (Mutex::default(), AtomicUsize::new(JOBS));
    let cores = Arc::new(Cores { inboxes, ready, left, done: AtomicBool::new(false) });
    for seed in 0..JOBS as u64 {
        let future = Mutex::new(Some(Box::pin(restless(seed)) as Pin<Box<_>>));
        Arc::new(Job { future, cores: Arc::clone(&cores) }).wake();
    }
    thread::scope(|scope| {
        for (inbox, bell) in cores.inboxes.iter().zip(&*bells) {
            let cores = &cores;
            scope.spawn(move || {
                bell.set(thread::current()).expect("set once");
                let guard = enter(Driver::new(std::time::Instant::now(), Arc::clone(inbox)));
                cores.run(inbox);
                inbox.take_pinned().for_each(Message::deliver);
                drop(guard);
            });
        }
    });
    assert_eq!(cores.left.load(Ordering::SeqCst), 0);
}
