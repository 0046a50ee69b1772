//! Which ops leave the submitting thread for an io-wq worker on the file system of the build directory.
//! It promises to look at the threads themselves, one fresh thread per op, and judges only what holds on
//! every file system. Where the workers run is shown by `io-wq-workers`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use io_uring::opcode;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, FsyncFlags, OpenHow};
use kernel_notes::{LONG, Lab, Outcome, QUIET, Report, Scratch, threads_of_io_wq};

const LEN: usize = 64 << 10;

/// Runs one op on a fresh thread, because workers belong to the thread; prints whether a worker appeared.
fn say(
    report: &Report,
    what: &str,
    work: impl FnOnce(&mut Lab) -> io::Result<()> + Send,
) -> io::Result<bool> {
    let run = || -> io::Result<(i32, bool)> {
        let mut lab = Lab::new(8, 64)?;
        work(&mut lab)?;
        let res = lab.next(LONG)?.res;
        Ok((res, !threads_of_io_wq().is_empty()))
    };
    let (res, worker) = thread::scope(|scope| scope.spawn(run).join().expect("the thread returns errors"))?;
    let place = if worker { "worker" } else { "inline" };
    let failed = if res < 0 { format!(" (failed: {res})") } else { String::new() };
    report.saw(format_args!("{place}  {what}{failed}"));
    Ok(worker)
}

/// The same for an op that is nothing but an entry.
fn say_entry(report: &Report, what: &str, entry: Entry) -> io::Result<bool> {
    // SAFETY: every caller keeps what the entry points at until this returns, after the completion.
    say(report, what, |lab| unsafe { lab.push(entry) })
}

