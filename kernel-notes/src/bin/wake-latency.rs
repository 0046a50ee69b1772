//! How long a thread takes to answer a call: asleep on another CPU, asleep on the CPU of the caller, asleep
//! in a ring, and awake. It promises medians of round trips between two pinned threads, and one comparison
//! that is not close. It says nothing about the way a machine takes to it: that differs with hypervisor and
//! idle driver.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::FromRawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kernel_notes::{LONG, Lab, Outcome, Report, cpus_allowed, pin};

/// Round trips of one measurement.
const TRIPS: u32 = 2_000;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// How a thread is called, and how it waits for that.
trait Call: Send + Sync + 'static {
    fn call(&self) -> io::Result<()>;
    /// What a waiting thread has beside, made on it.
    type Waiter;
    fn waiter(&self) -> io::Result<Self::Waiter>;
    /// Waits until there was another call than the `seen` ones.
    fn wait(&self, waiter: &mut Self::Waiter, seen: u32) -> io::Result<()>;
}

/// A word, and whether one sleeps until it changes.
struct Word {
    count: AtomicU32,
    sleeps: bool,
}

impl Call for Word {
    type Waiter = ();

    fn call(&self) -> io::Result<()> {
        self.count.fetch_add(1, Ordering::Release);
        if self.sleeps {
            let (word, wake) = (self.count.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG);
            // SAFETY: the word is alive, and waking touches nothing.
            unsafe { libc::syscall(libc::SYS_futex, word, wake, 1) };
        }
        Ok(())
    }

    fn waiter(&self) -> io::Result<()> {
        Ok(())
    }

    fn wait(&self, (): &mut (), seen: u32) -> io::Result<()> {
        while self.count.load(Ordering::Acquire) == seen {
            if self.sleeps {
                let (word, wait) = (self.count.as_ptr(), libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG);
                let for_ever = std::ptr::null::<libc::timespec>();
                // SAFETY: the word is alive; the kernel only reads it.
                unsafe { libc::syscall(libc::SYS_futex, word, wait, seen, for_ever) };
            } else {
                std::hint::spin_loop();
            }
        }
        Ok(())
    }
}

/// An eventfd under a multishot poll, as in the page `wake`.
struct Bell(File);

impl Call for Bell {
    type Waiter = Lab;

    fn call(&self) -> io::Result<()> {
        (&self.0).write_all(&1u64.to_ne_bytes())
    }

    fn waiter(&self) -> io::Result<Lab> {
        let mut lab = Lab::new(8, 64)?;
        lab.poll_multi(&self.0, 1)?;
        lab.submit()?;
        Ok(lab)
    }

    fn wait(&self, lab: &mut Lab, _seen: u32) -> io::Result<()> {
        lab.next(LONG).map(|_| ())
    }
}

fn word(sleeps: bool) -> [Word; 2] {
    [0, 1].map(|_| Word { count: AtomicU32::new(0), sleeps })
}

fn bells() -> io::Result<[Bell; 2]> {
    let bell = || {
        // SAFETY: makes a descriptor, no pointers.
        match unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: the descriptor was made above and nobody else owns it.
            fd => Ok(Bell(unsafe { File::from_raw_fd(fd) })),
        }
    };
    Ok([bell()?, bell()?])
}

/// The median of half a round trip between this thread and one more, each on a CPU of its own or both on one.
fn one_way<C: Call>(calls: [C; 2], cpus: [usize; 2]) -> io::Result<Duration> {
    let calls = std::sync::Arc::new(calls);
    let there = std::sync::Arc::clone(&calls);
    let answerer = thread::spawn(move || -> io::Result<()> {
        pin(0, cpus[1])?;
        let mut waiter = there[0].waiter()?;
        there[1].call()?;
        for seen in 0..TRIPS {
            there[0].wait(&mut waiter, seen)?;
            there[1].call()?;
        }
        Ok(())
    });
    pin(0, cpus[0])?;
    let mut waiter = calls[1].waiter()?;
    calls[1].wait(&mut waiter, 0)?;
    let mut times = Vec::new();
    for seen in 1..=TRIPS {
        let start = Instant::now();
        calls[0].call()?;
        calls[1].wait(&mut waiter, seen)?;
        times.push(start.elapsed() / 2);
    }
    answerer.join().expect("the answerer returns errors")?;
    Ok(median(times))
}

fn main() -> Outcome {
    let mut report = Report::new();
    let [here, there, ..] = cpus_allowed()[..] else {
        return Ok(report.skip("one CPU: nobody can be asleep on another"));
    };
    let saw = |what: &str, time: Duration| {
        report.saw(format_args!("{what}: {:.1} us", time.as_nanos() as f64 / 1e3));
        time
    };
    let asleep = saw("asleep on another CPU, in a futex", one_way(word(true), [here, there])?);
    saw("asleep on another CPU, in a ring", one_way(bells()?, [here, there])?);
    saw("asleep on the CPU of the caller, in a futex", one_way(word(true), [here, here])?);
    let awake = saw("awake on another CPU", one_way(word(false), [here, there])?);
    report.holds("who is awake answers in less than half the time", awake < asleep / 2);
    Ok(report.finish())
}
