//! What the random ops act on: connected streams, listeners, files; and the ops themselves.

use crate::canary::Canary;
use crate::support::{Random, pair};
use ringwork::fs::{File, OpenOptions};
use ringwork::net::{ListenOptions, TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use ringwork::time::sleep;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

/// An op of unknown kind.
pub(crate) type AnyOp = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The kinds of ops there are.
pub(crate) const KINDS: u64 = 24;

pub(crate) struct Stage {
    pub(crate) ends: [Arc<TcpStream>; 2],
    listener: Arc<TcpListener>,
    limited: Arc<TcpListener>,
    address: SocketAddr,
    limited_address: SocketAddr,
    /// Nobody accepts there and its backlog is full: a connect waits.
    stuck: (TcpListener, SocketAddr, Vec<TcpStream>),
    unix_ends: [Arc<UnixStream>; 2],
    unix_listener: Arc<UnixListener>,
    datagrams: Arc<UdpSocket>,
    file: File,
    path: PathBuf,
}

/// A file name that no other stage of this process has.
fn own_path() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("drop-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn unix_pair() -> [Arc<UnixStream>; 2] {
    let (one, other) = UnixStream::pair().unwrap();
    [Arc::new(one), Arc::new(other)]
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let limited = ListenOptions::new().max_connections(2).bind("127.0.0.1:0").await.unwrap();
        let stuck = ListenOptions::new().backlog(0).bind("127.0.0.1:0").await.unwrap();
        let stuck_address = stuck.local_addr().unwrap();
        let fills_the_backlog = vec![TcpStream::connect(stuck_address).await.unwrap()];
        let path = own_path();
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(true);
        let file = options.open(&path).await.unwrap();
        file.write_all_at(vec![1u8; 256 << 10], 0).await.0.unwrap();
        file.cached_reads(false);
        let (one, other) = pair().await;
        let unix_listener = UnixListener::bind(path.with_extension("sock")).unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        datagrams.connect(datagrams.local_addr().unwrap()).await.unwrap();
        Self {
            datagrams: Arc::new(datagrams),
            unix_ends: unix_pair(),
            unix_listener: Arc::new(unix_listener),
            ends: [Arc::new(one), Arc::new(other)],
            address: listener.local_addr().unwrap(),
            limited_address: limited.local_addr().unwrap(),
            listener: Arc::new(listener),
            limited: Arc::new(limited),
            stuck: (stuck, stuck_address, fills_the_backlog),
            file,
            path,
        }
    }

    /// New streams; the old ones close with whatever is in flight on them.
    pub(crate) async fn renew_streams(&mut self) {
        let (one, other) = pair().await;
        self.ends = [Arc::new(one), Arc::new(other)];
        self.unix_ends = unix_pair();
    }

    /// An op of a random kind, not yet polled.
    pub(crate) fn op(&self, random: &mut Random) -> AnyOp {
        let kind = random.below(KINDS);
        let size = 1 << random.below(18);
        let stream = Arc::clone(&self.ends[random.below(2) as usize]);
        let file = self.file.clone();
        let at = random.below(256 << 10);
        match kind {
            0 => Box::pin(async move { drop(stream.recv(Canary::empty(size)).await) }),
            1 => Box::pin(async move { drop(stream.recv_pooled().await) }),
            2 => Box::pin(async move { drop(stream.recv_exact(Canary::empty(size)).await) }),
            3 if random.chance(2) => {
                Box::pin(async move { drop(stream.send_off(Canary::full(vec![3; size])).await) })
            }
            3 => Box::pin(async move { drop(stream.send(Canary::full(vec![3; size])).await) }),
            4 => {
                let parts = (0..1 + random.below(20)).map(|_| Canary::full(vec![4; 1 + size / 8])).collect();
                Box::pin(async move { drop(stream.send_vectored(parts).await) })
            }
            5 if size.is_multiple_of(2) => {
                Box::pin(async move { drop(stream.send_file(&file, at, size as u64).await) })
            }
            5 => {
                let head = Canary::full(vec![5; size]);
                Box::pin(async move { drop(stream.send_file_with_head(head, &file, at, size as u64).await) })
            }
            6 => self.listening_op(random),
            7 => self.connecting_op(random),
            8 => Box::pin(async move { drop(file.read_at(Canary::empty(size), at).await) }),
            9 => Box::pin(async move { drop(file.write_at(Canary::full(vec![9; size]), at).await) }),
            10 => {
                let path = self.path.clone();
                Box::pin(async move { drop(File::open(path).await) })
            }
            11 => {
                let wait = Duration::from_micros(random.below(200));
                Box::pin(async move { drop(stream.recv(Canary::empty(size)).timeout(wait).await) })
            }
            12 => {
                let wait = Duration::from_micros(random.below(200));
                Box::pin(async move { drop(stream.send(Canary::full(vec![2; size])).timeout(wait).await) })
            }
            13 => Box::pin(async move { drop(file.sync_data().await) }),
            14..18 => self.unix_op(kind, size, random),
            18..20 => self.forwarding_op(random),
            _ => self.datagram_op(kind, size, random),
        }
    }

    fn unix_op(&self, kind: u64, size: usize, random: &mut Random) -> AnyOp {
        let stream = Arc::clone(&self.unix_ends[random.below(2) as usize]);
        let (listener, path) = (Arc::clone(&self.unix_listener), self.path.with_extension("sock"));
        match kind {
            14 => Box::pin(async move { drop(stream.recv(Canary::empty(size)).await) }),
            15 => Box::pin(async move { drop(stream.recv_pooled().await) }),
            16 => Box::pin(async move { drop(stream.send(Canary::full(vec![6; size])).await) }),
            _ if random.chance(2) => Box::pin(async move { drop(listener.accept().await) }),
            _ => Box::pin(async move { drop(UnixStream::connect(path).await) }),
        }
    }

    /// Between streams, to itself included: what it passes on may come back to it for ever.
    fn forwarding_op(&self, random: &mut Random) -> AnyOp {
        let stream = Arc::clone(&self.ends[random.below(2) as usize]);
        let unix = Arc::clone(&self.unix_ends[random.below(2) as usize]);
        let other = Arc::clone(&self.ends[random.below(2) as usize]);
        match random.below(3) {
            0 => Box::pin(async move { drop(stream.forward_to(&*unix).await) }),
            1 => Box::pin(async move { drop(unix.forward_to(&*stream).await) }),
            _ => Box::pin(async move { drop(stream.forward_to(&*other).await) }),
        }
    }

    fn datagram_op(&self, kind: u64, size: usize, random: &mut Random) -> AnyOp {
        let socket = Arc::clone(&self.datagrams);
        let wait = Duration::from_micros(random.below(200));
        match kind {
            20 => Box::pin(async move { drop(socket.recv(Canary::empty(size)).await) }),
            21 => Box::pin(async move { drop(socket.peek_from(Canary::empty(size)).await) }),
            22 => Box::pin(async move { drop(socket.recv_from(Canary::empty(size)).timeout(wait).await) }),
            _ => {
                // Some are too long for a datagram, which is an error like any other.
                Box::pin(async move { drop(socket.send(Canary::full(vec![8; size])).await) })
            }
        }
    }

    fn listening_op(&self, random: &mut Random) -> AnyOp {
        let listener = if random.chance(2) { &self.limited } else { &self.listener };
        let listener = Arc::clone(listener);
        Box::pin(async move { drop(listener.accept().await) })
    }

    fn connecting_op(&self, random: &mut Random) -> AnyOp {
        let address = match random.below(3) {
            0 => self.address,
            1 => self.limited_address,
            _ => self.stuck.1,
        };
        Box::pin(async move { drop(TcpStream::connect(address).await) })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_file(self.path.with_extension("sock"));
    }
}

/// Polls an op a few times. `None` if it is done.
pub(crate) async fn poll_some(mut op: AnyOp, random: &mut Random) -> Option<AnyOp> {
    for _ in 0..random.below(4) {
        if futures_util::poll!(op.as_mut()).is_ready() {
            return None;
        }
        match random.below(16) {
            0 => sleep(Duration::from_millis(1)).await,
            1..8 => ringwork::task::yield_now().await,
            _ => {}
        }
    }
    Some(op)
}

/// Polls an op once, outside of any runtime's core.
pub(crate) fn poll_here(op: &mut AnyOp) -> Poll<()> {
    op.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}
