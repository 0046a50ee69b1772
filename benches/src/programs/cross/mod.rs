//! Two tasks on two threads, each on a CPU of its own, that speak over tokio's bounded channel, which works
//! on any executor: the wake of a thread that may be asleep is what is measured. A runtime of one thread is
//! started twice; ringwork has two cores.

#[cfg(feature = "ringwork")]
pub(crate) mod ringwork;

use std::io;
use std::str::FromStr;
use std::thread;
use std::time::Instant;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::local::Local;
use crate::cpus;
use crate::meter::{Meter, Times};
use crate::plan::Plan;

/// What the two do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CrossOp {
    /// A number goes to the other thread and its successor comes back.
    PingPong,
    /// Numbers go one way, up to 1,024 of them ahead of who receives them.
    Stream,
}

impl CrossOp {
    pub(crate) const ALL: [CrossOp; 2] = [CrossOp::PingPong, CrossOp::Stream];

    /// As it is written behind `op=`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            CrossOp::PingPong => "cross-ping-pong",
            CrossOp::Stream => "cross-stream",
        }
    }

    /// What one op is.
    pub(crate) fn title(self) -> &'static str {
        match self {
            CrossOp::PingPong => "a number goes to a task on the other CPU and its successor comes back",
            CrossOp::Stream => "one of a stream of numbers to a task on the other CPU, 1,024 ahead at most",
        }
    }

    fn ahead(self) -> usize {
        if self == CrossOp::PingPong { 1 } else { 1024 }
    }
}

impl FromStr for CrossOp {
    type Err = String;

    fn from_str(name: &str) -> Result<CrossOp, String> {
        let unknown = || format!("{name} is no operation between two threads");
        CrossOp::ALL.into_iter().find(|op| op.name() == name).ok_or_else(unknown)
    }
}

/// The ends of both channels: to the other task, and back.
struct Ends {
    there: (Sender<u64>, Receiver<u64>),
    back: (Sender<u64>, Receiver<u64>),
}

impl Ends {
    fn of(op: CrossOp) -> Ends {
        Ends { there: channel(op.ahead()), back: channel(op.ahead()) }
    }
}

/// Does `op` between two runtimes of one thread each.
pub(crate) fn run<L: Local>(plan: &Plan) -> io::Result<()> {
    let (op, times, cpus) = (plan.need("op")?, plan.times()?, plan.cpus()?);
    let Some([here, other]) = cpus.as_deref().and_then(|cpus| cpus.first_chunk::<2>()).copied() else {
        return Err(io::Error::other("cpu=A,B is missing"));
    };
    let Ends { there, back } = Ends::of(op);
    let answering = thread::spawn(move || {
        cpus::pin(&[other])?;
        L::run_with_drivers(move || answer(op, there.1, back.0))?
    });
    cpus::pin(&[here])?;
    let meter = L::run_with_drivers(move || ask(op, times, there.0, back.1))??;
    answering.join().map_err(|_| io::Error::other("the other thread has panicked"))??;
    meter.print()
}

/// The task that measures.
async fn ask(op: CrossOp, times: Times, there: Sender<u64>, mut back: Receiver<u64>) -> io::Result<Meter> {
    let gone = || io::Error::other("the other task has gone");
    let mut meter = Meter::new(times);
    for round in 0u64.. {
        let begun = Instant::now();
        let batch = if op == CrossOp::PingPong { 1 } else { 1000 };
        for number in round * batch..(round + 1) * batch {
            there.send(number).await.map_err(|_| gone())?;
            if op == CrossOp::PingPong && back.recv().await.ok_or_else(gone)? != number + 1 {
                return Err(io::Error::other("not the successor"));
            }
        }
        let timed = (op == CrossOp::PingPong).then_some(begun);
        if !meter.tick(batch, timed) {
            break;
        }
    }
    Ok(meter)
}

/// The other one. It ends when nothing more can come.
async fn answer(op: CrossOp, mut there: Receiver<u64>, back: Sender<u64>) -> io::Result<()> {
    let mut expected = 0;
    while let Some(number) = there.recv().await {
        if number != expected {
            return Err(io::Error::other(format!("{number} came instead of {expected}")));
        }
        expected += 1;
        if op == CrossOp::PingPong && back.send(number + 1).await.is_err() {
            break;
        }
    }
    Ok(())
}