/// Empties the page cache of this file.
fn forget(file: &File) {
    // SAFETY: no pointers; the descriptor is open.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

fn reads_and_writes(report: &Report, scratch: &Scratch) -> io::Result<()> {
    let file = scratch.file("cached", LEN, 7, 0)?;
    fs::read(scratch.path("cached"))?;
    say(report, "read, in the page cache", |lab| lab.read(&file, 4096, 0, 1))?;
    forget(&file);
    say(report, "read, not in the page cache", |lab| lab.read(&file, 4096, 0, 1))?;
    say(report, "write, page cache", |lab| lab.write(&file, 4096, 1, 0, 1))?;
    let Ok(file) = scratch.file("direct", LEN, 7, libc::O_DIRECT) else {
        report.saw("no O_DIRECT on this file system");
        return Ok(());
    };
    say(report, "read, O_DIRECT", |lab| lab.read(&file, 4096, 0, 1))?;
    say(report, "write, O_DIRECT, range in the page cache", |lab| lab.write(&file, 4096, 1, 0, 1))?;
    forget(&file);
    say(report, "write, O_DIRECT, range not in the page cache", |lab| lab.write(&file, 4096, 1, 0, 1))?;
    let end = LEN as u64;
    say(report, "write, O_DIRECT, past the end", |lab| lab.write(&file, 4096, 1, end, 1))?;
    Ok(())
}

fn metadata(report: &mut Report, scratch: &Scratch) -> io::Result<()> {
    let file = scratch.file("meta", LEN, 7, 0)?;
    let fd = Fd(file.as_raw_fd());
    let path = scratch.c_path("meta");
    let new = scratch.c_path("new");
    let cwd = Fd(libc::AT_FDCWD);
    // SAFETY: all bytes zero is a valid `statx`: it holds integers only.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    let room: *mut libc::statx = &mut stat;
    let statx = opcode::Statx::new(cwd, path.as_ptr(), room.cast()).mask(libc::STATX_SIZE);
    say_entry(report, "statx by path", statx.build())?;
    let empty = opcode::Statx::new(fd, c"".as_ptr(), room.cast()).flags(libc::AT_EMPTY_PATH);
    say_entry(report, "statx of a descriptor", empty.build())?;
    let read_only = OpenHow::new().flags(libc::O_RDONLY as u64);
    let open = opcode::OpenAt2::new(cwd, path.as_ptr(), &read_only).build();
    say_entry(report, "open, name in the cache", open)?;
    let create = OpenHow::new().flags((libc::O_RDWR | libc::O_CREAT) as u64).mode(0o600);
    let open = opcode::OpenAt2::new(cwd, new.as_ptr(), &create).build();
    say_entry(report, "open with O_CREAT", open)?;
    let fsync = opcode::Fsync::new(fd).build();
    let synced = say_entry(report, "fsync", fsync)?;
    let data = opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build();
    say_entry(report, "fdatasync", data)?;
    let grow = opcode::Fallocate::new(fd, 2 * LEN as u64).build();
    let grown = say_entry(report, "fallocate", grow)?;
    say_entry(report, "ftruncate", opcode::Ftruncate::new(fd, 4096).build())?;
    let advice = opcode::Fadvise::new(fd, 0, libc::POSIX_FADV_WILLNEED);
    say_entry(report, "fadvise WILLNEED", advice.build())?;
    report.holds("fsync, fallocate: worker", synced && grown);
    Ok(())
}

fn names(report: &mut Report, scratch: &Scratch) -> io::Result<()> {
    drop(scratch.file("name", 1, 7, 0)?);
    let [name, other, link, folder] = ["name", "other", "link", "folder"].map(|name| scratch.c_path(name));
    let cwd = Fd(libc::AT_FDCWD);
    let entries = [
        ("link", opcode::LinkAt::new(cwd, name.as_ptr(), cwd, other.as_ptr()).build()),
        ("symlink", opcode::SymlinkAt::new(cwd, name.as_ptr(), link.as_ptr()).build()),
        ("rename", opcode::RenameAt::new(cwd, name.as_ptr(), cwd, other.as_ptr()).build()),
        ("unlink", opcode::UnlinkAt::new(cwd, other.as_ptr()).build()),
        ("mkdir", opcode::MkDirAt::new(cwd, folder.as_ptr()).build()),
        ("rmdir", opcode::UnlinkAt::new(cwd, folder.as_ptr()).flags(libc::AT_REMOVEDIR).build()),
    ];
    let mut all = true;
    for (what, entry) in entries {
        all &= say_entry(report, what, entry)?;
    }
    report.holds("whatever changes names: worker", all);
    Ok(())
}

fn the_rest(report: &mut Report, scratch: &Scratch) -> io::Result<()> {
    let nop = opcode::Nop::new().build();
    let plain = say_entry(report, "nop", nop.clone())?;
    let forced = say_entry(report, "nop with IOSQE_ASYNC", nop.flags(Flags::ASYNC))?;
    report.holds("nop: inline; IOSQE_ASYNC: worker", !plain && forced);
    let (near, mut far) = UnixStream::pair()?;
    far.write_all(b"ready")?;
    let recv = say(report, "recv, bytes there", |lab| lab.recv(&near, 5, (0, 0), 1))?;
    far.write_all(b"later")?;
    let send = say(report, "send, room there", |lab| lab.send(&near, b"hello", 0, 1))?;
    let late = say(report, "recv, bytes come later", |lab| {
        lab.recv(&far, 5, (0, 0), 1)?;
        lab.submit()?;
        lab.send(&near, b"later", 0, 2)
    })?;
    report.holds("sockets: inline or by poll", !recv && !send && !late);
    let end = opcode::Shutdown::new(Fd(near.as_raw_fd()), libc::SHUT_WR).build();
    let shut = say_entry(report, "shutdown", end)?;
    let (file, (reader, writer)) = (scratch.file("source", LEN, 7, 0)?, io::pipe()?);
    let (from, to) = (Fd(file.as_raw_fd()), Fd(writer.as_raw_fd()));
    let splice = opcode::Splice::new(from, 0, to, -1, 4096).build();
    let spliced = say_entry(report, "splice, file to pipe", splice)?;
    report.holds("shutdown, splice: worker", shut && spliced);
    drop(reader);
    let fd = File::open(scratch.path("source"))?;
    let close = opcode::Close::new(Fd(fd.into_raw_fd())).build();
    say_entry(report, "close", close)?;
    let made = opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build();
    say_entry(report, "socket", made)?;
    Ok(())
}

/// How long the submission of a write takes that a terminal has no room for, whose other end is read after
/// this time only.
fn write_to_terminal(read_after: Duration, flags: Flags) -> io::Result<Duration> {
    static BYTES: [u8; 256 << 10] = [b'x'; 256 << 10];
    let (mut other, mut this) = (-1, -1);
    // SAFETY: all-zero settings are valid, and completed by `cfmakeraw`; the call writes two descriptors,
    // which are ours.
    let (mut other, this) = unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        libc::cfmakeraw(&raw mut settings);
        let (name, size) = (std::ptr::null_mut(), std::ptr::null());
        if libc::openpty(&raw mut other, &raw mut this, name, &raw const settings, size) != 0 {
            return Err(io::Error::last_os_error());
        }
        (File::from_raw_fd(other), File::from_raw_fd(this))
    };
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(read_after);
            // It ends with an error when the terminal is closed.
            let _ = io::copy(&mut other, &mut io::sink());
        });
        let mut lab = Lab::new(8, 64)?;
        let write = opcode::Write::new(Fd(this.as_raw_fd()), BYTES.as_ptr(), BYTES.len() as u32).build();
        let begun = Instant::now();
        // SAFETY: the bytes are there for ever.
        unsafe { lab.push(write.flags(flags))? };
        lab.submit()?;
        let took = begun.elapsed();
        lab.next(LONG)?;
        drop(this);
        Ok(took)
    })
}

