//! Tasks that serve: connections accepted on core 0, each request answered after some work.
//!
//! The clients are local tasks of the other cores, which they never leave: with stealing these cores serve
//! and ask, without it they only ask.

use crate::burn::Work;
use crate::result::Outcome;
use ringwork::net::{TcpListener, TcpStream};
use ringwork::runtime::Runtime;
use ringwork::task::JoinSet;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

const MESSAGE: usize = 64;

pub(crate) fn run(runtime: &Runtime, requests: usize, connections: usize, work: Work) -> io::Result<Outcome> {
    let handle = runtime.handle();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    drop(handle.spawn_on(0, move || accept(listener, work)));
    // With one core the clients have to be there too.
    let first = usize::from(handle.cores() > 1);
    let askers = handle.cores() - first;
    let start = Instant::now();
    let askers: Vec<_> = (0..askers)
        .map(|asker| {
            let mine = connections * asker / askers..connections * (asker + 1) / askers;
            let shares: Vec<usize> = mine.map(|n| share(requests, n, connections)).collect();
            handle.spawn_on(first + asker, move || ask_all(address, shares))
        })
        .collect();
    let mut waits = Vec::with_capacity(requests);
    for asker in askers {
        waits.append(&mut runtime.block_on(asker)??);
    }
    Ok(Outcome { makespan: start.elapsed(), waits })
}

/// How many of the requests connection `n` makes.
fn share(requests: usize, n: usize, connections: usize) -> usize {
    requests * (n + 1) / connections - requests * n / connections
}

async fn accept(listener: TcpListener, work: Work) {
    while let Ok((stream, _)) = listener.accept().await {
        drop(ringwork::spawn(serve(stream, work)));
    }
}

async fn serve(stream: TcpStream, work: Work) {
    loop {
        let mut heard = 0;
        while heard < MESSAGE {
            match stream.recv_pooled().await {
                Ok(bytes) if !bytes.is_empty() => heard += bytes.len(),
                _ => return,
            }
        }
        work.burn();
        if stream.send_all(vec![7; MESSAGE]).await.0.is_err() {
            return;
        }
    }
}

async fn ask_all(address: SocketAddr, shares: Vec<usize>) -> io::Result<Vec<u64>> {
    let mut clients = JoinSet::new();
    for share in shares {
        clients.spawn_local(ask(address, share));
    }
    let mut waits = Vec::new();
    // In the order in which they end: one that has failed ends them all, also if others wait for ever.
    while let Some(client) = clients.join_next().await {
        waits.append(&mut client??);
    }
    Ok(waits)
}

async fn ask(address: SocketAddr, requests: usize) -> io::Result<Vec<u64>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut waits = Vec::with_capacity(requests);
    for _ in 0..requests {
        let start = Instant::now();
        stream.send_all(vec![1; MESSAGE]).await.0?;
        let mut heard = 0;
        while heard < MESSAGE {
            let bytes = stream.recv_pooled().await?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            heard += bytes.len();
        }
        waits.push(start.elapsed().as_nanos() as u64);
    }
    Ok(waits)
}
