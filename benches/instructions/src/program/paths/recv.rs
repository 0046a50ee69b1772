//! A stream: bytes that have come are received into pooled buffers, or sent on; bytes are sent.

use super::{BATCH, on_core};
use crate::program::step;
use ringwork::buf::SpareBuf;
use ringwork::net::{RecvPooled, Send, TcpStream};
use ringwork::runtime::Runtime;
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream as Peer};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Bytes of a message.
const LENGTH: usize = 64;

pub(super) fn pooled(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || receives(rounds));
}

pub(super) fn send(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || sends(rounds));
}

pub(super) fn send_off(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || sends_off(rounds));
}

pub(super) fn forward(runtime: &Runtime, rounds: usize) {
    on_core(runtime, move || forwards(rounds));
}

/// A connection: our end, the peer's, and a second descriptor of ours to look at.
struct Line {
    stream: Rc<TcpStream>,
    peer: Peer,
    ours: Peer,
}

impl Line {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let peer = Peer::connect(address).expect("it listens");
        peer.set_nodelay(true).expect("a TCP socket");
        let (ours, _) = listener.accept().expect("it has connected");
        let stream = TcpStream::from_std(ours.try_clone().expect("a descriptor is free"));
        Self { stream: Rc::new(stream.expect("it is connected")), peer, ours }
    }

    /// The peer sends a message, which arrives.
    fn message_comes(&mut self) {
        self.peer.write_all(&[7; LENGTH]).expect("there is room");
        assert_eq!(readable(&mut [to_look_at(&self.ours)], -1), 1);
    }
}

fn to_look_at(socket: &Peer) -> libc::pollfd {
    libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 }
}

/// How many have bytes; waits until one has, for so many milliseconds or without limit.
fn readable(sockets: &mut [libc::pollfd], limit: i32) -> usize {
    // SAFETY: so many descriptors to look at.
    let count = unsafe { libc::poll(sockets.as_mut_ptr(), sockets.len() as libc::nfds_t, limit) };
    usize::try_from(count).unwrap_or_else(|_| panic!("poll: {}", std::io::Error::last_os_error()))
}

fn lines() -> Vec<Line> {
    (0..BATCH).map(|_| Line::new()).collect()
}

async fn receives(rounds: usize) {
    let mut lines = lines();
    for round in 0..=rounds {
        lines.iter_mut().for_each(Line::message_comes);
        let mut ops: Vec<Pin<Box<Option<RecvPooled<'_>>>>> = lines.iter().map(|_| Box::pin(None)).collect();
        begin_unless_first(round);
        for (op, line) in ops.iter_mut().zip(&lines) {
            op.set(Some(line.stream.recv_pooled()));
        }
        all(&mut ops, |op, cx| {
            let Poll::Ready(result) = op.poll(cx) else { return Poll::Pending };
            assert_eq!(result.expect("the peer is there").len(), LENGTH);
            Poll::Ready(())
        })
        .await;
        step::end();
    }
}

async fn sends(rounds: usize) {
    let mut lines = lines();
    let mut buffers: Vec<Vec<u8>> = (0..BATCH).map(|_| vec![7; LENGTH]).collect();
    for round in 0..=rounds {
        let mut ops: Vec<Pin<Box<Option<Send<'_, Vec<u8>>>>>> =
            lines.iter().map(|_| Box::pin(None)).collect();
        begin_unless_first(round);
        for (op, line) in ops.iter_mut().zip(&lines) {
            op.set(Some(line.stream.send(buffers.pop().expect("one for each"))));
        }
        all(&mut ops, |op, cx| {
            let Poll::Ready((result, buffer)) = op.poll(cx) else { return Poll::Pending };
            assert_eq!(result.expect("the peer is there"), LENGTH);
            buffers.push(buffer);
            Poll::Ready(())
        })
        .await;
        step::end();
        drop(ops);
        for line in &mut lines {
            line.peer.read_exact(&mut [0; LENGTH]).expect("it has been sent");
        }
    }
}

async fn sends_off(rounds: usize) {
    let mut lines = lines();
    for round in 0..=rounds {
        begin_unless_first(round);
        for line in &lines {
            let mut message = SpareBuf::new();
            message.extend_from_slice(&[7; LENGTH]);
            line.stream.send_off(message).await.expect("the peer is there");
        }
        for line in &lines {
            line.stream.all_sent().await.expect("the peer is there");
        }
        step::end();
        for line in &mut lines {
            line.peer.read_exact(&mut [0; LENGTH]).expect("it has been sent");
        }
    }
}

/// From 32 streams to as many others, each pair in a task of its own.
async fn forwards(rounds: usize) {
    let (mut from, mut to) = (lines(), lines());
    for (from, to) in from.iter().zip(&to) {
        let (from, to) = (Rc::clone(&from.stream), Rc::clone(&to.stream));
        ringwork::spawn_local(async move { from.forward_to(&*to).await });
    }
    let mut beside = Line::new();
    let mut arrivals: Vec<_> = to.iter().map(|line| to_look_at(&line.peer)).collect();
    for round in 0..=rounds {
        from.iter_mut().for_each(Line::message_comes);
        begin_unless_first(round);
        while readable(&mut arrivals, 0) < BATCH {
            // The core goes round once. A yield would do so many times.
            beside.message_comes();
            drop(beside.stream.recv_pooled().await);
        }
        step::end();
        for line in &mut to {
            line.peer.read_exact(&mut [0; LENGTH]).expect("it has been sent on");
        }
    }
}

/// In the first round streams are armed and lanes are made.
fn begin_unless_first(round: usize) {
    if round > 0 {
        step::begin();
    }
}

/// Polls all that are left at each wake, until none is.
async fn all<F>(
    ops: &mut [Pin<Box<Option<F>>>],
    mut poll: impl FnMut(Pin<&mut F>, &mut Context<'_>) -> Poll<()>,
) {
    poll_fn(|cx| {
        let mut left = 0;
        for slot in ops.iter_mut() {
            let Some(op) = slot.as_mut().as_pin_mut() else { continue };
            if poll(op, cx).is_ready() {
                slot.set(None);
            } else {
                left += 1;
            }
        }
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
