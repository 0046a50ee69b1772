//! A folder to serve, with another beside it that must never be served.

use crate::programs::{self, Server};
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What stands in the files that are not to be served.
pub(crate) const SECRET: &[u8] = b"nobody may read this";

/// Two folders of one test, removed at its end.
pub(crate) struct Site {
    folder: PathBuf,
}

impl Site {
    /// An empty root, and a folder outside it with a file that nobody may read.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("file-server-{}-{count}", std::process::id());
        let site = Self { folder: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name) };
        fs::create_dir_all(site.root()).expect("a new folder");
        fs::create_dir(site.outside()).expect("a new folder");
        fs::write(site.outside().join("secret"), SECRET).expect("a new file");
        site
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    pub(crate) fn outside(&self) -> PathBuf {
        self.folder.join("outside")
    }

    /// Where a file of the root is.
    pub(crate) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.root().join(name.as_ref())
    }

    /// Writes a file, with the folders it is in.
    pub(crate) fn write(&self, name: impl AsRef<OsStr>, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is in the root")).expect("folders can be made");
        fs::write(path, bytes).expect("a file can be written");
    }

    pub(crate) fn folder(&self, name: &str) {
        fs::create_dir_all(self.path(name)).expect("a folder can be made");
    }

    /// Makes a folder whose listing is more than lies between a server and a client that does not read: for
    /// each byte of these names it has nine.
    pub(crate) fn folder_with_a_long_listing(&self, name: &str) {
        self.folder(name);
        let quotes = "\"".repeat(240);
        for number in 0..5_000 {
            let path = self.path(name).join(format!("{quotes}{number}"));
            fs::File::create(path).expect("a file can be made");
        }
    }

    pub(crate) fn link(&self, name: &str, target: impl AsRef<Path>) {
        symlink(target, self.path(name)).expect("a link can be made");
    }

    /// Makes a pipe or socket: `S_IFIFO` or `S_IFSOCK`.
    pub(crate) fn special(&self, name: &str, kind: libc::mode_t) {
        let path = CString::new(self.path(name).as_os_str().as_bytes()).expect("no NUL in it");
        // SAFETY: the path is a string that ends in NUL and outlives the call.
        let made = unsafe { libc::mknod(path.as_ptr(), kind | 0o666, 0) };
        assert_eq!(made, 0, "mknod: {}", std::io::Error::last_os_error());
    }

    /// Sets a file's length: cuts it, or adds zeros.
    pub(crate) fn resize(&self, name: &str, len: u64) {
        let file = fs::File::options().write(true).open(self.path(name)).expect("the file is there");
        file.set_len(len).expect("a file can have any length");
    }

    /// Starts a server for the root.
    pub(crate) fn serve(&self, options: &[&str]) -> Server {
        serve(&self.root(), options)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Starts a server for a folder that is there anyway.
pub(crate) fn serve(root: &Path, options: &[&str]) -> Server {
    let mut command = programs::command("file_server");
    command.arg("--root").arg(root).args(["--listen", "127.0.0.1:0"]).args(options);
    Server::start(command)
}
