//! What a machine does to threads: moves them, interrupts them, stops them for a while, gives their CPU to
//! somebody else.

use crate::kit::process::{allowed_cpus, threads};
use crate::support::Random;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What the runtimes call their threads; the process itself has the name of this test.
pub(crate) const NAME: &str = "tumult";
/// The longest that a thread is stopped, most times, and now and then.
const PAUSE_MICROS: u64 = 1_500;
const LONG_PAUSE_MICROS: u64 = 40_000;
/// How long a burner keeps a CPU busy.
const BURN_MICROS: u64 = 5_000;

/// How long the next signal stops its thread.
static PAUSE: AtomicU32 = AtomicU32::new(0);
/// No signals: each one wakes its thread, and makes up for a wake that was lost.
static UNDISTURBED: AtomicBool = AtomicBool::new(false);

/// Runs `calm` without pauses; threads are still pinned, and robbed of their CPUs.
pub(crate) fn without_signals(calm: impl FnOnce()) {
    UNDISTURBED.store(true, Ordering::SeqCst);
    calm();
    UNDISTURBED.store(false, Ordering::SeqCst);
}

extern "C" fn pause(_: i32) {
    let micros = PAUSE.load(Ordering::Relaxed);
    let time = libc::timespec { tv_sec: 0, tv_nsec: i64::from(micros) * 1_000 };
    // SAFETY: reads a local; nanosleep is async-signal-safe. It changes errno, which is put back.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::nanosleep(&raw const time, std::ptr::null_mut());
        *errno = before;
    }
}

/// A handler without SA_RESTART, so that what waits in the kernel is interrupted too.
pub(crate) fn install() {
    // SAFETY: an all-zero sigaction is valid and is completed below.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = pause as *const () as usize;
    // SAFETY: the handler calls async-signal-safe functions only.
    let answer = unsafe { libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut()) };
    assert_eq!(answer, 0);
}

/// Chaos until it is dropped.
pub(crate) struct Chaos {
    over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Chaos {
    pub(crate) fn begin(random: &mut Random) -> Self {
        let over: Arc<AtomicBool> = Arc::default();
        let start = |act: fn(&mut Random)| {
            let (over, mut random) = (Arc::clone(&over), random.fork());
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    act(&mut random);
                }
            })
        };
        let threads = [disturb, burn].map(start).into();
        Self { over, threads }
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Pins and pauses a few threads of whatever runtime there is.
fn disturb(random: &mut Random) {
    thread::sleep(Duration::from_micros(200 + random.below(3_000)));
    let ours = threads().into_iter().filter(|(_, name)| name.starts_with(NAME) || name.starts_with("rw-"));
    let ours: Vec<u32> = ours.map(|(id, _)| id).collect();
    if ours.is_empty() {
        return;
    }
    for _ in 0..random.below(6) {
        let victim = ours[random.below(ours.len() as u64) as usize];
        if UNDISTURBED.load(Ordering::SeqCst) || random.chance(2) {
            pin(victim, random);
        } else {
            let longest = if random.chance(50) { LONG_PAUSE_MICROS } else { PAUSE_MICROS };
            PAUSE.store(random.below(longest) as u32, Ordering::Relaxed);
            // SAFETY: a system call without memory; a thread that is gone gives an error that nobody minds.
            unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), victim, libc::SIGUSR2) };
        }
    }
}

/// Gives a thread a random part of the CPUs that this one may use.
fn pin(victim: u32, random: &mut Random) {
    // SAFETY: an all-zero set is an empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let mut chosen = 0;
    let cpus = own_cpus();
    while chosen == 0 {
        for &cpu in &cpus {
            if random.chance(2) {
                // SAFETY: the kernel's CPU numbers are below the size of the set.
                unsafe { libc::CPU_SET(cpu, &mut set) };
                chosen += 1;
            }
        }
    }
    // SAFETY: reads a local; a thread that is gone gives an error that nobody minds.
    unsafe { libc::sched_setaffinity(victim as i32, size_of::<libc::cpu_set_t>(), &raw const set) };
}

/// The CPUs of the thread that disturbs, which nobody pins.
fn own_cpus() -> Vec<usize> {
    let list = allowed_cpus(crate::kit::process::thread_id()).expect("the kernel tells");
    let part = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        from.parse::<usize>().unwrap()..=to.parse::<usize>().unwrap()
    };
    list.split(',').flat_map(part).collect()
}

/// Takes a CPU away for a while.
fn burn(random: &mut Random) {
    thread::sleep(Duration::from_micros(random.below(20_000)));
    let until = Instant::now() + Duration::from_micros(random.below(BURN_MICROS));
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}
