//! The comparison: peers take turns, a fresh process each time, A B A B …, so that drift of the machine
//! reaches all of them alike.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use crate::burn;
use crate::child::Program;
use crate::cpus::{self, Cpus};
use crate::crew::Crew;
use crate::even::{self, EvenLoad};
use crate::load::{Generator, Traffic};
use crate::meter::Times;
use crate::reads;
use crate::sample::Sample;
use crate::stuck::{self, Block};
use crate::suite::{EVEN_CONNECTIONS, EVEN_SIZE, HOT_TASKS, HOT_WORK, Work, Workload};

/// How long a program may take to start.
pub(crate) const START: Duration = Duration::from_secs(30);

/// How a comparison is run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) rounds: usize,
    pub(crate) times: Times,
    pub(crate) file: PathBuf,
    /// Tasks of the hot workloads, if not as many as ever.
    pub(crate) tasks: Option<usize>,
    /// What the even workloads take for saturation, in messages a second, if they are not to find out.
    pub(crate) rate: Option<f64>,
    /// How long a worker is blocked.
    pub(crate) block: Duration,
}

/// Samples of one peer, a sample per round, or why there are none.
pub(crate) struct Outcome {
    pub(crate) peer: &'static str,
    pub(crate) samples: Vec<Sample>,
    pub(crate) failure: Option<String>,
}

/// What measures: the CPUs, the settings and the load generator, on the thread that made it.
pub(crate) struct Bench {
    cpus: Cpus,
    pub(crate) settings: Settings,
    generator: Generator,
    file_ready: bool,
    /// What a task of a hot workload does: the same for all peers and rounds.
    turns: Option<u64>,
    crew: Option<Crew>,
    /// Messages a second that saturate the slowest peer of the even workloads.
    saturation: Option<f64>,
}

impl Bench {
    pub(crate) fn new(settings: Settings) -> io::Result<Bench> {
        let cpus = Cpus::choose()?;
        cpus::pin(&[cpus.load])?;
        let (generator, saturation) = (Generator::new()?, settings.rate);
        Ok(Bench { cpus, settings, generator, file_ready: false, turns: None, crew: None, saturation })
    }

