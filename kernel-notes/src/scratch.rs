//! Files that an experiment may write: next to its own executable, which is on a real file system more often
//! than the temporary directory is, and removed on drop. It does not choose a file system; it only names it.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A directory of our own that is removed with all it holds.
pub struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    /// Makes an empty directory whose name holds `name` and our process id.
    pub fn new(name: &str) -> io::Result<Scratch> {
        let exe = std::env::current_exe()?;
        let near = exe.parent().unwrap_or(Path::new("."));
        let dir = near.join(format!("scratch-{name}-{}", std::process::id()));
        fs::create_dir(&dir)?;
        Ok(Scratch { dir })
    }

    /// The path of an entry of the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The same, for a call that wants a C string.
    pub fn c_path(&self, name: &str) -> CString {
        CString::new(self.path(name).as_os_str().as_bytes()).expect("no zero byte in a path we made")
    }

    /// Writes a file of `len` bytes of `byte`, on disk when this returns, and opens it to read and write,
    /// with `flags` besides.
    pub fn file(&self, name: &str, len: usize, byte: u8, flags: i32) -> io::Result<File> {
        let path = self.path(name);
        let mut file = File::create(&path)?;
        let chunk = vec![byte; len.min(1 << 20)];
        let mut left = len;
        while left > 0 {
            let part = left.min(chunk.len());
            file.write_all(&chunk[..part])?;
            left -= part;
        }
        file.sync_all()?;
        OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
    }

    /// Makes a FIFO.
    pub fn fifo(&self, name: &str) -> io::Result<()> {
        // SAFETY: the path is a live C string.
        match unsafe { libc::mkfifo(self.c_path(name).as_ptr(), 0o600) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The name of the file system the directory is on.
    pub fn file_system(&self) -> &'static str {
        let path = self.c_path("");
        // SAFETY: all bytes zero is a valid `statfs`: it holds integers only.
        let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to live values of the types the call expects.
        if unsafe { libc::statfs(path.as_ptr(), &mut stat) } != 0 {
            return "unknown";
        }
        match stat.f_type as u64 {
            0xef53 => "ext4",
            0x5846_5342 => "xfs",
            0x9123_683e => "btrfs",
            0x0102_1994 => "tmpfs",
            0x794c_7630 => "overlayfs",
            _ => "unknown",
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: a leftover in the build directory is harmless and has a telling name.
        let _ = fs::remove_dir_all(&self.dir);
    }
}
