//! Addresses and names.
//!
//! Owns [`ToSocketAddrs`]: addresses are used as they are, names are looked up by the blocking pool
//! (`getaddrinfo(3)` has no ring op). It does not cache.
#![forbid(unsafe_code)]

use crate::blocking;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs as _};

/// What to do to get addresses.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// They are known.
    Known(Vec<SocketAddr>),
    /// Ask the resolver for `host:port`.
    Name(String),
}

/// Something that stands for one or more socket addresses: an address, an address or a name beside a port,
/// `host:port` as text, several addresses.
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

/// What an address and a port are written as. A blanket implementation would leave no room for names.
macro_rules! address_and_port {
    ($($address:ty),*) => {$(
        impl ToSocketAddrs for ($address, u16) {
            fn lookup(&self) -> Lookup {
                Lookup::Known(vec![SocketAddr::new(self.0.into(), self.1)])
            }
        }
    )*};
}

address_and_port!(IpAddr, Ipv4Addr, Ipv6Addr, [u8; 4], [u16; 8]);

impl ToSocketAddrs for (&str, u16) {
    fn lookup(&self) -> Lookup {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(address) => (address, port).lookup(),
            Err(_) => Lookup::Name(format!("{host}:{port}")),
        }
    }
}

impl ToSocketAddrs for (String, u16) {
    fn lookup(&self) -> Lookup {
        (self.0.as_str(), self.1).lookup()
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

/// The addresses that something stands for, in the resolver's order; at least one.
///
/// A name is looked up by the blocking pool. Dropping the future takes a question back that no thread has
/// begun to ask.
///
/// ```
/// # #[ringwork::main(cores = 1)]
/// # async fn main() -> std::io::Result<()> {
/// let mut addresses = ringwork::net::lookup_host(("127.0.0.1", 80)).await?;
/// assert_eq!(addresses.next(), Some("127.0.0.1:80".parse().unwrap()));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The resolver's; [`io::ErrorKind::InvalidInput`] for a name that has no addresses.
pub async fn lookup_host(host: impl ToSocketAddrs) -> io::Result<std::vec::IntoIter<SocketAddr>> {
    resolve(host.lookup()).await.map(Vec::into_iter)
}

/// The addresses behind a lookup; never an empty list.
pub(crate) async fn resolve(lookup: Lookup) -> io::Result<Vec<SocketAddr>> {
    let found = match lookup {
        Lookup::Known(addresses) => addresses,
        Lookup::Name(name) => {
            let asked = blocking::spawn(move || name.to_socket_addrs().map(Vec::from_iter))?;
            // A question that nobody waits for any more, and that has not been asked yet, need not be.
            asked.abort_on_drop().await.map_err(blocking::why)??
        }
    };
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name has no addresses"));
    }
    Ok(found)
}
