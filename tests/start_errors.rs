//! What a user reads where a runtime cannot start: one line that names cause and cure, and exit code 1.
//!
//! Each test runs a whole example in a process whose kernel was made stingy before it began: a seccomp
//! filter, limits, another user. Nothing here changes the machine; `kernel.io_uring_disabled` is for all of
//! it, so its words are tested beside the error itself (src/runtime/error.rs).

#[allow(dead_code, reason = "shared with other tests, each uses a part")]
mod programs;
#[path = "kit/seccomp.rs"]
mod seccomp;

use programs::Server;
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// One test at a time: programs of one user that run at once share what the user may lock.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All examples, each with what it needs to start.
const EXAMPLES: [(&str, &[&str]); 4] = [
    ("echo", &["--listen", "127.0.0.1:0"]),
    ("file_server", &["--listen", "127.0.0.1:0"]),
    ("tcp_proxy", &["--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:9"]),
    ("doctor", &[]),
];

fn args_of(name: &str) -> &'static [&'static str] {
    let known = EXAMPLES.iter().find(|(known, _)| *known == name);
    known.expect("an example of the list").1
}

/// The example `name` after `restrict` has had its way with it.
fn restricted(restrict: impl Fn(&mut Command)) -> impl Fn(&str) -> Command {
    move |name| {
        let mut command = programs::piped(&programs::path(name));
        command.args(args_of(name));
        restrict(&mut command);
        command
    }
}

/// Every example, as `make` has it, ends with 1 and a line that has all of `words`.
#[track_caller]
fn all_refuse(make: impl Fn(&str) -> Command, words: &[&str]) {
    for (name, _) in EXAMPLES {
        let command = make(name);
        let output = programs::outcome(command);
        let line = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {line}");
        assert_eq!(line.lines().count(), 1, "{name}: {line}");
        assert!(line.starts_with(&format!("{name}: cannot start ringwork: ")), "{line}");
        for word in words {
            assert!(line.contains(word), "{name}: no `{word}` in {line}");
        }
        let stdout = String::from_utf8_lossy(&output.stdout);
        let expected =
            if name == "doctor" { stdout.contains("no runtime can start") } else { stdout.is_empty() };
        assert!(expected, "{name}: {stdout}");
    }
}

/// Answers the system call `number` with `errno` and lets all others through.
fn forbid(command: &mut Command, number: libc::c_long, errno: i32) {
    // SAFETY: `forbid` is async-signal-safe.
    unsafe { command.pre_exec(move || seccomp::forbid(number, errno)) };
}

#[test]
fn a_filter_that_forbids_io_uring_is_named_with_what_to_allow() {
    let _alone = alone();
    let words = ["seccomp", "EPERM", "allow io_uring_setup"];
    all_refuse(restricted(|command| forbid(command, libc::SYS_io_uring_setup, libc::EPERM)), &words);
}

#[test]
fn a_filter_that_hides_io_uring_is_not_taken_for_an_old_kernel() {
    let _alone = alone();
    let words = ["seccomp", "ENOSYS", "allow io_uring_setup"];
    all_refuse(restricted(|command| forbid(command, libc::SYS_io_uring_setup, libc::ENOSYS)), &words);
}

#[test]
fn a_filter_that_lets_rings_be_made_and_not_used_is_found_at_the_start() {
    let _alone = alone();
    for number in [libc::SYS_io_uring_enter, libc::SYS_io_uring_register] {
        all_refuse(
            restricted(|command| forbid(command, number, libc::EPERM)),
            &["seccomp", "EPERM", "io_uring_enter"],
        );
        all_refuse(
            restricted(|command| forbid(command, number, libc::ENOSYS)),
            &["seccomp", "ENOSYS", "io_uring_enter"],
        );
    }
}

