//! Who is at the other end of a Unix socket.
#![forbid(unsafe_code)]

use crate::sys::io::peer_credentials;
use std::io;
use std::os::fd::RawFd;

/// The credentials of the process that connected, or listened, or made the pair, at that time
/// (`SO_PEERCRED`, `unix(7)`).
///
/// ```
/// use ringwork::net::UnixStream;
///
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// let (one, _other) = UnixStream::pair()?;
/// assert_eq!(one.peer_cred()?.pid(), Some(std::process::id() as i32));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UCred {
    uid: u32,
    gid: u32,
    pid: Option<i32>,
}

impl UCred {
    pub(super) fn of_peer(socket: RawFd) -> io::Result<Self> {
        let peer = peer_credentials(socket)?;
        // Zero: a process that this process's namespace does not show.
        Ok(Self { uid: peer.uid, gid: peer.gid, pid: Some(peer.pid).filter(|pid| *pid != 0) })
    }

    /// Its effective user id.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Its effective group id.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Its process id, if it is one of this process's namespace.
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }
}
