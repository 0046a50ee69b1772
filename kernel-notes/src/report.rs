//! What an experiment prints: facts it saw, statements that held or did not, and at the end the exit code.
//! It also sets the alarm that bounds every experiment. It judges nothing by itself.

use std::ffi::CStr;
use std::fmt::Display;
use std::process::ExitCode;

/// Seconds after which an experiment that has not ended is killed by SIGALRM.
const ALARM_SECONDS: u32 = 60;

/// Collects the statements of one experiment.
pub struct Report {
    failed: u32,
    kernel: (u32, u32),
}

impl Report {
    /// Prints the kernel and sets the alarm.
    pub fn new() -> Report {
        // SAFETY: sets a timer of this process only; the default action of SIGALRM ends it.
        unsafe { libc::alarm(ALARM_SECONDS) };
        let (kernel, machine) = uname();
        println!("Linux {}.{}, {machine}", kernel.0, kernel.1);
        Report { failed: 0, kernel }
    }

    /// Prints a fact that is not judged: a number, a timing, what this file system does.
    pub fn saw(&self, what: impl Display) {
        println!("saw    {what}");
    }

    /// Prints a statement, and remembers it if it does not hold.
    pub fn holds(&mut self, what: impl Display, is_true: bool) {
        if is_true {
            println!("holds  {what}");
        } else {
            self.failed += 1;
            println!("FAILS  {what}");
        }
    }

    /// Whether the kernel is at least this version. Only for features that cannot be probed by trying them.
    pub fn kernel_is_at_least(&self, major: u32, minor: u32) -> bool {
        self.kernel >= (major, minor)
    }

    /// Ends an experiment that has nothing to show here.
    pub fn skip(self, why: impl Display) -> ExitCode {
        println!("skip   {why}");
        self.finish()
    }

    /// The exit code: success if every statement held.
    pub fn finish(self) -> ExitCode {
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Default for Report {
    fn default() -> Report {
        Report::new()
    }
}

fn uname() -> ((u32, u32), String) {
    // SAFETY: all bytes zero is a valid `utsname`: it holds arrays of characters only.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `name` is a live structure of the type the call fills in.
    unsafe { libc::uname(&mut name) };
    // SAFETY: the kernel ends both strings with a zero byte inside their arrays.
    let (release, machine) =
        unsafe { (CStr::from_ptr(name.release.as_ptr()), CStr::from_ptr(name.machine.as_ptr())) };
    let release = release.to_string_lossy();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (version, machine.to_string_lossy().into_owned())
}
