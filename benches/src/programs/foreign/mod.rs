//! Programs of others: found on this machine when a run begins, and left out, with a line that says why,
//! where they are not. One of ours writes the configuration, announces the address and becomes the program,
//! so that it is pinned and ends with the harness like any other.

pub(crate) mod file_server;
pub(crate) mod go;
pub(crate) mod haproxy;
pub(crate) mod nginx;
pub(crate) mod redis;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Folders of servers that are not in everybody's PATH.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Where a program is installed.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The same, or why the peer is left out.
fn installed(name: &str) -> Result<PathBuf, String> {
    find(name).ok_or_else(|| format!("{name} is not installed"))
}

/// An address for a program that is told where to listen. Somebody else could take it first; then the program
/// ends and says so.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Becomes the program; returns only if that fails.
fn become_it(mut command: Command) -> io::Result<()> {
    Err(command.exec())
}