/// Whether a read that is not to wait is known to this file: its answer may still be that it would have to.
fn knows_nowait(file: &File) -> bool {
    let mut byte = 0_u8;
    let vector = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: the vector and its byte live throughout.
    let read = unsafe { libc::preadv2(file.as_raw_fd(), &raw const vector, 1, 0, libc::RWF_NOWAIT) };
    read >= 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)
}

fn devices(report: &mut Report) -> io::Result<()> {
    let mut all = true;
    for device in ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"] {
        all &= knows_nowait(&File::open(device)?);
    }
    report.holds("devices of memory know of reads that are not to wait", all);
    match File::options().read(true).write(true).open("/dev/net/tun") {
        // SAFETY: an all-zero request with two bits of flags; the kernel writes the name that it gives.
        Ok(tun) => unsafe {
            let mut request: libc::ifreq = std::mem::zeroed();
            request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
            if libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) == 0 {
                report.holds("so does a tunnel", knows_nowait(&tun));
            } else {
                report.saw("a tunnel: not shown, this user may make none");
            }
        },
        Err(error) => report.saw(format_args!("a tunnel: not shown: {error}")),
    }
    Ok(())
}

fn terminals(report: &mut Report) -> io::Result<()> {
    let after = 3 * QUIET;
    let (inline, worker) =
        (write_to_terminal(after, Flags::empty())?, write_to_terminal(after, Flags::ASYNC)?);
    report
        .holds("the submission of a write to a full terminal waits until there is room", inline > 2 * QUIET);
    report.holds("with IOSQE_ASYNC it does not", worker < QUIET);
    Ok(())
}

fn main() -> Outcome {
    let mut report = Report::new();
    let scratch = Scratch::new("punts")?;
    report.saw(format_args!("file system: {}", scratch.file_system()));
    reads_and_writes(&report, &scratch)?;
    metadata(&mut report, &scratch)?;
    names(&mut report, &scratch)?;
    the_rest(&mut report, &scratch)?;
    terminals(&mut report)?;
    devices(&mut report)?;
    Ok(report.finish())
}
