//! Large messages to peers that stop reading: what they keep of a core. Alone in its process, because it
//! looks for the ring's helper threads.

mod support;

use futures_util::future::select;
use ringwork::net::UnixStream;
use ringwork::time::sleep;
use std::io::Read;
use std::os::unix::net::UnixStream as StdStream;
use std::pin::pin;
use support::{LIMIT, on_cores};

const LEN: usize = 64 << 20;
static MESSAGE: [u8; LEN] = [0; LEN];

/// Reads so many bytes.
fn read(peer: &mut StdStream, len: usize) {
    let mut piece = vec![0; 256 << 10];
    let mut left = len;
    while left > 0 {
        let most = left.min(piece.len());
        let n = peer.read(&mut piece[..most]).unwrap();
        assert!(n > 0, "the end after {} bytes", len - left);
        left -= n;
    }
}

/// The ring's helper threads of this process.
fn helpers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("iou-wrk")).count()
}

#[test]
fn peers_that_stop_reading_keep_no_helper_thread_and_hold_up_no_other_send() {
    let message: &'static [u8] = &MESSAGE;
    on_cores(1, move |handle| async move {
        let pairs = (0..16).map(|_| StdStream::pair().unwrap());
        let (ours, mut peers): (Vec<_>, Vec<_>) = pairs.unzip();
        let sends = ours.into_iter().map(|one| {
            let stream = UnixStream::from_std(one).unwrap();
            handle.spawn_on(0, move || async move {
                let _ = stream.send_all(message).await;
            })
        });
        let sends: Vec<_> = sends.collect();
        let peers = ringwork::spawn_blocking(move || {
            peers.iter_mut().for_each(|peer| read(peer, LEN / 2));
            peers
        });
        let peers = peers.await.unwrap();
        let (one, mut peer) = StdStream::pair().unwrap();
        let reading = ringwork::spawn_blocking(move || read(&mut peer, LEN));
        let sending = handle.spawn_on(0, move || async move {
            let stream = UnixStream::from_std(one).unwrap();
            stream.send_all(message).await.0
        });
        let guard = pin!(sleep(LIMIT / 2));
        match select(pin!(sending), guard).await {
            futures_util::future::Either::Left((sent, _)) => sent.unwrap().unwrap(),
            _ => panic!("the send to the peer that reads is held up; {} helper threads", helpers()),
        }
        reading.await.unwrap();
        assert_eq!(helpers(), 0);
        drop(peers);
        for send in sends {
            send.await.unwrap();
        }
    });
}
