//! What measures: peers take turns, a fresh process each time, so that drift of the machine reaches all of
//! them alike. It owns the CPUs, the settings, the load generators and what is found out once for all
//! workloads. What a turn is, the workloads know; who comes when, `turns.rs`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::child::{Running, START};
use crate::cpus::{self, Cpus};
use crate::load::bulk::Bulk;
use crate::load::connect::Connector;
use crate::load::crew::Crew;
use crate::load::http2::Multiplexer;
use crate::load::tls::Sealed;
use crate::load::{Generator, made};
use crate::meter::Times;
use crate::plan::Plan;
use crate::programs::Program;
use crate::progress;
use crate::sample::Sample;
use crate::turns;
use crate::workloads::Workload;

/// How long a turn apart lasts, in which something is counted that would disturb a measurement. A workload
/// that needs a longer warm-up takes it here as well: what connections allocate when they are first served is
/// no part of the steady state that is counted, and it is one turn of each peer.
const APART: Times = Times { warm: Duration::from_millis(200), measure: Duration::from_millis(500) };

/// Connections under way at a time where the rate of connections is measured.
pub(crate) const CONNECTING: usize = 64;

/// How a comparison is run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) rounds: usize,
    /// A workload may warm up for longer ([`Times::settled`]).
    pub(crate) times: Times,
    pub(crate) file: PathBuf,
    /// Tasks of the hot workloads, if not as many as ever.
    pub(crate) tasks: Option<usize>,
    /// What is taken for saturation, in messages a second, if it is not to be found out.
    pub(crate) rate: Option<f64>,
    /// How long a worker is blocked.
    pub(crate) block: Duration,
    /// Connections or tasks of the idle workloads, if not as many as ever.
    pub(crate) idle: Option<usize>,
    /// Whether a turn under strace follows the rounds.
    pub(crate) trace: bool,
}

/// What was counted in turns apart, per op; not a number if it was not.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Apart {
    pub(crate) allocations: Option<f64>,
    pub(crate) heap_kib: Option<f64>,
    /// Under strace, which makes a program so slow that what it does in batches it does in larger ones.
    pub(crate) syscalls: Option<f64>,
}

/// Samples of one peer, a sample per round, or why there are none.
pub(crate) struct Outcome {
    pub(crate) peer: &'static str,
    pub(crate) samples: Vec<Sample>,
    pub(crate) failure: Option<String>,
    /// It cannot be started on this machine, which is no failure.
    pub(crate) skipped: Option<String>,
    pub(crate) apart: Apart,
}

impl Outcome {
    fn new(peer: &'static str) -> Outcome {
        let apart = Apart { allocations: None, heap_kib: None, syscalls: None };
        Outcome { peer, samples: Vec::new(), failure: None, skipped: None, apart }
    }

    /// One whose rounds all came to the same.
    #[cfg(test)]
    pub(crate) fn of_alike_rounds(peer: &'static str, rounds: usize) -> Outcome {
        let used = crate::usage::Usage { cpu_ns: 1000, busy_ns: 1000, cpus: 1, ..Default::default() };
        let sample = Sample::new(10, Duration::from_micros(1), used, &crate::meter::latencies());
        Outcome { samples: vec![sample; rounds], ..Outcome::new(peer) }
    }

    /// It can take a turn.
    fn goes_on(&self) -> bool {
        self.failure.is_none() && self.skipped.is_none()
    }

    /// It has taken all its turns.
    pub(crate) fn is_good(&self) -> bool {
        self.goes_on() && !self.samples.is_empty()
    }
}

/// How a turn differs from a measured one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Measuring,
    Counting,
    Tracing,
}

/// The machinery of a whole run, on the thread that made it.
pub(crate) struct Bench {
    pub(crate) cpus: Cpus,
    pub(crate) settings: Settings,
    mode: Mode,
    generator: Option<Generator>,
    bulk: Option<Bulk>,
    connector: Option<Connector>,
    crew: Option<Crew>,
    multiplexer: Option<Multiplexer>,
    sealed: Option<Sealed>,
    /// What has been found out, by name.
    known: BTreeMap<String, f64>,
    /// The same as a reader is told.
    pub(crate) found: Vec<String>,
}

impl Bench {
    pub(crate) fn new(settings: Settings) -> io::Result<Bench> {
        cpus::raise_file_limit();
        let cpus = Cpus::choose()?;
        cpus::pin(&[cpus.load])?;
        let (generator, bulk, connector, crew) = (None, None, None, None);
        let (multiplexer, sealed) = (None, None);
        let (mode, known, found) = (Mode::Measuring, BTreeMap::new(), Vec::new());
        Ok(Bench {
            cpus,
            settings,
            mode,
            generator,
            bulk,
            connector,
            crew,
            multiplexer,
            sealed,
            known,
            found,
        })
    }

