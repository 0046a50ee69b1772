//! Addresses and names.
//!
//! Owns [`ToSocketAddrs`]: addresses are used as they are, names are looked up by the blocking pool
//! (`getaddrinfo(3)` has no ring op). It does not cache.
#![forbid(unsafe_code)]

use crate::blocking;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs as _};

/// What to do to get addresses.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// They are known.
    Known(Vec<SocketAddr>),
    /// Ask the resolver for `host:port`.
    Name(String),
}

/// Something that stands for one or more socket addresses.
pub trait ToSocketAddrs {
    /// How to get them.
    fn lookup(&self) -> Lookup;
}

impl ToSocketAddrs for SocketAddr {
    fn lookup(&self) -> Lookup {
        Lookup::Known(vec![*self])
    }
}

impl ToSocketAddrs for SocketAddrV4 {
    fn lookup(&self) -> Lookup {
        Lookup::Known(vec![(*self).into()])
    }
}

impl ToSocketAddrs for SocketAddrV6 {
    fn lookup(&self) -> Lookup {
        Lookup::Known(vec![(*self).into()])
    }
}

impl<I: Into<IpAddr> + Copy> ToSocketAddrs for (I, u16) {
    fn lookup(&self) -> Lookup {
        Lookup::Known(vec![SocketAddr::new(self.0.into(), self.1)])
    }
}

impl ToSocketAddrs for [SocketAddr] {
    fn lookup(&self) -> Lookup {
        Lookup::Known(self.to_vec())
    }
}

impl ToSocketAddrs for str {
    fn lookup(&self) -> Lookup {
        match self.parse() {
            Ok(address) => Lookup::Known(vec![address]),
            Err(_) => Lookup::Name(self.to_owned()),
        }
    }
}

impl ToSocketAddrs for String {
    fn lookup(&self) -> Lookup {
        self.as_str().lookup()
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    fn lookup(&self) -> Lookup {
        (**self).lookup()
    }
}

/// The addresses behind a lookup; never an empty list.
pub(crate) async fn resolve(lookup: Lookup) -> io::Result<Vec<SocketAddr>> {
    let found = match lookup {
        Lookup::Known(addresses) => addresses,
        Lookup::Name(name) => {
            let asked = blocking::spawn(move || name.to_socket_addrs().map(Vec::from_iter));
            // A question that nobody waits for any more, and that has not been asked yet, need not be.
            asked.abort_on_drop().await.map_err(io::Error::from)??
        }
    };
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name has no addresses"));
    }
    Ok(found)
}
