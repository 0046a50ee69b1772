//! The UDP socket with tokio's signatures, in a program that was written for tokio's, and its edges.

mod everywhere;
#[path = "../../support/mod.rs"]
mod support;

use everywhere::everywhere;
use ringwork::compat::UdpSocket;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// Answers `requests` datagrams in capitals. Written for tokio but for the imports.
async fn serve(socket: Arc<UdpSocket>, requests: usize) -> io::Result<()> {
    let mut buf = [0; 1500];
    for _ in 0..requests {
        let (n, from) = socket.recv_from(&mut buf).await?;
        buf[..n].make_ascii_uppercase();
        socket.send_to(&buf[..n], &from).await?;
    }
    Ok(())
}

#[test]
fn a_program_for_tokio_runs_as_it_is() {
    everywhere(2, |_| async {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = socket.local_addr().unwrap();
        let serving = ringwork::spawn(serve(socket, 40));
        let asking = (0..4).map(|client| async move {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect(address).await.unwrap();
            for request in 0..10 {
                socket.send(format!("request {client} {request}").as_bytes()).await.unwrap();
                let mut answer = [0; 64];
                let n = socket.recv(&mut answer).await.unwrap();
                assert_eq!(answer[..n], *format!("REQUEST {client} {request}").as_bytes());
            }
        });
        let asking: Vec<_> = asking.map(ringwork::spawn).collect();
        for client in asking {
            client.await.unwrap();
        }
        serving.await.unwrap().unwrap();
    });
}

#[test]
fn a_buffer_takes_what_it_has_room_for_and_the_rest_of_it_stays_as_it_was() {
    everywhere(1, |_| async {
        let socket = UdpSocket::from(ringwork::net::UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = socket.local_addr().unwrap();
        for message in ["12345", "ab", ""] {
            assert_eq!(socket.send_to(message.as_bytes(), address).await.unwrap(), message.len());
        }
        let mut buf = [b'-'; 4];
        assert_eq!(socket.peek_from(&mut buf[..1]).await.unwrap(), (1, address));
        assert_eq!(&buf, b"1---");
        assert_eq!(socket.recv(&mut buf).await.unwrap(), 4);
        assert_eq!(&buf, b"1234");
        assert_eq!(socket.recv_from(&mut buf).await.unwrap(), (2, address));
        assert_eq!(&buf, b"ab34");
        assert_eq!(socket.recv(&mut buf).await.unwrap(), 0);
        assert_eq!(
            socket.send_to(&[0; 70_000], address).await.unwrap_err().raw_os_error(),
            Some(libc::EMSGSIZE)
        );
    });
}

#[test]
fn a_receive_in_a_select_loses_nothing() {
    everywhere(2, |_| async {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = socket.local_addr().unwrap();
        let sending = ringwork::spawn(async move {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            for number in 0..100u8 {
                socket.send_to(&[number], ("127.0.0.1", address.port())).await.unwrap();
                ringwork::task::yield_now().await;
            }
        });
        let mut next = 0;
        while next < 100 {
            let mut buf = [0; 8];
            tokio::select! {
                biased;
                n = socket.recv(&mut buf) => {
                    assert_eq!((n.unwrap(), buf[0]), (1, next));
                    next += 1;
                }
                () = ringwork::task::yield_now() => {}
            }
        }
        sending.await.unwrap();
        let limit = ringwork::time::timeout(Duration::from_millis(5), socket.recv(&mut [0; 8])).await;
        assert!(limit.is_err(), "each came once");
        let unbound = UdpSocket::bind("127.0.0.1:0").await.unwrap().send(b"x").await.unwrap_err();
        assert_eq!(unbound.raw_os_error(), Some(libc::EDESTADDRREQ));
        assert_eq!(UdpSocket::bind(address).await.unwrap_err().kind(), ErrorKind::AddrInUse);
    });
}