    /// All rounds of one workload. A peer that fails takes no further part.
    pub(crate) fn rounds(&mut self, workload: &Workload, peers: &[&'static str]) -> Vec<Outcome> {
        self.saturate(workload, peers);
        let new = |peer: &&'static str| Outcome { peer, samples: Vec::new(), failure: None };
        let mut outcomes: Vec<Outcome> = peers.iter().map(new).collect();
        for round in 1..=self.settings.rounds {
            for outcome in outcomes.iter_mut().filter(|o| o.failure.is_none()) {
                let mut progress =
                    format!("{} round {round}/{} {}", workload.name, self.settings.rounds, outcome.peer);
                show(&progress, false);
                match self.slice(workload, outcome.peer) {
                    Ok(sample) => {
                        let _ = write!(progress, " {:.3} µs", sample.cpu_us_per_op());
                        outcome.samples.push(sample);
                    }
                    Err(error) => {
                        let _ = write!(progress, " failed: {error}");
                        outcome.failure = Some(error.to_string());
                    }
                }
                show(&progress, true);
            }
        }
        outcomes
    }

    /// One measurement of one peer in a process of its own.
    pub(crate) fn slice(&mut self, workload: &Workload, peer: &str) -> io::Result<Sample> {
        let (program, both) = (workload.program(peer), self.cpus.both());
        match workload.work {
            Work::Echo { size, connections } => self.serve(&program, size, connections, None),
            Work::Proxy { size, connections } => {
                let upstream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                self.serve(&program, size, connections, Some(upstream))
            }
            Work::Read { tasks } => self.read(&program, tasks),
            Work::Local(op) => self.by_itself(&program, &[self.cpus.server], &option("--op", op.name())),
            Work::Send(op) => self.by_itself(&program, &both, &option("--op", op.name())),
            Work::Hot { is_balanced } => self.hot(&program, is_balanced),
            Work::Even { percent } => {
                let load = self.load(Some(self.share_of_saturation(percent.into())?));
                even::measure(self.crew()?, &program, &both, &load)
            }
            Work::Stuck { percent, tasks } => {
                let load = self.load(Some(self.share_of_saturation(percent)?));
                let block = Block { time: self.settings.block, is_real: Workload::is_stuck(peer), tasks };
                stuck::measure(self.crew()?, &program, &both, &load, block)
            }
        }
    }

    fn serve(
        &mut self,
        program: &str,
        size: usize,
        connections: usize,
        upstream: Option<TcpListener>,
    ) -> io::Result<Sample> {
        let mut args = vec!["--listen".to_owned(), "127.0.0.1:0".to_owned()];
        if let Some(upstream) = &upstream {
            args.extend(["--upstream".to_owned(), upstream.local_addr()?.to_string()]);
        }
        let mut server = Program::start(program, &[self.cpus.server], &args)?;
        let line = server.line(START)?;
        let address: SocketAddr =
            line.parse().map_err(|_| io::Error::other(format!("not an address: {line}")))?;
        let traffic = Traffic { size, connections, times: self.settings.times };
        self.generator.run(&traffic, address, upstream.as_ref(), server.pid())
    }

    fn read(&mut self, program: &str, tasks: usize) -> io::Result<Sample> {
        let file = &self.settings.file;
        if !self.file_ready {
            reads::prepare(file)?;
            self.file_ready = true;
        }
        let args = ["--file", &file.display().to_string(), "--tasks", &tasks.to_string()].map(str::to_owned);
        self.by_itself(program, &[self.cpus.server], &args)
    }

    fn hot(&mut self, program: &str, is_balanced: bool) -> io::Result<Sample> {
        let turns = *self.turns.get_or_insert_with(|| burn::turns_for(HOT_WORK));
        let tasks = self.settings.tasks.unwrap_or(HOT_TASKS);
        let mut args =
            [option("--tasks", &tasks.to_string()), option("--turns", &turns.to_string())].concat();
        if is_balanced {
            args.push("--balanced".to_owned());
        }
        self.by_itself(program, &self.cpus.both(), &args)
    }

    fn crew(&mut self) -> io::Result<&Crew> {
        Ok(match &mut self.crew {
            Some(crew) => crew,
            none => none.insert(Crew::new(&self.cpus.both())?),
        })
    }

    /// What the even workloads and the stuck one are loaded with.
    fn load(&self, rate: Option<f64>) -> EvenLoad {
        EvenLoad { size: EVEN_SIZE, connections: EVEN_CONNECTIONS, rate, times: self.settings.times }
    }

    fn share_of_saturation(&self, percent: f64) -> io::Result<f64> {
        let saturation = self.saturation.ok_or_else(|| io::Error::other("no peer could be saturated"))?;
        Ok(saturation * percent / 100.0)
    }

    /// Finds out once what saturates the slowest of `peers`: all of them are to stand the load. One that
    /// fails here will fail in its turn as well, and say why.
    fn saturate(&mut self, workload: &Workload, peers: &[&'static str]) {
        let (Work::Even { .. } | Work::Stuck { .. }, None) = (workload.work, self.saturation) else {
            return;
        };
        let mut rates = Vec::new();
        let mut peers = peers.to_vec();
        peers.dedup_by_key(|peer| workload.program(peer));
        for peer in peers {
            show(&format!("saturation {peer}"), false);
            if let Ok(sample) = self.saturated(&workload.program(peer)) {
                rates.push((peer, sample.ops_per_s()));
            }
        }
        clear_progress();
        let all: Vec<String> = rates.iter().map(|(peer, rate)| format!("{peer} {rate:.0}/s")).collect();
        println!("\nsaturation, of which the even workloads take the lowest: {}", all.join(", "));
        self.saturation = rates.into_iter().map(|(_, rate)| rate).min_by(f64::total_cmp);
    }

    fn saturated(&mut self, program: &str) -> io::Result<Sample> {
        let (load, both) = (self.load(None), self.cpus.both());
        even::measure(self.crew()?, program, &both, &load)
    }

    /// A program that runs for the planned time and prints what it came to.
    fn by_itself(&self, program: &str, cpus: &[usize], args: &[String]) -> io::Result<Sample> {
        let Times { warm, measure } = self.settings.times;
        let millis = |time: Duration| time.as_millis().to_string();
        let times = ["--warm".to_owned(), millis(warm), "--measure".to_owned(), millis(measure)];
        let mut running = Program::start(program, cpus, &[&times, args].concat())?;
        let line = running.line(START + warm + measure)?;
        serde_json::from_str(&line).map_err(|e| io::Error::other(format!("{e} in: {line}")))
    }
}

fn option(name: &str, value: &str) -> [String; 2] {
    [name.to_owned(), value.to_owned()]
}

/// A progress line: overwritten on a terminal, one per finished slice elsewhere.
fn show(line: &str, is_done: bool) {
    let mut err = io::stderr();
    let _ = if err.is_terminal() {
        write!(err, "\r\x1b[K{line}").and_then(|()| err.flush())
    } else if is_done {
        writeln!(err, "{line}")
    } else {
        Ok(())
    };
}

/// Takes the last progress line away before a table is printed.
pub(crate) fn clear_progress() {
    let mut err = io::stderr();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K");
    }
}
