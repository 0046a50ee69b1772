//! Paths, abstract names, credentials.

use crate::support::on_cores;
use crate::{OwnPath, everywhere};
use ringwork::net::unix::SocketAddr;
use ringwork::net::{UnixListener, UnixStream};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;

#[test]
fn both_ends_of_a_connection_to_a_path_know_its_address() {
    everywhere(1, |_| async {
        let path = OwnPath::new();
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path.0));
        let client = UnixStream::connect(&path).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        assert!(peer.is_unnamed() && server.peer_addr().unwrap().is_unnamed());
        assert!(client.local_addr().unwrap().is_unnamed());
        assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*path.0));
        assert_eq!(server.local_addr().unwrap().as_pathname(), Some(&*path.0));
        let told = format!("{listener:?} {client:?} {server:?}");
        assert_eq!(told.matches(path.0.to_str().unwrap()).count(), 2, "{told}");
    });
}

#[test]
fn an_abstract_name_is_an_address_or_a_path_with_a_zero_byte_in_front() {
    everywhere(1, |handle| async move {
        let name = format!("ringwork-test-{}-{:?}", std::process::id(), ringwork::core::current());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        assert_eq!(UnixListener::bind_addr(&address).unwrap_err().kind(), ErrorKind::AddrInUse);
        let one = UnixStream::connect_addr(&address).await.unwrap();
        let other = UnixStream::connect(format!("\0{name}")).await.unwrap();
        for stream in [one, other] {
            assert_eq!(stream.peer_addr().unwrap().as_abstract_name(), Some(name.as_bytes()));
            let (accepted, _) = listener.accept().await.unwrap();
            stream.send_all("x").await.0.unwrap();
            assert_eq!(&accepted.recv_pooled().await.unwrap()[..], b"x");
        }
        drop(listener);
        // Free once the accept in flight has ended.
        while UnixListener::bind_addr(&address).is_err() {
            handle.spawn_on(0, || async {}).await.unwrap();
        }
    });
}

#[test]
fn a_path_outlives_its_listener_and_has_to_be_removed() {
    on_cores(1, |_| async {
        let path = OwnPath::new();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.0.exists());
        assert_eq!(UnixListener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(UnixStream::connect(&path).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(UnixStream::connect(&path).await.unwrap_err().kind(), ErrorKind::NotFound);
        UnixListener::bind(&path).unwrap();
    });
}

#[test]
fn what_is_no_address_is_refused() {
    on_cores(1, |_| async {
        for path in ["", "a\0b", "x".repeat(108).as_str()] {
            assert_eq!(UnixListener::bind(path).unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(UnixStream::connect(path).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn each_end_knows_the_process_at_the_other() {
    everywhere(1, |_| async {
        let path = OwnPath::new();
        let listener = UnixListener::bind(&path).unwrap();
        let client = UnixStream::connect(&path).await.unwrap();
        let server = listener.accept_stream().await.unwrap();
        let (pair, _other) = UnixStream::pair().unwrap();
        let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&path).unwrap());
        for stream in [client, server, pair] {
            let peer = stream.peer_cred().unwrap();
            assert_eq!(peer.pid(), Some(std::process::id() as i32));
            assert_eq!(peer.uid(), owner);
        }
    });
}

/// Binds a socket to a path that fills the kernel's structure, without a zero byte behind it.
fn bind_to_all_of(path: &[u8; 108], socket: &impl AsRawFd) {
    let mut address =
        libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] };
    address.sun_path = path.map(|byte| byte as libc::c_char);
    let (at, len) = ((&raw const address).cast(), size_of_val(&address) as libc::socklen_t);
    // SAFETY: the address lives for the call, and is as long as that says.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), at, len) };
    assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_peer_bound_to_the_longest_path_there_is_is_accepted() {
    everywhere(1, |_| async {
        let path = OwnPath::new();
        let mut long = path.0.with_extension("").into_os_string().into_encoded_bytes();
        long.resize(108, b'x');
        let client = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        bind_to_all_of(long.as_slice().try_into().unwrap(), &client);
        let listener = UnixListener::bind(&path).unwrap();
        client.connect(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        let accepted = listener.accept().await;
        std::fs::remove_file(str::from_utf8(&long).unwrap()).unwrap();
        let (server, peer) = accepted.expect("the name of a peer is no reason to refuse it");
        // One byte more than an address of std's can be made of.
        assert!(peer.is_unnamed());
        server.send_all("hello").await.0.unwrap();
        let mut hello = [std::mem::MaybeUninit::new(0); 5];
        assert_eq!(client.recv(&mut hello).unwrap(), 5);
    });
}
