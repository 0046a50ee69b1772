//! Addresses of Unix sockets, between std's type and the kernel's structure.
//!
//! A path that begins with a zero byte is an abstract name (`unix(7)`): it is in no file system and goes with
//! its socket.
#![forbid(unsafe_code)]

use socket2::SockAddr;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

/// Bytes for a path in the kernel's structure (`sun_path`, `unix(7)`).
const LONGEST: usize = 108;

/// What a path stands for.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`]: empty (the kernel would pick a name), longer than 107 bytes, or a zero
/// byte inside.
pub(super) fn of_path(path: &Path) -> io::Result<SockAddr> {
    let bytes = path.as_os_str().as_bytes();
    match bytes.split_first() {
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is empty")),
        Some((0, _)) => SockAddr::unix(path),
        Some(_) if bytes.contains(&0) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "the path has a zero byte inside"))
        }
        Some(_) => SockAddr::unix(path),
    }
}

/// The kernel's form of an address.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for that of a socket without a name.
pub(super) fn to_kernel(address: &SocketAddr) -> io::Result<SockAddr> {
    match address.as_abstract_name() {
        Some(name) => SockAddr::unix(OsStr::from_bytes(&[&[0], name].concat())),
        None => of_path(address.as_pathname().unwrap_or(Path::new(""))),
    }
}

/// What the kernel says as std's type. A path that fills the kernel's structure, with no zero byte behind it,
/// is one byte more than that type can be made of: its socket counts as unnamed. The name of a peer is the
/// peer's to choose, and must not become an error.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if it is the address of another kind of socket.
pub(super) fn from_kernel(address: &SockAddr) -> io::Result<SocketAddr> {
    if !address.is_unix() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    match address.as_abstract_namespace() {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => {
            let path = address.as_pathname().filter(|path| path.as_os_str().len() < LONGEST);
            SocketAddr::from_pathname(path.unwrap_or(Path::new("")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_to_the_kernel_and_back() {
        let path = SocketAddr::from_pathname("/run/some.sock").unwrap();
        let back = from_kernel(&to_kernel(&path).unwrap()).unwrap();
        assert_eq!(back.as_pathname(), path.as_pathname());
        for name in [&b"name"[..], b"with\0zero", &[b'x'; 107]] {
            let address = SocketAddr::from_abstract_name(name).unwrap();
            let back = from_kernel(&to_kernel(&address).unwrap()).unwrap();
            assert_eq!(back.as_abstract_name(), Some(name));
            let as_path = [&[0], name].concat();
            let back = from_kernel(&of_path(Path::new(OsStr::from_bytes(&as_path))).unwrap()).unwrap();
            assert_eq!(back.as_abstract_name(), Some(name));
        }
    }

    #[test]
    fn a_socket_without_a_name_has_an_address_but_cannot_be_connected_to() {
        let unnamed = SockAddr::unix("").unwrap();
        let address = from_kernel(&unnamed).unwrap();
        assert!(address.is_unnamed());
        assert_eq!(to_kernel(&address).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn what_no_address_can_be_is_refused() {
        let long = "x".repeat(108);
        for path in ["", "a\0b", long.as_str()] {
            assert_eq!(of_path(Path::new(path)).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{path:?}");
        }
        assert!(from_kernel(&SockAddr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)))).is_err());
    }
}
