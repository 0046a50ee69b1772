//! Addresses and options of a UDP socket.
#![forbid(unsafe_code)]

use super::UdpSocket;
use crate::net::ttl;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Options of the socket. None of them waits.
impl UdpSocket {
    /// The address the socket is bound to.
    ///
    /// # Errors
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The address of the peer that the socket is connected to.
    ///
    /// # Errors
    /// ENOTCONN if there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket().peer_addr()?.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The error pending on the socket, which is cleared (`SO_ERROR`).
    ///
    /// # Errors
    /// The kernel's.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket().take_error()
    }

    /// Has the socket receive what is sent to a group, by the interface with this address, or by one that the
    /// kernel picks (`0.0.0.0`).
    ///
    /// # Errors
    /// The kernel's: EADDRINUSE if it is in the group, ENODEV without such an interface.
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.socket().join_multicast_v4(&group, &interface)
    }

    /// Leaves a group; see [`join_multicast_v4`](Self::join_multicast_v4).
    ///
    /// # Errors
    /// The kernel's: EADDRNOTAVAIL if it is not in the group.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.socket().leave_multicast_v4(&group, &interface)
    }

    /// Has the socket receive what is sent to a group, by the interface with this index, or by any (0).
    ///
    /// # Errors
    /// As [`join_multicast_v4`](Self::join_multicast_v4).
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket().join_multicast_v6(group, interface)
    }

    /// Leaves a group; see [`join_multicast_v6`](Self::join_multicast_v6).
    ///
    /// # Errors
    /// As [`leave_multicast_v4`](Self::leave_multicast_v4).
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket().leave_multicast_v6(group, interface)
    }

    /// The time to live of sent packets (`IP_TTL`, `ip(7)`).
    ///
    /// # Errors
    /// The kernel's.
    pub fn ttl(&self) -> io::Result<u32> {
        ttl::ttl(&self.socket())
    }

    /// Sets what [`ttl`](Self::ttl) tells.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        ttl::set_ttl(&self.socket(), ttl)
    }

    /// Whether datagrams may be sent to a broadcast address (`SO_BROADCAST`).
    ///
    /// # Errors
    /// The kernel's.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.socket().broadcast()
    }

    /// Sets what [`broadcast`](Self::broadcast) tells.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_broadcast(&self, allowed: bool) -> io::Result<()> {
        self.socket().set_broadcast(allowed)
    }

    /// The time to live of multicast packets (`IP_MULTICAST_TTL`); 1, the default, keeps them in the local
    /// network.
    ///
    /// # Errors
    /// The kernel's.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.socket().multicast_ttl_v4()
    }

    /// Sets what [`multicast_ttl_v4`](Self::multicast_ttl_v4) tells.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.socket().set_multicast_ttl_v4(ttl)
    }

    /// Whether multicast packets come back to this machine (`IP_MULTICAST_LOOP`).
    ///
    /// # Errors
    /// The kernel's.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.socket().multicast_loop_v4()
    }

    /// Sets what [`multicast_loop_v4`](Self::multicast_loop_v4) tells.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        self.socket().set_multicast_loop_v4(on)
    }

    /// Whether multicast packets come back to this machine (`IPV6_MULTICAST_LOOP`).
    ///
    /// # Errors
    /// The kernel's.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.socket().multicast_loop_v6()
    }

    /// Sets what [`multicast_loop_v6`](Self::multicast_loop_v6) tells.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        self.socket().set_multicast_loop_v6(on)
    }
}
