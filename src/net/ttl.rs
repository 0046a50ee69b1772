//! How far packets go: the time to live of IPv4, which over IPv6 is the hop limit. A socket of IPv6 has both,
//! because it may speak IPv4 as well (ipv6(7)), and takes the former without a word where only the latter
//! would do anything.
#![forbid(unsafe_code)]

use socket2::{Domain, SockRef};
use std::io;

pub(super) fn ttl(socket: &SockRef<'_>) -> io::Result<u32> {
    if socket.domain()? == Domain::IPV6 { socket.unicast_hops_v6() } else { socket.ttl_v4() }
}

pub(super) fn set_ttl(socket: &SockRef<'_>, ttl: u32) -> io::Result<()> {
    // First: it refuses all that the other one does, and 0.
    socket.set_ttl_v4(ttl)?;
    if socket.domain()? == Domain::IPV6 { socket.set_unicast_hops_v6(ttl) } else { Ok(()) }
}
