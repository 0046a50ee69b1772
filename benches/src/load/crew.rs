//! Two load generators, one on each CPU, for servers that use both. It owns their threads; they live as long
//! as the harness, because a generator's memory is never freed. What the sockets are connected to is not its
//! business. Where connections are the load, each thread has a generator of those as well.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use hdrhistogram::Histogram;

use crate::cpus;
use crate::meter::latencies;

use super::connect::Connector;
use super::dialog::Dialog;
use super::{Generator, made};

/// What a generator and those who measure show each other.
#[derive(Default)]
pub(crate) struct Watch {
    answered: AtomicU64,
    phase: AtomicU8,
}

const MEASURING: u8 = 1;
const DRAINING: u8 = 2;
const OVER: u8 = 3;

impl Watch {
    /// Messages answered so far, by all generators.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// A generator notes `count` more.
    pub(crate) fn add_answered(&self, count: u64) {
        self.answered.fetch_add(count, Ordering::Relaxed);
    }

    /// Latencies count from now on.
    pub(crate) fn begin(&self) {
        self.phase.store(MEASURING, Ordering::Relaxed);
    }

    /// Generators that have a rate send nothing new and come back when all has been answered.
    pub(crate) fn drain(&self) {
        self.phase.store(DRAINING, Ordering::Relaxed);
    }

    /// The generators come back.
    pub(crate) fn end(&self) {
        self.phase.store(OVER, Ordering::Relaxed);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.phase.load(Ordering::Relaxed) >= MEASURING
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == DRAINING
    }

    pub(crate) fn is_over(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == OVER
    }
}

/// What a generator has of its connections: the clients' ends and, of those through a proxy, the far ends.
#[derive(Default)]
pub(crate) struct Ends {
    pub(crate) clients: Vec<TcpStream>,
    pub(crate) upstreams: Vec<TcpStream>,
}

/// What one thread is to do until its watch is over.
enum Order {
    Converse(Job),
    /// To make connections to a server, that many at a time.
    Connect {
        server: SocketAddr,
        at_a_time: usize,
        watch: Arc<Watch>,
    },
}

/// What one generator is to do until its watch is over.
pub(crate) struct Job {
    pub(crate) ends: Ends,
    pub(crate) dialog: Arc<Dialog>,
    pub(crate) depth: usize,
    /// Messages a second; without one, each answer is followed by the next message.
    pub(crate) rate: Option<f64>,
    pub(crate) seed: u64,
    pub(crate) watch: Arc<Watch>,
}

struct Member {
    orders: Sender<Order>,
    results: Receiver<io::Result<Histogram<u64>>>,
}

/// The generators.
pub(crate) struct Crew {
    members: Vec<Member>,
}

impl Crew {
    /// A generator on each of `cpus`.
    pub(crate) fn new(cpus: &[usize]) -> io::Result<Crew> {
        Ok(Crew { members: cpus.iter().map(|cpu| Member::start(*cpu)).collect::<io::Result<_>>()? })
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Gives each generator its job.
    pub(crate) fn start(&self, jobs: Vec<Job>) -> io::Result<()> {
        self.order(jobs.into_iter().map(Order::Converse))
    }

    /// Has connections made to `server`, that many at a time by all together.
    pub(crate) fn connect(&self, server: SocketAddr, at_a_time: usize, watch: &Arc<Watch>) -> io::Result<()> {
        let at_a_time = at_a_time / self.len();
        self.order(self.members.iter().map(|_| Order::Connect { server, at_a_time, watch: watch.clone() }))
    }

    fn order(&self, orders: impl Iterator<Item = Order>) -> io::Result<()> {
        for (member, order) in self.members.iter().zip(orders) {
            member.orders.send(order).map_err(|_| io::Error::other("a load generator has ended"))?;
        }
        Ok(())
    }

    /// Waits until all have done their jobs. The latencies of all messages, or the first error.
    pub(crate) fn finish(&self) -> io::Result<Histogram<u64>> {
        let mut all = latencies();
        let results: Vec<_> = self.members.iter().map(|member| member.results.recv()).collect();
        for result in results {
            let one = result.map_err(|_| io::Error::other("a load generator has ended"))??;
            all.add(one).expect("the same bounds");
        }
        Ok(all)
    }
}

impl Member {
    fn start(cpu: usize) -> io::Result<Member> {
        let (orders, inbox) = channel();
        let (outbox, results) = channel();
        let work = move || {
            let (pinned, mut tools) = (cpus::pin(&[cpu]), Tools::default());
            for order in inbox {
                let result = match &pinned {
                    Ok(()) => tools.carry_out(order),
                    Err(error) => Err(io::Error::other(format!("load generator: {error}"))),
                };
                if outbox.send(result).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name(format!("load-{cpu}")).spawn(work)?;
        Ok(Member { orders, results })
    }
}

/// What a thread loads servers with, made when it is needed first.
#[derive(Default)]
struct Tools {
    generator: Option<Generator>,
    connector: Option<Connector>,
}

impl Tools {
    fn carry_out(&mut self, order: Order) -> io::Result<Histogram<u64>> {
        match order {
            Order::Converse(job) => made(&mut self.generator, Generator::new)?.run_job(job),
            Order::Connect { server, at_a_time, watch } => {
                made(&mut self.connector, || Connector::new(at_a_time))?.run_until_over(server, &watch)
            }
        }
    }
}
