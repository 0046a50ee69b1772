//! Streams and listeners in a forked child: calls fail and say why, and nothing of the parent's is touched.
//! In a program of its own, one test at a time: nothing else runs when it forks.

mod support;

use futures_util::poll;
use ringwork::fs::File;
use ringwork::net::{ForwardError, ListenOptions, TcpListener, TcpStream, UnixListener, UnixStream};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use support::{alone, half_std_pair, in_child, on_cores, pair};

/// Runs the test on a core, where ops are the ring's of the thread that forks.
fn on_core<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static) {
    let _alone = alone();
    on_cores(1, |handle| async move { handle.spawn_on(0, test).await.unwrap() });
}

/// What the call answers at once.
fn answer<T>(what: &str, call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("{what} waits"),
    }
}

fn assert_forked<T>(what: &str, call: impl Future<Output = std::io::Result<T>>) {
    let Err(error) = answer(what, call) else { panic!("{what} succeeds") };
    assert!(error.to_string().contains("forked"), "{what}: {error}");
}

/// Each send fails.
fn assert_sends_fail(stream: &TcpStream, file: &File) {
    assert_forked("send", async { stream.send("child").await.0 });
    assert_forked("send_all", async { stream.send_all("child").await.0 });
    assert_forked("send_vectored", async { stream.send_vectored(vec!["child"]).await.0 });
    assert_forked("send_off", stream.send_off("child"));
    assert_forked("send_file", stream.send_file(file, 0, 9));
    assert_forked("send_file_with_head", async { stream.send_file_with_head("child", file, 0, 9).await.0 });
    assert_forked("shutdown_write", stream.shutdown_write());
}

/// A file that the page cache has.
async fn cached() -> File {
    std::fs::read("Cargo.toml").unwrap();
    File::open("Cargo.toml").await.unwrap()
}

/// Whether the stream's socket is in non-blocking mode, found out without asking the stream for it.
fn is_nonblocking(stream: &TcpStream) -> bool {
    let shown = format!("{stream:?}");
    let number = shown.split("fd: ").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap();
    // SAFETY: asks for flags, of a descriptor that is there as long as the stream.
    let flags = unsafe { libc::fcntl(number.parse().unwrap(), libc::F_GETFL) };
    assert!(flags >= 0, "{}", std::io::Error::last_os_error());
    flags & libc::O_NONBLOCK != 0
}

#[test]
fn a_child_that_has_the_mode_of_a_socket_changed_holds_up_no_core_of_the_parents() {
    on_core(|| async {
        let file = cached().await;
        let (stream, _peer) = pair().await;
        assert_eq!(stream.send_file(&file, 0, 9).await.unwrap(), 9);
        let change = || SockRef::from(&stream).set_nonblocking(false).unwrap();
        for _ in 0..2 {
            assert!(is_nonblocking(&stream));
            assert_eq!(in_child(change), 0);
            assert!(!is_nonblocking(&stream), "the socket is one");
            assert_eq!(stream.send_file(&file, 0, 9).await.unwrap(), 9);
        }
        assert!(is_nonblocking(&stream));
    });
}

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

#[test]
fn receives_of_a_child_fail_where_the_parent_has_one_in_flight() {
    on_core(|| async {
        for pooled in [true, false] {
            let ((stream, mut peer), (to, _reads)) = (half_std_pair(), half_std_pair());
            let mut others = pin!(async {
                if pooled {
                    drop(stream.recv_pooled().await);
                } else {
                    drop(stream.recv([0; 8]).await);
                }
            });
            // With a place behind which others wait, and then without.
            assert!(poll!(others.as_mut()).is_pending());
            assert_eq!(in_child(|| assert_receives_fail(&stream, &to)), 0);
            peer.write_all(b"1").unwrap();
            others.await;
            assert!(poll!(stream.recv_pooled()).is_pending());
            assert_eq!(in_child(|| assert_receives_fail(&stream, &to)), 0);
            peer.write_all(b"2").unwrap();
            assert_eq!(&stream.recv_pooled().await.unwrap()[..], b"2");
        }
    });
}

fn assert_receives_fail(stream: &TcpStream, to: &TcpStream) {
    // Twice: the mark of a call in vain must not make the second one wait.
    for _ in 0..2 {
        assert_forked("recv_pooled", stream.recv_pooled());
        assert_forked("recv", async { stream.recv([0; 8]).await.0 });
        assert_forked("peek", async { stream.peek([0; 8]).await.0 });
        let Err(ForwardError::Recv { error, sent: 0 }) = answer("forward_to", stream.forward_to(to)) else {
            panic!("it forwards")
        };
        assert!(error.to_string().contains("forked"), "{error}");
    }
}

