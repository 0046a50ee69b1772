//! Binding, addresses and options.

use crate::support::on_cores;
use crate::{connected, socket};
use ringwork::net::UdpSocket;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

#[test]
fn the_first_address_that_works_is_taken_and_the_last_error_told() {
    on_cores(1, |_| async {
        let (taken, address) = socket().await;
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        UdpSocket::bind(&[address, free][..]).await.unwrap();
        assert_eq!(UdpSocket::bind(address).await.unwrap_err().kind(), ErrorKind::AddrInUse);
        let by_name = UdpSocket::bind(("localhost", 0)).await.unwrap();
        assert!(by_name.local_addr().unwrap().ip().is_loopback());
        drop(taken);
    });
}

#[test]
fn a_socket_of_the_sixth_version_knows_its_peer() {
    on_cores(1, |_| async {
        let Ok(one) = UdpSocket::bind("[::1]:0").await else { return };
        let address = one.local_addr().unwrap();
        let other = UdpSocket::bind("[::1]:0").await.unwrap();
        other.send_to("six", address).await.0.unwrap();
        let (received, bytes) = one.recv_from(Vec::with_capacity(8)).await;
        assert_eq!((received.unwrap(), &bytes[..]), ((3, other.local_addr().unwrap()), &b"six"[..]));
    });
}

#[test]
fn options_are_what_they_were_set_to() {
    on_cores(1, |_| async {
        let (one, other) = connected().await;
        assert_eq!(one.peer_addr().unwrap(), other.local_addr().unwrap());
        let (loose, _) = socket().await;
        assert_eq!(loose.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
        one.set_ttl(9).unwrap();
        one.set_multicast_ttl_v4(3).unwrap();
        one.set_multicast_loop_v4(false).unwrap();
        assert_eq!((one.ttl().unwrap(), one.multicast_ttl_v4().unwrap()), (9, 3));
        assert!(!one.multicast_loop_v4().unwrap() && other.multicast_loop_v4().unwrap());
        assert!(one.take_error().unwrap().is_none());
        let told = format!("{one:?}");
        assert!(told.contains(&other.local_addr().unwrap().to_string()), "{told}");
    });
}

#[test]
fn packets_of_ipv6_go_no_further_than_they_were_told() {
    on_cores(1, |_| async {
        // Some machines have no IPv6.
        let Ok(socket) = UdpSocket::bind("[::1]:0").await else { return };
        socket.set_ttl(3).unwrap();
        assert_eq!(socket.ttl().unwrap(), 3);
        assert_eq!(socket2::SockRef::from(&socket).unicast_hops_v6().unwrap(), 3);
    });
}

/// Of a stream the kernel would say how much there is and give nothing (`tcp(7)`, MSG_TRUNC): the buffer
/// would be said to hold what nobody has written.
#[test]
fn what_is_no_socket_of_datagrams_is_not_taken_for_one() {
    on_cores(1, |_| async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let local = std::os::unix::net::UnixDatagram::unbound().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        for other in [OwnedFd::from(stream), OwnedFd::from(local)] {
            let refused = UdpSocket::from_std(other.into()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
        }
        UdpSocket::from_std(OwnedFd::from(null).into()).expect_err("no socket at all");
    });
}

#[test]
fn a_look_into_the_middle_of_a_datagram_says_how_much_of_it_was_copied() {
    on_cores(1, |_| async {
        let (one, other) = connected().await;
        let (offset, len): (i32, _) = (4, size_of::<i32>() as u32);
        // SAFETY: the option is an integer, which lives for the call.
        let set = unsafe {
            libc::setsockopt(
                one.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEEK_OFF,
                (&raw const offset).cast(),
                len,
            )
        };
        assert_eq!(set, 0);
        other.send("0123456789").await.0.unwrap();
        let (seen, buf) = one.peek_from(Vec::with_capacity(64)).await;
        assert_eq!((seen.unwrap().0, &buf[..]), (6, &b"456789"[..]));
        let (received, buf) = one.recv(Vec::with_capacity(64)).await;
        assert_eq!((received.unwrap(), &buf[..]), (10, &b"0123456789"[..]));
    });
}

#[test]
fn a_broadcast_has_to_be_allowed() {
    on_cores(1, |_| async {
        let (socket, address) = socket().await;
        let everybody = SocketAddr::from((Ipv4Addr::BROADCAST, address.port()));
        assert!(!socket.broadcast().unwrap());
        let refused = socket.send_to("x", everybody).await.0.unwrap_err();
        assert!([libc::EACCES, libc::ENETUNREACH].contains(&refused.raw_os_error().unwrap()), "{refused}");
        socket.set_broadcast(true).unwrap();
        assert!(socket.broadcast().unwrap());
        if let Err(error) = socket.send_to("x", everybody).await.0 {
            assert_ne!(error.raw_os_error(), Some(libc::EACCES));
        }
    });
}

#[test]
fn a_group_is_heard_from_joining_to_leaving() {
    on_cores(1, |_| async {
        let group = Ipv4Addr::new(239, 255, 77, 1);
        let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        socket.join_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap();
        socket2::SockRef::from(&socket).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        let to = SocketAddr::from((group, socket.local_addr().unwrap().port()));
        socket.send_to("heard", to).await.0.unwrap();
        assert_eq!(socket.recv(Vec::with_capacity(9)).await.1, b"heard");
        socket.leave_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap();
        let error = socket.leave_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    });
}
