//! What changes names: rename, remove, create a folder, link.
//!
//! Owns these ops and the functions for them. Each is one op of the ring, which the kernel gives to a helper
//! thread at once: such a call may wait for a lock of the folder or for the journal, and the core never does.
//! What would be many calls in a row (`create_dir_all`, `remove_dir_all`) is one job of the blocking pool.
//!
//! None is taken back: a future that is dropped after its first poll leaves its op to itself, which is done a
//! moment later, if the runtime does not end before. So is a job of the pool.
#![forbid(unsafe_code)]

use super::open::c_path;
use crate::blocking;
use crate::ring::Ring;
use crate::ring::op::{Op, Operation};
use crate::sys::sqe::{Cqe, Sqe, opcode};
use std::ffi::CString;
use std::io;
use std::path::Path;

/// Gives a file or folder another name, in place of what has that name (`rename(2)`).
///
/// Atomic for whoever looks. It is on the device once the folders are synced.
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// # let folder = std::env::temp_dir().join(format!("ringwork-rename-{}", std::process::id()));
/// # ringwork::fs::create_dir(&folder).await?;
/// # let (new, name) = (folder.join("new"), folder.join("name"));
/// ringwork::fs::write(&new, "content").await?;
/// ringwork::fs::rename(&new, &name).await?;
/// assert_eq!(ringwork::fs::read(&name).await?, b"content");
/// # ringwork::fs::remove_dir_all(&folder).await
/// # }
/// ```
///
/// # Errors
/// The kernel's: EXDEV between file systems, ENOTEMPTY for a folder that is in the way, …
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    Op::new(Two::<{ opcode::RENAMEAT }> { one: c_path(from.as_ref())?, other: c_path(to.as_ref())? })
        .detach()
        .await
}

/// Removes a name; the file goes with its last name, once nobody has it open (`unlink(2)`).
///
/// # Errors
/// The kernel's: EISDIR for a folder, …
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    Op::new(Unlink { path: c_path(path.as_ref())?, flags: 0 }).detach().await
}

/// Removes an empty folder (`rmdir(2)`).
///
/// # Errors
/// The kernel's: ENOTEMPTY, ENOTDIR, …
pub async fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    Op::new(Unlink { path: c_path(path.as_ref())?, flags: libc::AT_REMOVEDIR as u32 }).detach().await
}

/// Removes a folder with all that is in it; links are removed and not followed. On the blocking pool.
///
/// # Errors
/// As [`std::fs::remove_dir_all`]: some of it may be gone.
pub async fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    blocking::run(move || std::fs::remove_dir_all(path)).await?
}

/// Makes a folder, with mode 0o777 less the umask (`mkdir(2)`); [`DirBuilder`](super::DirBuilder) has
/// others.
///
/// # Errors
/// The kernel's: EEXIST, ENOENT if the folder above is not there, …
pub async fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    make_dir(path.as_ref(), 0o777).await
}

pub(super) async fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    Op::new(MakeDir { path: c_path(path)?, mode }).detach().await
}

/// Makes a folder and all above it that are not there; one that is there is no error. On the blocking pool.
///
/// # Errors
/// As [`std::fs::create_dir_all`].
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    blocking::run(move || std::fs::create_dir_all(path)).await?
}

/// Gives a file one more name, in the same file system (`link(2)`).
///
/// # Errors
/// The kernel's: EEXIST, EXDEV, EPERM for a folder, …
pub async fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let (one, other) = (c_path(original.as_ref())?, c_path(link.as_ref())?);
    Op::new(Two::<{ opcode::LINKAT }> { one, other }).detach().await
}

/// Makes a symbolic link that says `original`, whatever that is (`symlink(2)`).
///
/// # Errors
/// The kernel's: EEXIST, …
pub async fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    Op::new(Symlink { original: c_path(original.as_ref())?, link: c_path(link.as_ref())? }).detach().await
}

/// `renameat(2)` or `linkat(2)`, which say the same in an entry.
struct Two<const OPCODE: u8> {
    one: CString,
    other: CString,
}

impl<const OPCODE: u8> Operation for Two<OPCODE> {
    const OPCODE: u8 = OPCODE;
    type Output = io::Result<()>;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        // The second folder's descriptor travels in the length.
        Sqe::new(OPCODE, libc::AT_FDCWD)
            .at(self.one.as_ptr().cast(), libc::AT_FDCWD.cast_unsigned())
            .offset(self.other.as_ptr().expose_provenance() as u64)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(drop)
    }
}

/// `unlinkat(2)`.
struct Unlink {
    path: CString,
    flags: u32,
}

impl Operation for Unlink {
    const OPCODE: u8 = opcode::UNLINKAT;
    type Output = io::Result<()>;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        Sqe::new(Self::OPCODE, libc::AT_FDCWD).at(self.path.as_ptr().cast(), 0).op_flags(self.flags)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(drop)
    }
}

/// `mkdirat(2)`.
struct MakeDir {
    path: CString,
    mode: u32,
}

impl Operation for MakeDir {
    const OPCODE: u8 = opcode::MKDIRAT;
    type Output = io::Result<()>;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        Sqe::new(Self::OPCODE, libc::AT_FDCWD).at(self.path.as_ptr().cast(), self.mode)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(drop)
    }
}

/// `symlinkat(2)`.
struct Symlink {
    original: CString,
    link: CString,
}

impl Operation for Symlink {
    const OPCODE: u8 = opcode::SYMLINKAT;
    type Output = io::Result<()>;

    fn describe(&mut self, _ring: &Ring) -> Sqe {
        Sqe::new(Self::OPCODE, libc::AT_FDCWD)
            .at(self.original.as_ptr().cast(), 0)
            .offset(self.link.as_ptr().expose_provenance() as u64)
    }

    fn finish(self, cqe: Cqe) -> Self::Output {
        cqe.result().map(drop)
    }
}
