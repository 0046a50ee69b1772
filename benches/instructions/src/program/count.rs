//! Counting paths, each in a process of its own.
//!
//! Owns both sides: [`all`] starts the processes, [`alone`] is what one does. A process has next to no
//! environment, and the C library is told to leave out what only some CPUs have, so that its string functions
//! are the same ones everywhere.

use crate::program::baseline::{Baseline, Cost};
use crate::program::paths::{self, Path};
use crate::program::step::{self, Histogram};
use crate::program::{Fallible, clock};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

/// What glibc chooses its string functions by.
const SAME_ON_ALL_CPUS: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,-ERMS,-FSRM,-BMI2,\
                                -RTM,-LZCNT,-MOVBE,-SSSE3,-SSE4_1,-SSE4_2,-AVX_Fast_Unaligned_Load";

/// Counts `paths`, as many at once as there are CPUs. `extra` per cent of what the baseline says are added.
pub(crate) fn all(
    paths: &[&'static Path],
    extra: u64,
    baseline: &Baseline,
) -> Fallible<BTreeMap<String, Cost>> {
    let queue = Mutex::new(paths.iter());
    let counted = Mutex::new(BTreeMap::new());
    let work = || -> Result<(), String> {
        loop {
            let Some(path) = queue.lock().expect("nobody panics here").next() else { return Ok(()) };
            let base = baseline.costs.get(path.name).map_or(0.0, |cost| cost.instructions);
            let more = base * path.ops() as f64 * extra as f64 / 100.0;
            let words = ["count", path.name, "--extra", &(more as u64).to_string()];
            let answer = child(&words).map_err(|error| format!("{}: {error}", path.name))?;
            let cost =
                parse(&answer, path.ops()).ok_or_else(|| format!("{} answers {answer:?}", path.name))?;
            counted.lock().expect("nobody panics here").insert(path.name.to_owned(), cost);
        }
    };
    thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, |count| count.get());
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("it says what is wrong"))
    })?;
    Ok(counted.into_inner().expect("nobody panics here"))
}

/// Runs this program again with `words`; what it prints.
pub(crate) fn child(words: &[&str]) -> Fallible<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words).env_clear().env("GLIBC_TUNABLES", SAME_ON_ALL_CPUS);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("its process ends with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn parse(answer: &str, ops: usize) -> Option<Cost> {
    let (instructions, rmws) = answer.lines().next()?.split_once(' ')?;
    let per_op = |count: &str| count.parse().ok().map(|count: u64| count as f64 / ops as f64);
    Some(Cost { instructions: per_op(instructions)?, rmws: per_op(rmws)? })
}

/// Counts one path in this process, which is good for nothing else afterwards, and prints both sums; with a
/// histogram also a line for each address. `extra` instructions are executed besides.
pub(crate) fn alone(path: &Path, extra: u64, histogram: bool) -> ! {
    clock::take_over();
    step::install();
    let runtime = paths::runtime();
    // Memory and queues grow to their size, spare cells come into being.
    path.run(&runtime);
    path.run(&runtime);
    let histogram = histogram.then(Histogram::begin);
    step::enable(true);
    path.run(&runtime);
    if extra > 0 {
        step::begin();
        step::burn(extra / 2);
        step::end();
    }
    let count = step::take();
    println!("{} {}", count.instructions, count.rmws);
    if let Some(histogram) = histogram {
        let (addresses, elsewhere) = histogram.read();
        println!("{elsewhere}");
        addresses.iter().for_each(|(address, count)| println!("{address} {count}"));
    }
    // Nothing is to be learned from its end, and time stands.
    std::process::exit(0);
}
