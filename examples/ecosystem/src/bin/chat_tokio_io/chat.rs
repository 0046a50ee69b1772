//! The chat server: whoever connects says a name and then lines, and each line goes to everybody else.
//!
//! A client has two tasks: one reads what it says, the other writes what it hears from a bounded queue. Who
//! reads so slowly that the queue fills is sent away, so nobody waits for a slow reader and nothing grows.
#![forbid(unsafe_code)]

use crate::rt::{JoinSet, OwnedReadHalf, OwnedWriteHalf, SignalKind, TcpListener, TcpStream};
use crate::rt::{signal, sleep, spawn, timeout};
use futures_util::{SinkExt, StreamExt};
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::codec::{FramedRead, FramedWrite, LinesCodec};

/// Bytes of the longest line that is passed on.
const LINE_MAX: usize = 1024;
/// Lines that a client may be behind.
const BACKLOG: usize = 256;
/// How long a client may take to say its name.
const NAME_TIME: Duration = Duration::from_secs(60);
/// How long a client that leaves, and the server at its end, wait for what was said to arrive.
const GRACE: Duration = Duration::from_secs(2);
/// How long accepting pauses when it fails: the process may be out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is there.
#[derive(Default)]
struct Room(Mutex<HashMap<SocketAddr, Peer>>);

struct Peer {
    hears: mpsc::Sender<Arc<str>>,
    too_slow: Arc<Notify>,
}

impl Room {
    fn peers(&self) -> MutexGuard<'_, HashMap<SocketAddr, Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a client in, which is the first that it hears; it is notified when it has fallen too far behind.
    fn enter(&self, client: SocketAddr, name: &str, hears: mpsc::Sender<Arc<str>>) -> Arc<Notify> {
        let too_slow = Arc::new(Notify::new());
        let mut peers = self.peers();
        if hears.try_send(format!("* welcome, {name}").into()).is_err() {
            too_slow.notify_one();
        }
        peers.insert(client, Peer { hears, too_slow: Arc::clone(&too_slow) });
        too_slow
    }

    /// Tells everybody else.
    fn tell(&self, from: SocketAddr, line: String) {
        let line: Arc<str> = line.into();
        for (client, peer) in self.peers().iter() {
            if *client != from && peer.hears.try_send(Arc::clone(&line)).is_err() {
                peer.too_slow.notify_one();
            }
        }
    }

    fn leave(&self, client: SocketAddr) {
        self.peers().remove(&client);
    }
}

/// Serves clients at `address` until SIGINT or SIGTERM. Then they are told and may leave, unless a second
/// signal cuts that short.
///
/// # Errors
/// If the address cannot be listened on, or signals cannot.
pub(crate) async fn serve(address: &str) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(address).await?;
    let _nobody_reads = writeln!(io::stdout(), "listening on {}", listener.local_addr()?);

    let room = Arc::new(Room::default());
    let (stop, stopping) = watch::channel(false);
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    clients.spawn(serve_client(stream, client, Arc::clone(&room), stopping.clone()));
                }
                Err(error) => {
                    let _nobody_reads = writeln!(io::stderr(), "cannot accept: {error}");
                    sleep(PAUSE).await;
                }
            },
            Some(_) = clients.join_next() => {}
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    drop(listener);
    let most = 2 * GRACE;
    let _nobody_reads = writeln!(
        io::stderr(),
        "stopping once clients are done, after {most:?} at most; a second signal stops it at once"
    );
    let _nobody_may_be_there = stop.send(true);
    let all_left = async { while clients.join_next().await.is_some() {} };
    tokio::select! {
        () = all_left => return Ok(()),
        () = sleep(most) => {}
        // Asked once more: at once.
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    clients.shutdown().await;
    Ok(())
}

/// How a client's stay ended.
enum End {
    /// What it is still to hear goes out.
    Left,
    /// It does not read: nothing more is sent.
    TooSlow,
}

async fn serve_client(
    stream: TcpStream,
    client: SocketAddr,
    room: Arc<Room>,
    mut stop: watch::Receiver<bool>,
) {
    // Lines are short and each is waited for.
    let _gone_already = stream.set_nodelay(true);
    let (read, write) = stream.into_split();
    let mut says = FramedRead::new(read, LinesCodec::new_with_max_length(LINE_MAX));
    let (hears, heard) = mpsc::channel(BACKLOG);
    let mut writer = spawn(write_lines(write, heard));

    let end = match ask_name(&mut says, &hears, &mut stop).await {
        Some(name) => talk(&name, client, &mut says, hears, &room, &mut stop).await,
        None => {
            drop(hears);
            End::Left
        }
    };
    let told = match end {
        End::Left => timeout(GRACE, &mut writer).await.is_ok(),
        End::TooSlow => false,
    };
    if !told {
        writer.abort();
    }
}

/// Writes what a client hears, until nobody has anything to say to it any more or it is gone.
async fn write_lines(write: OwnedWriteHalf, mut heard: mpsc::Receiver<Arc<str>>) {
    let mut lines = FramedWrite::new(write, LinesCodec::new());
    while let Some(line) = heard.recv().await {
        if lines.send(line).await.is_err() {
            return;
        }
    }
}

/// The name of a client that says one.
async fn ask_name(
    says: &mut FramedRead<OwnedReadHalf, LinesCodec>,
    hears: &mpsc::Sender<Arc<str>>,
    stop: &mut watch::Receiver<bool>,
) -> Option<String> {
    hears.send("* what is your name?".into()).await.ok()?;
    tokio::select! {
        name = timeout(NAME_TIME, says.next()) => match name {
            Ok(Some(Ok(name))) if !name.trim().is_empty() => Some(name.trim().to_owned()),
            _ => None,
        },
        _ = stop.changed() => None,
    }
}

/// Passes on what a client says, until it leaves.
async fn talk(
    name: &str,
    client: SocketAddr,
    says: &mut FramedRead<OwnedReadHalf, LinesCodec>,
    hears: mpsc::Sender<Arc<str>>,
    room: &Room,
    stop: &mut watch::Receiver<bool>,
) -> End {
    let too_slow = room.enter(client, name, hears.clone());
    room.tell(client, format!("* {name} is here"));
    let end = loop {
        tokio::select! {
            line = says.next() => match line {
                Some(Ok(line)) => room.tell(client, format!("{name}: {line}")),
                Some(Err(error)) => {
                    let _gone_already = hears.try_send(format!("* {error}").into());
                    break End::Left;
                }
                None => break End::Left,
            },
            () = too_slow.notified() => break End::TooSlow,
            _ = stop.changed() => {
                let _too_slow = hears.try_send("* the server is going down".into());
                break End::Left;
            }
        }
    };
    room.leave(client);
    room.tell(client, format!("* {name} has left"));
    end
}