#[test]
fn what_has_come_to_the_parent_is_not_looked_at_in_a_child() {
    on_core(|| async {
        let ((stream, mut peer), (to, _reads)) = (half_std_pair(), half_std_pair());
        peer.write_all(b"parent").unwrap();
        // It stays unread, in a buffer of the pool.
        assert_eq!(stream.peek([0; 1]).await.0.unwrap(), 1);
        assert_eq!(in_child(|| assert_receives_fail(&stream, &to)), 0);
        let mut stream = Some(stream);
        assert_eq!(in_child(|| assert_forked("release", stream.take().unwrap().release())), 0);
        assert_eq!(&stream.unwrap().recv_pooled().await.unwrap()[..], b"parent");
    });
}

#[test]
fn an_accept_of_a_child_fails_and_takes_no_connection() {
    on_core(|| async {
        for limited in [false, true] {
            let options = ListenOptions::new();
            let options = if limited { options.max_connections(3) } else { options };
            let listener = options.bind("127.0.0.1:0").await.unwrap();
            assert!(poll!(Box::pin(listener.accept())).is_pending());
            assert_eq!(in_child(|| assert_forked("accept", listener.accept())), 0);
            let clients =
                [(); 2].map(|()| std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let _first = listener.accept().await.unwrap();
            // The second one has come, and is queued or about to be.
            assert_eq!(in_child(|| assert_forked("accept", listener.accept())), 0);
            let (second, _) = listener.accept().await.unwrap();
            assert_eq!(second.peer_addr().unwrap(), clients[1].local_addr().unwrap());
        }
    });
}

#[test]
fn a_receive_that_waited_when_the_process_forked_fails_in_the_child() {
    on_core(|| async {
        let (stream, mut peer) = half_std_pair();
        let mut receive = Box::pin(stream.recv_pooled());
        let waker = std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let cx = &mut Context::from_waker(&waker);
        assert!(receive.as_mut().poll(cx).is_pending());
        let code = in_child(|| match receive.as_mut().poll(cx) {
            Poll::Ready(Err(error)) => assert!(error.to_string().contains("forked"), "{error}"),
            _ => panic!("it waits, or has bytes"),
        });
        assert_eq!(code, 0);
        peer.write_all(b"parent").unwrap();
        assert_eq!(&receive.await.unwrap()[..], b"parent");
    });
}

#[test]
fn sends_of_a_child_fail_and_send_nothing() {
    on_core(|| async {
        let (file, (stream, mut peer)) = (cached().await, half_std_pair());
        // On the spot, where an op would cost more.
        ringwork::task::yield_now().await;
        assert_eq!(in_child(|| assert_sends_fail(&stream, &file)), 0);
        peer.set_nonblocking(true).unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "the child has sent");
    });
}

#[test]
fn sends_of_a_child_fail_where_the_parent_has_one_in_flight() {
    let _alone = alone();
    on_cores(1, |_| async {
        let file = cached().await;
        for off in [true, false] {
            let (stream, peer) = half_std_pair();
            // More than the socket takes.
            if off {
                stream.send_off(vec![0; 64 << 20]).await.unwrap();
            } else {
                assert!(poll!(Box::pin(stream.send(vec![0; 64 << 20]))).is_pending());
            }
            let mut stream = Some(stream);
            let code = in_child(|| {
                let stream = stream.take().unwrap();
                assert_sends_fail(&stream, &file);
                assert_forked("all_sent", stream.all_sent());
                assert_forked("release", stream.release());
            });
            assert_eq!(code, 0, "sent off: {off}");
            // What was sent off would be waited for.
            socket2::SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        }
    });
}

#[test]
fn a_child_cannot_release_a_stream_that_the_parent_receives_from() {
    on_core(|| async {
        let (stream, mut peer) = half_std_pair();
        assert!(poll!(stream.recv_pooled()).is_pending());
        let mut stream = Some(stream);
        let code = in_child(|| assert_forked("release", stream.take().unwrap().release()));
        assert_eq!(code, 0);
        peer.write_all(b"parent").unwrap();
        assert_eq!(&stream.unwrap().recv_pooled().await.unwrap()[..], b"parent");
    });
}
