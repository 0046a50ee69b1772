//! Streams with a linger time, dropped with bytes unsent.

use crate::support::{assert_pattern, on_cores, pattern, std_pair};
use futures_util::poll;
use ringwork::net::TcpStream;
use ringwork::time::sleep;
use std::io::Read;
use std::sync::mpsc;
use std::time::Duration;

/// Longer than the peer waits before it gives up.
const LINGER: Duration = Duration::from_secs(40);
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the linger time comes from.
#[derive(Clone, Copy, Debug)]
enum Set {
    ByUs,
    Before,
}

#[test]
fn a_core_does_not_wait_for_the_peer_of_a_dropped_stream() {
    for set in [Set::ByUs, Set::Before] {
        on_cores(1, move |handle| async move {
            let (one, mut peer) = std_pair();
            if let Set::Before = set {
                socket2::SockRef::from(&one).set_linger(Some(LINGER)).unwrap();
            }
            let stream = TcpStream::from_std(one).unwrap();
            if let Set::ByUs = set {
                stream.set_linger(Some(LINGER)).unwrap();
            }
            let (slept, goes_on) = mpsc::channel();
            // Reads only when the core has gone on.
            let reading = std::thread::spawn(move || {
                let went_on = goes_on.recv_timeout(PATIENCE).is_ok();
                let mut bytes = Vec::new();
                peer.read_to_end(&mut bytes).unwrap();
                (went_on, bytes)
            });
            let ran = handle.spawn_on(0, move || async move {
                assert!(poll!(Box::pin(stream.send_all(pattern(0, 64 << 20)))).is_pending());
                drop(stream);
                sleep(Duration::from_millis(10)).await;
                // Nobody listens any more if that took too long.
                let _ = slept.send(());
            });
            ran.await.unwrap();
            let (went_on, bytes) = reading.join().unwrap();
            assert!(went_on, "{set:?}: the core waited for the peer");
            // What the socket had leaves all the same, and the end behind it.
            assert!(!bytes.is_empty());
            assert_pattern(0, &bytes);
        });
    }
}

#[test]
fn a_stream_that_is_given_out_keeps_its_linger_time() {
    on_cores(1, |_| async {
        for releases in [true, false] {
            let (one, _peer) = std_pair();
            let stream = TcpStream::from_std(one).unwrap();
            stream.set_linger(Some(LINGER)).unwrap();
            let out = if releases {
                stream.release().await.unwrap().0.into()
            } else {
                stream.into_std().expect("nothing is armed")
            };
            assert_eq!(socket2::SockRef::from(&out).linger().unwrap(), Some(LINGER));
            socket2::SockRef::from(&out).set_linger(None).unwrap();
        }
    });
}