/// Sets a limit of the program, soft and hard.
fn limit(command: &mut Command, resource: libc::__rlimit_resource_t, bytes: u64) {
    let set = move || {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
        // SAFETY: a system call on a local.
        match unsafe { libc::setrlimit(resource, &raw const limit) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure above is async-signal-safe.
    unsafe { command.pre_exec(set) };
}

#[test]
fn a_file_limit_that_is_too_low_is_named_with_the_number() {
    let _alone = alone();
    all_refuse(
        restricted(|command| limit(command, libc::RLIMIT_NOFILE, 4)),
        &["file descriptors", "limit 4", "ulimit -n"],
    );
}

/// Whether this user may become another.
fn is_root() -> bool {
    // SAFETY: a system call without memory.
    unsafe { libc::geteuid() == 0 }
}

/// The examples as an ordinary user runs them, with a limit of locked memory.
///
/// The kernel counts locked memory by user. As root each program becomes a user whom nobody else is, so its
/// count starts at zero. An ordinary user stays who he is: what else he runs counts too, and if that is
/// anything, there is nothing to be seen here.
struct Poor {
    folder: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Poor {
    fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let alone = alone();
        if !is_root() && !is_free_of_locked_memory() {
            println!("skipped: other programs of this user have locked memory");
            return None;
        }
        // A folder that any user may enter: the one of the build need not be.
        let name = format!("ringwork-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("there is room for temporary files");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        Some(Self { folder, _alone: alone })
    }

    /// The example `name`, which may lock `bytes`.
    fn example(&self, name: &str, bytes: u64) -> Command {
        let mut command = self.unlimited(name);
        limit(&mut command, libc::RLIMIT_MEMLOCK, bytes);
        command
    }

    /// The example `name`, which may lock `bytes`, as root of a user namespace of its own: it has every
    /// capability there, and none where the kernel counts what is locked. `None` if this user may make none.
    fn as_root_of_a_namespace(&self, name: &str, bytes: u64) -> Option<Command> {
        let make = |program: &Path| {
            let mut command = programs::piped(Path::new("unshare"));
            command.args(["--user", "--map-root-user"]).arg(program).current_dir(&self.folder);
            become_somebody(&mut command);
            command
        };
        if !make(Path::new("true")).status().is_ok_and(|status| status.success()) {
            println!("skipped: no user namespaces for this user, or no unshare(1)");
            return None;
        }
        let mut command = make(&self.program(name));
        command.args(args_of(name));
        limit(&mut command, libc::RLIMIT_MEMLOCK, bytes);
        Some(command)
    }

    /// The example `name` with the limits that this test has.
    fn unlimited(&self, name: &str) -> Command {
        let mut command = programs::piped(&self.program(name));
        command.args(args_of(name)).current_dir(&self.folder);
        become_somebody(&mut command);
        command
    }

    /// A copy of the example `name` that any user may run.
    fn program(&self, name: &str) -> PathBuf {
        let program = self.folder.join(name);
        if !program.exists() {
            fs::copy(programs::path(name), &program).expect("there is room for a copy");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("the copy is ours");
        }
        program
    }
}

/// As root: the program runs as a user whom nobody else is.
fn become_somebody(command: &mut Command) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    if is_root() {
        let user = 1_000_000 + std::process::id() * 100 + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        command.uid(user).gid(user);
    }
}

impl Drop for Poor {
    fn drop(&mut self) {
        // What cannot be removed is in the folder for what may be removed.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Whether the smallest ring there is can be made in just the memory it takes. What was locked by a process
/// that has ended is counted for a moment longer.
fn is_free_of_locked_memory() -> bool {
    let mut program = Command::new(std::env::current_exe().expect("a test knows its own path"));
    program
        .args(["--exact", "makes_the_smallest_ring", "--ignored"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    limit(&mut program, libc::RLIMIT_MEMLOCK, 2 * page());
    let mut tries = 0..100;
    tries.any(|_| {
        let made = program.status().expect("this program starts").success();
        if !made {
            thread::sleep(Duration::from_millis(20));
        }
        made
    })
}

#[test]
#[ignore = "a part of other tests, which run it in a process with little memory"]
fn makes_the_smallest_ring() {
    io_uring::IoUring::new(1).unwrap();
}

fn page() -> u64 {
    // SAFETY: a system call without memory.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u64 }
}

#[test]
fn too_little_locked_memory_is_named_with_the_limit_and_what_to_raise() {
    let Some(poor) = Poor::new() else { return };
    let limit = format!("{} KiB", page() / 1024);
    let words = ["locked memory", &limit, "ENOMEM", "ulimit -l", "LimitMEMLOCK"];
    all_refuse(|name| poor.example(name, page()), &words);
    // Enough for two of the smallest rings, not for three.
    let mut command = poor.example("doctor", 4 * page());
    command.args(["--cores", "3"]);
    let output = programs::outcome(command);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("fewer cores"));
}

#[test]
fn a_refused_thread_is_named_with_the_limits_that_may_refuse_it() {
    let Some(poor) = Poor::new() else { return };
    let make = |name: &str| {
        let mut command = poor.unlimited(name);
        limit(&mut command, libc::RLIMIT_NPROC, 1);
        command
    };
    all_refuse(make, &["thread", "EAGAIN", "ulimit -u", "pids.max"]);
}

/// An echo server with so much locked memory starts, serves and ends.
fn serves_within(poor: &Poor, bytes: u64, cores: &str) {
    serves(poor.example("echo", bytes), cores);
}

/// The echo server `command` starts, serves and ends.
fn serves(mut command: Command, cores: &str) {
    command.args(["--cores", cores]);
    let server = Server::start(command);
    let client = TcpStream::connect(server.address()).expect("the server accepts");
    let sent = vec![7; 100_000];
    let mut received = vec![0; sent.len()];
    thread::scope(|scope| {
        scope.spawn(|| (&client).write_all(&sent).expect("the server takes it"));
        (&client).read_exact(&mut received).expect("it comes back");
    });
    assert!(sent == received);
    drop(client);
    server.signal(libc::SIGTERM);
    assert_eq!(server.end(), (Some(0), programs::stopping("echo")));
}

#[test]
fn a_runtime_starts_and_serves_within_64_kib_of_locked_memory() {
    if page() != 4096 {
        println!("skipped: with pages of {} bytes every ring takes more", page());
        return;
    }
    let Some(poor) = Poor::new() else { return };
    for cores in ["1", "2", "4"] {
        serves_within(&poor, 64 * 1024, cores);
    }
    let output = programs::outcome(poor.example("doctor", 64 * 1024));
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && report.contains("64 KiB for all programs of this user"), "{report}");
}

/// A capability that counts in a namespace only is none to the kernel where locked memory is concerned.
#[test]
fn root_of_a_user_namespace_starts_within_the_limit_of_locked_memory() {
    if page() != 4096 {
        println!("skipped: with pages of {} bytes every ring takes more", page());
        return;
    }
    let Some(poor) = Poor::new() else { return };
    let Some(server) = poor.as_root_of_a_namespace("echo", 64 * 1024) else { return };
    serves(server, "4");
    let Some(doctor) = poor.as_root_of_a_namespace("doctor", 64 * 1024) else { return };
    let output = programs::outcome(doctor);
    let report = String::from_utf8_lossy(&output.stdout);
    // As `Capabilities::locked_memory` has it.
    assert!(output.status.success() && report.contains("64 KiB for all programs of this user"), "{report}");
}

#[test]
fn cores_without_room_for_a_buffer_pool_receive_into_the_heap() {
    let Some(poor) = Poor::new() else { return };
    serves_within(&poor, 4 * page(), "2");
}
