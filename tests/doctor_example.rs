//! The `doctor` example as its users meet it.

#[allow(dead_code, reason = "shared with other tests, each uses a part")]
mod programs;

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

/// What it says on stdout where a runtime starts.
#[track_caller]
fn report(change: impl FnOnce(&mut std::process::Command)) -> String {
    let mut command = programs::command("doctor");
    change(&mut command);
    let output = programs::outcome(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
    String::from_utf8(output.stdout).expect("a report is text")
}

/// The second column of the line that begins with `name`.
#[track_caller]
fn column<'a>(report: &'a str, name: &str) -> &'a str {
    let line = report.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no `{name}` in {report}")).trim()
}

#[test]
fn the_report_says_what_is_here_and_that_a_runtime_starts() {
    let report = report(|command| {
        command.args(["--cores", "1"]);
    });
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux says its release");
    assert!(column(&report, "kernel").contains(release.trim()));
    assert!(column(&report, "cores").starts_with("1, "));
    assert!(column(&report, "rings").contains("submissions"));
    assert!(column(&report, "DEFER_TASKRUN").contains("6.1"));
    assert_eq!(column(&report, "verdict"), "a runtime starts here");
    for name in ["io_uring", "seccomp", "locked memory", "descriptors", "CPUs", "operations", "to change"] {
        assert!(!column(&report, name).is_empty());
    }
    let folder = std::env::current_dir().expect("a test runs somewhere");
    assert!(column(&report, "folder").starts_with(&*folder.to_string_lossy()));
}

#[test]
fn a_folder_that_takes_no_files_is_no_reason_to_fail() {
    let report = report(|command| {
        command.current_dir("/proc");
    });
    assert!(column(&report, "folder").ends_with("on proc"), "{report}");
    assert!(column(&report, "buffered write").starts_with("not tried"), "{report}");
}

#[test]
fn few_descriptors_are_found_and_what_to_raise_is_said() {
    let report = report(|command| {
        let limit = || {
            let limit = libc::rlimit { rlim_cur: 100, rlim_max: 100 };
            // SAFETY: a system call on a local.
            let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
            if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        };
        // SAFETY: the closure above is async-signal-safe.
        unsafe { command.pre_exec(limit) };
    });
    assert!(column(&report, "descriptors").starts_with("100 "), "{report}");
    assert!(report.contains("ulimit -n"), "{report}");
}

#[test]
fn a_reader_that_has_gone_is_no_reason_to_fail() {
    let full = File::options().write(true).open("/dev/full").expect("a device that takes nothing");
    let mut command = programs::command("doctor");
    let ended = command.stdout(Stdio::from(full)).stderr(Stdio::null()).status().expect("it starts");
    assert!(ended.success());
}

#[test]
fn a_wrong_argument_is_one_line_and_exit_2() {
    for args in [&["--no-such-option"][..], &["--cores", "none"], &["extra"]] {
        let mut command = programs::command("doctor");
        command.args(args);
        let output = programs::outcome(command);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
    }
}
