//! Streams and listeners in a forked child: nothing of the parent's is touched.
//! In a program of its own, one test at a time: nothing else runs when it forks.

mod support;

use ringwork::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use std::io::Read;
use support::{alone, half_std_pair, in_child, on_cores};

#[test]
fn handles_that_a_child_drops_close_nothing_of_the_parents() {
    let _alone = alone();
    on_cores(1, |_| async {
        let path = std::env::temp_dir().join(format!("ringwork-child-{}.sock", std::process::id()));
        let mut tcp = Some(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let mut unix = Some(UnixListener::bind(&path).unwrap());
        let (stream, mut peer) = half_std_pair();
        let (_receives, sends) = stream.into_split();
        let mut sends = Some(sends);
        assert_eq!(in_child(|| drop((tcp.take(), unix.take(), sends.take()))), 0);
        let (tcp, unix, sends) = (tcp.unwrap(), unix.unwrap(), sends.unwrap());
        let _one = TcpStream::connect(tcp.local_addr().unwrap()).await.unwrap();
        tcp.accept().await.unwrap();
        let _one = UnixStream::connect(&path).await.unwrap();
        unix.accept().await.unwrap();
        std::fs::remove_file(&path).unwrap();
        sends.send_all("alive").await.0.unwrap();
        let mut bytes = [0; 5];
        peer.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"alive");
    });
}
