//! A key-value server asked for values in closed loop: each connection waits for its answer before it asks
//! again, or keeps several questions under way.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use super::echo::plural;
use super::{Work, Workload, program};
use crate::bench::Bench;
use crate::child::PATIENCE;
use crate::keys::{self, KEYS, VALUE};
use crate::load::Traffic;
use crate::load::dialog::Dialog;
use crate::plan::Plan;
use crate::report::columns::{Layout, SERVING};
use crate::sample::Sample;

/// Connections, and questions under way on each.
const SHAPES: [(usize, usize); 3] = [(1, 1), (64, 1), (64, 16)];

/// Keys that are set before the answers are read.
const BATCH: u64 = 500;

struct KeyValue {
    connections: usize,
    depth: usize,
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let one = |(connections, depth)| {
        let mut name = format!("redis-{VALUE}x{connections}");
        let over = plural(connections);
        let mut title = format!("key-value server, GET of {VALUE} B out of {KEYS} keys over {over}");
        if depth > 1 {
            name += &format!("-p{depth}");
            title += &format!(", {depth} under way on each");
        }
        Workload::new(name, title, KeyValue { connections, depth })
    };
    SHAPES.map(one).into()
}

impl Work for KeyValue {
    fn role(&self) -> &'static str {
        "kv"
    }

    fn layout(&self) -> Layout {
        SERVING
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let cpu = bench.cpus.server;
        let mut server = bench.start(program(self, peer)?, &[cpu], Plan::default())?;
        fill(server.address()?)?;
        let (dialog, times) = (Arc::new(Dialog::Get), bench.settings.times);
        let (connections, depth) = (self.connections, self.depth);
        let traffic = Traffic { dialog, connections, depth, rate: None, times };
        bench.generator()?.run(&traffic, &mut server, None)
    }

    fn counts(&self) -> bool {
        true
    }
}

/// Gives each key its value.
fn fill(server: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let expected = b"+OK\r\n".repeat(BATCH as usize);
    let (mut batch, mut answers) = (Vec::new(), vec![0; expected.len()]);
    for first in (0..KEYS).step_by(BATCH as usize) {
        batch.clear();
        (first..first + BATCH).for_each(|number| keys::tell(number, &mut batch));
        stream.write_all(&batch)?;
        stream.read_exact(&mut answers)?;
        if answers != expected {
            return Err(io::Error::other("it does not take a value"));
        }
    }
    Ok(())
}
