//! Opening below a directory and never outside it: RESOLVE_BENEATH; opening only what needs no disk:
//! RESOLVE_CACHED.
//! It promises to try each way out. Access rights are not its subject.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::thread;

use io_uring::opcode;
use io_uring::types::{Fd, OpenHow};
use kernel_notes::{LONG, Lab, Outcome, Report, Scratch, errno_name, threads_of_io_wq};

const BENEATH: u64 = 0x08;
const CACHED: u64 = 0x20;

/// `openat2` as a plain call: the error number, or 0.
fn open(dir: &File, path: &str, flags: i32, resolve: u64) -> i32 {
    let path = CString::new(path).expect("no zero byte in the paths used here");
    let how = [flags as u64, 0, resolve];
    let (dir, how) = (dir.as_raw_fd(), how.as_ptr());
    // SAFETY: the path is a C string, `how` has the three words of `open_how`; both live over the call.
    match unsafe { libc::syscall(libc::SYS_openat2, dir, path.as_ptr(), how, 24) } {
        -1 => io::Error::last_os_error().raw_os_error().unwrap_or(0),
        fd => {
            // SAFETY: the kernel has just made this descriptor for us.
            drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });
            0
        }
    }
}

fn shown(errno: i32) -> String {
    if errno == 0 { "opened".to_owned() } else { errno_name(errno) }
}

fn beneath(report: &mut Report, scratch: &Scratch, root: &File) -> io::Result<()> {
    let inside = scratch.path("root");
    fs::write(scratch.path("secret"), b"outside")?;
    fs::create_dir(inside.join("sub"))?;
    fs::write(inside.join("page"), b"inside")?;
    symlink("../secret", inside.join("up"))?;
    symlink("page", inside.join("near"))?;
    symlink("../page", inside.join("sub/back"))?;
    symlink(inside.join("page"), inside.join("absolute"))?;
    symlink("..", inside.join("sub/parent"))?;
    symlink("loop", inside.join("loop"))?;
    let page = inside.join("page").display().to_string();
    for (path, expected) in [
        ("page", 0),
        ("sub/../page", 0),
        ("near", 0),
        ("sub/back", 0),
        ("sub/parent/page", 0),
        ("../secret", libc::EXDEV),
        ("sub/../../secret", libc::EXDEV),
        ("up", libc::EXDEV),
        ("sub/parent/../secret", libc::EXDEV),
        ("/etc/passwd", libc::EXDEV),
        (page.as_str(), libc::EXDEV),
        ("absolute", libc::EXDEV),
        ("loop", libc::ELOOP),
        ("none", libc::ENOENT),
    ] {
        let seen = open(root, path, libc::O_RDONLY, BENEATH);
        let name = if path == page { "the absolute path of page" } else { path };
        report.holds(format_args!("{name}: {}", shown(seen)), seen == expected);
    }
    let process = File::open("/proc/self")?;
    let magic = open(&process, "root/etc", libc::O_RDONLY, BENEATH);
    report.holds(format_args!("a magic link of /proc: {}", shown(magic)), magic == libc::EXDEV);
    Ok(())
}

/// The name has not been looked up since the file system made it known: EAGAIN, until someone looks.
fn cached(report: &mut Report, root: &File) {
    let resolve = BENEATH | CACHED;
    let hot = open(root, "page", libc::O_RDONLY, resolve);
    report.holds(format_args!("a name in the cache: {}", shown(hot)), hot == 0);
    let cold = open(root, "never-asked", libc::O_RDONLY, resolve);
    report.holds(format_args!("a name not in the cache: {}", shown(cold)), cold == libc::EAGAIN);
    let asked = open(root, "never-asked", libc::O_RDONLY, BENEATH);
    let now = open(root, "never-asked", libc::O_RDONLY, resolve);
    report.holds(
        format_args!("asked without CACHED: {}, then with it: {}", shown(asked), shown(now)),
        asked == libc::ENOENT && now == libc::ENOENT,
    );
    let looked_at = open(root, "page", libc::O_PATH, CACHED);
    let unseen = open(root, "never-asked-either", libc::O_PATH, CACHED);
    report.holds(
        format_args!("O_PATH: a name in the cache: {}, another: {}", shown(looked_at), shown(unseen)),
        looked_at == 0 && unseen == libc::EAGAIN,
    );
    for path in ["../secret", "up", "/etc/passwd", "absolute"] {
        let out = open(root, path, libc::O_RDONLY, resolve);
        let refused = out == libc::EXDEV || out == libc::EAGAIN;
        let text = format!("way out {path} with both flags: {}", shown(out));
        report.holds(text, refused);
    }
    for (name, flags) in
        [("O_CREAT", libc::O_RDWR | libc::O_CREAT), ("O_TRUNC", libc::O_RDWR | libc::O_TRUNC)]
    {
        let seen = open(root, "page", flags, resolve);
        report.holds(format_args!("{name} on a name in the cache: {}", shown(seen)), seen == libc::EAGAIN);
    }
}

/// One open on a ring of a fresh thread: the result, and whether a worker was needed.
fn ring_open(root: &File, path: &CStr, resolve: u64) -> io::Result<(i32, bool)> {
    let work = || {
        let how = OpenHow::new().flags(libc::O_RDONLY as u64).resolve(resolve);
        let mut lab = Lab::new(8, 64)?;
        let open = opcode::OpenAt2::new(Fd(root.as_raw_fd()), path.as_ptr(), &how).build();
        // SAFETY: path and how outlive the lab, which does not go before the completion.
        unsafe { lab.push(open)? };
        let res = lab.next(LONG)?.res;
        if res >= 0 {
            // SAFETY: a successful open hands over a new descriptor, which nobody else owns.
            drop(unsafe { OwnedFd::from_raw_fd(res) });
        }
        Ok((-res.min(0), !threads_of_io_wq().is_empty()))
    };
    thread::scope(|scope| scope.spawn(work).join().expect("the thread returns errors"))
}

/// The ring tries with CACHED by itself and sends the rest to a worker; asked for CACHED, it answers EAGAIN.
fn on_the_ring(report: &mut Report, root: &File) -> io::Result<()> {
    for (what, path, resolve, expected, punted) in [
        ("name in the cache", c"page", BENEATH, 0, false),
        ("CACHED, name in the cache", c"page", BENEATH | CACHED, 0, false),
        ("CACHED, name not in the cache", c"cold-1", BENEATH | CACHED, libc::EAGAIN, false),
        ("name not in the cache", c"cold-2", BENEATH, libc::ENOENT, true),
    ] {
        let (seen, worker) = ring_open(root, path, resolve)?;
        let place = if worker { "worker" } else { "inline" };
        let good = seen == expected && worker == punted;
        report.holds(format_args!("ring, {what}: {}, {place}", shown(seen)), good);
    }
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    let scratch = Scratch::new("beneath")?;
    fs::create_dir(scratch.path("root"))?;
    let root = File::open(scratch.path("root"))?;
    report.saw(format_args!("file system: {}", scratch.file_system()));
    beneath(&mut report, &scratch, &root)?;
    cached(&mut report, &root);
    on_the_ring(&mut report, &root)?;
    Ok(report.finish())
}