    /// All rounds of one workload. A peer that fails takes no further part.
    pub(crate) fn rounds(&mut self, workload: &Workload, peers: &[&'static str]) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = peers.iter().map(|peer| Outcome::new(peer)).collect();
        for outcome in &mut outcomes {
            let program = workload.work.program(outcome.peer).expect("it takes part");
            let impossible = workload.work.impossible(self, outcome.peer);
            outcome.skipped = impossible.or_else(|| program.foreign.and_then(|look| look().err()));
        }
        let present: Vec<&str> = outcomes.iter().filter(|o| o.goes_on()).map(|o| o.peer).collect();
        if present.is_empty() {
            return outcomes;
        }
        if let Err(error) = workload.work.prepare(self, &present) {
            for outcome in &mut outcomes {
                outcome.failure = Some(error.to_string());
            }
            return outcomes;
        }
        let rounds = self.settings.rounds;
        for round in 0..rounds {
            for at in turns::order(present.len(), round) {
                let mut outcomes = outcomes.iter_mut();
                let outcome =
                    outcomes.find(|outcome| outcome.peer == present[at]).expect("it is one of them");
                if outcome.goes_on() {
                    let what = format!("{} round {}/{rounds} {}", workload.name, round + 1, outcome.peer);
                    self.take_turn(workload, outcome, what);
                }
            }
        }
        if workload.work.counts() {
            for outcome in outcomes.iter_mut().filter(|o| o.goes_on()) {
                self.count(workload, outcome);
            }
        }
        outcomes
    }

    fn take_turn(&mut self, workload: &Workload, outcome: &mut Outcome, mut what: String) {
        progress::show(&what);
        match workload.work.turn(self, outcome.peer) {
            Ok(sample) => {
                let _ = write!(what, " {:.3} µs", sample.cpu_us_per_op());
                outcome.samples.push(sample);
            }
            Err(error) => {
                let _ = write!(what, " failed: {error}");
                outcome.failure = Some(error.to_string());
            }
        }
        progress::done(&what);
    }

    /// Turns apart of one peer. Whoever cannot take one has no numbers of it, and that is all.
    fn count(&mut self, workload: &Workload, outcome: &mut Outcome) {
        let times = std::mem::replace(&mut self.settings.times, APART);
        progress::show(&format!("{} counting {}", workload.name, outcome.peer));
        self.mode = Mode::Counting;
        if let Ok(sample) = workload.work.turn(self, outcome.peer) {
            outcome.apart.allocations = sample.allocations.map(|calls| sample.per_op(calls));
            outcome.apart.heap_kib = sample.heap_bytes.map(|bytes| bytes as f64 / 1024.0);
        }
        if self.settings.trace {
            progress::show(&format!("{} tracing {}", workload.name, outcome.peer));
            self.mode = Mode::Tracing;
            if let Ok(sample) = workload.work.turn(self, outcome.peer) {
                outcome.apart.syscalls = sample.syscalls.map(|calls| sample.per_op(calls));
            }
        }
        self.mode = Mode::Measuring;
        self.settings.times = times;
    }

    /// Starts a server on `cpus`.
    pub(crate) fn start(&mut self, program: &Program, cpus: &[usize], plan: Plan) -> io::Result<Running> {
        let plan = if self.mode == Mode::Counting { plan.with("count", 1) } else { plan };
        let mut running = Running::start(program, cpus, &plan)?;
        if self.mode == Mode::Tracing {
            running.trace();
        }
        Ok(running)
    }

    /// A program that runs for the planned time and prints what it came to.
    pub(crate) fn by_itself(&mut self, program: &Program, cpus: &[usize], plan: Plan) -> io::Result<Sample> {
        let Times { warm, measure } = self.settings.times;
        if self.mode == Mode::Tracing {
            return Err(io::Error::other("it has begun before it can be traced"));
        }
        let mut running = self.start(program, cpus, plan)?;
        let line = running.line(START + warm + measure)?;
        serde_json::from_str(&line).map_err(|e| io::Error::other(format!("{e} in: {line}")))
    }

    /// The plan of a program that measures itself.
    pub(crate) fn timed(&self) -> Plan {
        Plan::timed(self.settings.times)
    }

    /// What is called `name`, found out the first time it is asked for.
    pub(crate) fn once(
        &mut self,
        name: &str,
        find: impl FnOnce(&mut Bench) -> io::Result<f64>,
    ) -> io::Result<f64> {
        if let Some(known) = self.known.get(name) {
            return Ok(*known);
        }
        let found = find(self)?;
        self.known.insert(name.to_owned(), found);
        Ok(found)
    }

    pub(crate) fn generator(&mut self) -> io::Result<&mut Generator> {
        made(&mut self.generator, Generator::new)
    }

    pub(crate) fn bulk(&mut self) -> io::Result<&mut Bulk> {
        made(&mut self.bulk, Bulk::new)
    }

    pub(crate) fn connector(&mut self) -> io::Result<&mut Connector> {
        made(&mut self.connector, || Connector::new(CONNECTING))
    }

    pub(crate) fn multiplexer(&mut self) -> io::Result<&mut Multiplexer> {
        made(&mut self.multiplexer, Multiplexer::new)
    }

    pub(crate) fn sealed(&mut self) -> io::Result<&mut Sealed> {
        made(&mut self.sealed, Sealed::new)
    }

    /// A generator on each CPU.
    pub(crate) fn crew(&mut self) -> io::Result<&Crew> {
        let cpus = self.cpus.both();
        made(&mut self.crew, || Crew::new(&cpus)).map(|crew| &*crew)
    }
}
