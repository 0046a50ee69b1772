//! Receives into a buffer that is none of ours.

use ringwork::buf::{IoBuf, IoBufMut};
use ringwork_tls_tests::by_hand::by_hand;
use ringwork_tls_tests::{half_std_pair, on_cores};
use rustls::ContentType;
use rustls::version::TLS13;
use std::io::Write;

const HEADER: usize = 4;

/// A header that is there already, and a fixed length of room behind it. Reads always land behind the header.
struct Framed(Box<[u8; HEADER + 60]>);

// SAFETY: the bytes are on the heap, all of them are initialised, and nothing changes that.
unsafe impl IoBuf for Framed {
    fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

// SAFETY: as above; where reads land is within.
unsafe impl IoBufMut for Framed {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }

    fn fill_from(&self) -> usize {
        HEADER
    }

    unsafe fn assume_init(&mut self, _end: usize) {}
}

#[test]
fn records_that_come_at_once_lie_behind_each_other_wherever_reads_land() {
    on_cores(1, |_| async {
        let (stream, client) = by_hand(&TLS13, half_std_pair(), |mut client| {
            // The server has the handshake behind it.
            client.receive();
            // The second lands within as many bytes as the header has, the third behind them.
            let records = [&b"ab"[..], b"cdefgh", b"ijk"];
            let all = records.map(|record| client.to.seal(ContentType::ApplicationData, record)).concat();
            client.socket.write_all(&all).unwrap();
            client
        })
        .await;
        stream.send_all("go on").await.0.unwrap();
        let mut framed = Framed(Box::new([b'-'; HEADER + 60]));
        framed.0[..HEADER].copy_from_slice(b"head");
        let (n, framed) = stream.recv(framed).await;
        assert_eq!(n.unwrap(), 11, "all came at once");
        assert_eq!(framed.0[..HEADER + 12], *b"headabcdefghijk-");
        drop(client.join().unwrap());
    });
}
