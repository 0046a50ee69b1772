//! The goals of the project, in one table, and what a run says about each.
//!
//! A goal bounds the ratio of ringwork to a peer. It is met if the interval of that ratio reaches the
//! bound, so a goal is missed only when the run shows that it is. "Not worse" is a bound of 1.00, missed
//! when the run shows more than 1.02. A goal that asks for less than 1.03 of what the floor of the same run
//! needs is void for that run: on that machine it cannot be had.
//!
//! How much a verdict is worth is said with it: an interval may reach a bound with its end alone, which noise
//! widens, and what is void may be far from its bound all the same.

use serde::{Deserialize, Serialize};

use super::columns::{OURS, Reading};
use super::{Measured, readings, remarks};
use crate::bench::Outcome;
use crate::said::say;
use crate::sample::P99_OF_A_TENTH;
use crate::stats::{ENOUGH, Ratio, median, ratio};

/// "Not worse" is missed only beyond this.
pub(super) const NOT_WORSE: f64 = 1.02;
/// The least a goal may ask for, in relation to the floor.
const ABOVE_FLOOR: f64 = 1.03;
/// Allocations per op that count as none: what a timer or a new connection needs in a short turn.
const NONE: f64 = 0.001;

/// Of a whole program of ours the calls that it makes can be counted, not the program.
const OUR_CALLS: &str = "ringwork-bare";

/// What a goal compares with.
#[derive(Clone, Copy, Debug)]
enum To {
    /// A verdict for each of these peers.
    Each(&'static [&'static str]),
    /// One verdict, for whichever of these needs least.
    Best(&'static [&'static str]),
    /// Nobody: no allocations per op.
    Nothing,
}

/// One goal.
struct Target {
    workloads: &'static [&'static str],
    /// Which of our rows.
    ours: &'static str,
    /// One of the ratios that the tables of the workload show.
    metric: &'static str,
    to: To,
    bound: f64,
}

const fn target(workloads: &'static [&'static str], metric: &'static str, to: To, bound: f64) -> Target {
    Target { workloads, ours: OURS, metric, to, bound }
}

impl Target {
    /// The same for another row of ours, which does what those do that it is compared with.
    const fn of(self, ours: &'static str) -> Target {
        Target { ours, ..self }
    }
}

const ECHOES: &[&str] =
    &["echo-64x64", "echo-64x512", "echo-4096x64", "echo-4096x512", "echo-64x64-p16", "echo-64x512-p16"];
/// Servers on both CPUs with the generators beside.
const ON_ALL: &[&str] =
    &["echo-64x64-all", "echo-64x512-all", "proxy-64x64-all", "hyper-hello-all", "axum-json-all"];
const URING: &[&str] = &["monoio", "glommio", "compio", "compio-managed"];
const RUNTIMES: &[&str] =
    &["tokio", "tokio-multi", "monoio", "glommio", "compio", "compio-managed", "smol", "go"];
/// Floors of the same work.
const FLOORS: &[&str] = &["floor", "floor-splice"];
const DISKS: &[&str] = &["tokio", "monoio", "glommio", "compio"];
const NGINX: &[&str] = &["nginx", "nginx-sendfile"];
const HAPROXY: &[&str] = &["haproxy", "haproxy-splice"];
const LOCAL: &[&str] = &["tokio", "monoio", "glommio", "compio", "smol"];
/// Those of them whose new tasks wait for their turn: glommio's `spawn_local` polls one before it returns.
const LOCAL_QUEUED: &[&str] = &["tokio", "monoio", "glommio-queued", "compio", "smol"];

/// All goals.
const TARGETS: &[Target] = &[
    target(ECHOES, "CPU per op", To::Each(&["floor"]), 1.04),
    target(ECHOES, "CPU per op", To::Each(&["tokio"]), 0.82),
    target(ECHOES, "CPU per op", To::Each(URING), 1.00),
    target(&["open-70"], "p99", To::Each(RUNTIMES), 1.00),
    target(&["open-70"], P99_OF_A_TENTH, To::Each(RUNTIMES), 1.00),
    target(&["echo-64x1"], "p50", To::Each(&["tokio"]), 1.00),
    target(ON_ALL, "CPU per op", To::Each(&["tokio-multi"]), 0.80),
    target(ON_ALL, "CPU per op", To::Each(&["tokio"]), 0.85),
    target(&["proxy-64x64", "proxy-64x512"], "CPU per op", To::Each(&["floor"]), 1.05),
    target(&["proxy-bulk-x1", "proxy-bulk-x16"], "busy CPU per op", To::Best(HAPROXY), 1.00),
    target(&["proxy-bulk-x1", "proxy-bulk-x16"], "busy CPU per op", To::Each(&["tokio"]), 1.00),
    target(&["file-1k"], "CPU per op", To::Best(NGINX), 0.82),
    target(&["file-64k"], "CPU per op", To::Best(NGINX), 0.78),
    target(&["file-1k-nocache", "file-64k-nocache"], "CPU per op", To::Best(NGINX), 0.90),
    target(&["file-10m", "file-10m-nocache"], "CPU per op", To::Best(NGINX), 1.00),
    target(&["hyper-hello"], "CPU per op", To::Each(&["tokio"]), 0.91),
    target(&["axum-json"], "CPU per op", To::Each(&["tokio"]), 0.93),
    target(&["hyper-http2"], "CPU per op", To::Each(&["tokio"]), 1.00),
    target(&["tls-echo"], "CPU per op", To::Each(&["tokio"]), 0.95),
    target(&["read-4096x32"], "CPU per op", To::Each(&["floor"]), 1.08),
    target(&["read-4096x32"], "CPU per op", To::Each(&["monoio"]), 1.00),
    target(&["read-4096x32"], "CPU per op", To::Each(&["tokio"]), 0.12),
    target(&["write-4096x32", "log-x64"], "CPU per op", To::Each(DISKS), 1.00),
    target(&["yield", "ping-pong", "chained-spawn"], "time per op", To::Best(LOCAL), 1.00),
    target(&["spawn-join"], "time per op", To::Best(LOCAL_QUEUED), 1.00),
    target(&["spawn-join"], "time per op", To::Best(LOCAL), 1.00).of("ringwork-eager"),
    target(
        &["spawn-many", "yield-many", "pair-ping-pong", "chained-spawn-send"],
        "time per op",
        To::Each(&["tokio-multi"]),
        0.70,
    ),
    target(&["remote-1", "remote-8", "remote-64"], "time per op", To::Each(&["tokio-multi"]), 0.80),
    target(&["blocking-1", "blocking-8", "blocking-64"], "time per op", To::Each(&["tokio-multi"]), 0.80),
    target(&["timers"], "time per op", To::Each(&["tokio"]), 0.50),
    target(&["idle-10k"], "memory each", To::Each(&["tokio"]), 0.35),
    target(&["idle-10k"], "memory each", To::Each(RUNTIMES), 1.00),
    target(&["hot-core"], "makespan", To::Each(&["ringwork-never"]), 0.55),
    target(&["hot-core", "hot-core-balanced"], "makespan", To::Each(&["tokio-multi"]), 1.00),
    target(&["hot-core", "hot-core-balanced"], "p99 from birth to end", To::Each(&["tokio-multi"]), 1.00),
    target(&["hot-core-balanced"], "makespan", To::Each(&["ringwork-never"]), 1.02),
    target(&["hot-core-balanced"], "CPU", To::Each(&["ringwork-never"]), 1.02),
    target(&["even-10", "even-30", "even-70"], "CPU per op", To::Each(&["ringwork-never"]), 1.02),
    target(
        &["even-10", "even-30", "even-70"],
        "voluntary switches per op",
        To::Each(&["ringwork-never"]),
        1.02,
    ),
    target(&["even-10", "even-30", "even-70"], "enters per op", To::Each(&["ringwork-never"]), 1.02),
    target(
        &[
            "echo-64x64",
            "echo-4096x64",
            "proxy-64x64",
            "proxy-bulk-x1",
            "read-4096x32",
            "file-1k",
            "file-64k",
        ],
        ALLOCATIONS,
        To::Nothing,
        NONE,
    ),
];

/// What is counted in a turn apart, and bounded without a peer.
const ALLOCATIONS: &str = "allocations per op";

/// What a run says about a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Finding {
    Met,
    NotMet,
    /// The floor of this run is too near.
    Void,
}

/// A goal and what a run says about it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) workload: String,
    pub(crate) metric: String,
    /// Which of our rows; of older runs always the first.
    #[serde(default = "first_row")]
    pub(crate) ours: String,
    /// Whom it is compared with; of allocations, whose they are.
    pub(crate) peer: String,
    pub(crate) bound: f64,
    /// Of our row to the peer; of allocations, three times the number itself.
    pub(crate) ratio: Ratio,
    pub(crate) finding: Finding,
    /// The readings of ringwork or of the peer were disturbed by others.
    pub(crate) others_busy: bool,
}

/// What `measured` says about every goal whose workload and peers took part, in rounds enough.
pub(crate) fn judge(measured: &[Measured]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for target in TARGETS {
        for name in target.workloads {
            if let Some(workload) = measured.iter().find(|measured| measured.name == *name) {
                judge_one(target, workload, &mut verdicts);
            }
        }
    }
    verdicts
}

fn first_row() -> String {
    OURS.to_owned()
}

fn judge_one(target: &Target, workload: &Measured, verdicts: &mut Vec<Verdict>) {
    let Some(ours) = workload.peer(target.ours).filter(|ours| ours.samples.len() >= ENOUGH) else { return };
    let mut say = |peer: &str, ratio: Ratio, finding, others_busy| {
        verdicts.push(Verdict {
            workload: workload.name.clone(),
            metric: target.metric.to_owned(),
            ours: target.ours.to_owned(),
            peer: peer.to_owned(),
            bound: target.bound,
            ratio,
            finding,
            others_busy,
        });
    };
    if let To::Nothing = target.to {
        let count = |peer: &&'static str| Some((*peer, workload.peer(peer)?.apart.allocations?));
        if let Some((peer, value)) = [OURS, OUR_CALLS].iter().find_map(count) {
            let finding = if value <= target.bound { Finding::Met } else { Finding::NotMet };
            say(peer, Ratio { median: value, low: value, high: value }, finding, false);
        }
        return;
    }
    let Some((_, reading, _)) = workload.layout.ratios.iter().find(|(name, ..)| *name == target.metric)
    else {
        return;
    };
    let values = |outcome: &Outcome| readings(outcome, *reading);
    let peers: Vec<&Outcome> = match target.to {
        To::Each(peers) => peers.iter().filter_map(|peer| workload.peer(peer)).collect(),
        To::Best(peers) => best(workload, peers, *reading).into_iter().collect(),
        To::Nothing => Vec::new(),
    };
    for peer in peers {
        let found = ratio(&values(ours), &values(peer));
        let floor = best(workload, FLOORS, *reading).map(|floor| ratio(&values(floor), &values(peer)).median);
        if !found.median.is_nan() {
            let others_busy =
                [ours, peer].iter().any(|outcome| remarks::is_disturbed(&workload.layout, outcome));
            say(peer.peer, found, weigh(target.bound, found, floor), others_busy);
        }
    }
}

/// Whoever of `peers` needs least.
fn best<'a>(workload: &'a Measured, peers: &[&str], reading: Reading) -> Option<&'a Outcome> {
    let present = peers.iter().filter_map(|peer| workload.peer(peer));
    let needs = |outcome: &Outcome| median(readings(outcome, reading));
    present.min_by(|a, b| needs(a).total_cmp(&needs(b)))
}

/// What an interval says about a bound, where the floor needs `floor` of what the peer needs.
fn weigh(bound: f64, found: Ratio, floor: Option<f64>) -> Finding {
    // A hair's breadth, for a goal that is set in relation to the floor itself.
    if floor.is_some_and(|floor| bound + 1e-9 < ABOVE_FLOOR * floor) {
        return Finding::Void;
    }
    if found.low <= limit(bound) { Finding::Met } else { Finding::NotMet }
}

/// Beyond which a bound is missed.
fn limit(bound: f64) -> f64 {
    if bound == 1.00 { NOT_WORSE } else { bound }
}

/// How a verdict is worded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// The whole interval is within the bound.
    Met,
    /// The median is, the interval's upper end is not.
    MetByMedian,
    /// The lower end alone is.
    MetByEnd,
    NotMet,
    Void,
    /// Void, and the whole interval is beyond the bound.
    VoidAndMissed,
}

impl Word {
    fn of(verdict: &Verdict) -> Word {
        let (ratio, limit) = (verdict.ratio, limit(verdict.bound));
        match verdict.finding {
            Finding::Met if ratio.high <= limit => Word::Met,
            Finding::Met if ratio.median <= limit => Word::MetByMedian,
            Finding::Met => Word::MetByEnd,
            Finding::NotMet => Word::NotMet,
            Finding::Void if ratio.low > limit => Word::VoidAndMissed,
            Finding::Void => Word::Void,
        }
    }

    fn said(self) -> &'static str {
        match self {
            Word::Met => "met",
            Word::MetByMedian => "met by the median",
            Word::MetByEnd => "met by an end",
            Word::NotMet => "NOT MET",
            Word::Void => "void",
            Word::VoidAndMissed => "void, missed",
        }
    }
}

/// What is said instead of verdicts where there were too few rounds.
pub(super) fn too_few(rounds: usize) -> Option<String> {
    (rounds < ENOUGH).then(|| format!("too few rounds for a verdict on any goal: at least {ENOUGH}"))
}

/// Prints the list of verdicts and a line that sums it up.
pub(crate) fn print(verdicts: &[Verdict], rounds: usize) {
    if let Some(why) = too_few(rounds) {
        say!("\n{why}");
    }
    if verdicts.is_empty() {
        return;
    }
    say!("\ngoals ({LEGEND}):");
    super::print_rows(&rows(verdicts));
    say!("{}", summary(verdicts));
}

/// What one must know to read the list.
pub(crate) const LEGEND: &str = "ringwork / peer, or the row of ours that is named; met if the interval \
     reaches the bound, by the median or by an end if not all of it does; void if the floor is too near, \
     missed if the whole interval is beyond; others busy: beside ringwork or the peer others used so much of \
     the server's CPU that a remark says so";

/// The list of verdicts, its headings first.
pub(crate) fn rows(verdicts: &[Verdict]) -> Vec<Vec<String>> {
    let headings = ["workload", "metric", "peer", "bound", "ratio", ""].map(str::to_owned);
    std::iter::once(headings).chain(verdicts.iter().map(row)).map(|cells| cells.to_vec()).collect()
}

/// A verdict in the list.
pub(super) fn row(verdict: &Verdict) -> [String; 6] {
    let found = match verdict.metric.as_str() {
        ALLOCATIONS => format!("{:.4}", verdict.ratio.median),
        _ => verdict.ratio.to_string(),
    };
    let busy = if verdict.others_busy { ", others busy" } else { "" };
    let word = format!("{}{busy}", Word::of(verdict).said());
    // Nearly all are of the first row, which the legend names.
    let peer = match verdict.ours.as_str() {
        OURS => verdict.peer.clone(),
        ours => format!("{} (of {ours})", verdict.peer),
    };
    [verdict.workload.clone(), verdict.metric.clone(), peer, bound(verdict), found, word]
}

/// How many goals were met.
pub(crate) fn summary(verdicts: &[Verdict]) -> String {
    let count = |word| verdicts.iter().filter(|verdict| Word::of(verdict) == word).count();
    let (whole, median, end) = (count(Word::Met), count(Word::MetByMedian), count(Word::MetByEnd));
    let (void, missed) = (count(Word::Void), count(Word::VoidAndMissed));
    let busy = verdicts.iter().filter(|verdict| verdict.others_busy).count();
    format!(
        "{} met ({median} by the median, {end} by an end), {} not met, {} void ({missed} missed); others \
         were busy beside {busy} of them",
        whole + median + end,
        count(Word::NotMet),
        void + missed,
    )
}

fn bound(verdict: &Verdict) -> String {
    if verdict.metric == ALLOCATIONS { "none".to_owned() } else { format!("≤ {:.2}", verdict.bound) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::Apart;
    use crate::meter::latencies;
    use crate::programs::PEERS;
    use crate::sample::Sample;
    use crate::usage::Usage;
    use crate::workloads;

    fn interval(low: f64, high: f64) -> Ratio {
        Ratio { median: (low + high) / 2.0, low, high }
    }

    #[test]
    fn a_goal_is_met_if_the_interval_reaches_it() {
        assert_eq!(weigh(0.82, interval(0.81, 0.90), None), Finding::Met);
        assert_eq!(weigh(0.82, interval(0.83, 0.90), None), Finding::NotMet);
    }

    #[test]
    fn not_worse_is_missed_only_beyond_two_per_cent() {
        assert_eq!(weigh(1.00, interval(1.015, 1.20), None), Finding::Met);
        assert_eq!(weigh(1.00, interval(1.03, 1.20), None), Finding::NotMet);
    }

    #[test]
    fn a_goal_next_to_the_floor_is_void() {
        assert_eq!(weigh(0.82, interval(0.90, 0.95), Some(0.80)), Finding::Void);
        assert_eq!(weigh(0.82, interval(0.90, 0.95), Some(0.79)), Finding::NotMet);
        // A goal set in relation to the floor is above it by definition.
        assert_eq!(weigh(1.04, interval(1.05, 1.09), Some(1.0)), Finding::NotMet);
    }

    #[test]
    fn a_verdict_says_how_much_of_the_interval_it_rests_on() {
        let said = |low, high, finding| {
            let ratio = interval(low, high);
            let [workload, metric, peer] = ["echo", "CPU per op", "tokio"].map(str::to_owned);
            Word::of(&Verdict {
                workload,
                metric,
                ours: first_row(),
                peer,
                bound: 1.00,
                ratio,
                finding,
                others_busy: false,
            })
            .said()
        };
        assert_eq!(said(0.90, 1.02, Finding::Met), "met");
        assert_eq!(said(0.90, 1.03, Finding::Met), "met by the median");
        assert_eq!(said(1.01, 1.20, Finding::Met), "met by an end");
        assert_eq!(said(0.99, 1.20, Finding::Void), "void");
        assert_eq!(said(1.03, 1.20, Finding::Void), "void, missed");
    }

    fn outcome(peer: &'static str, busy_ns: u64) -> Outcome {
        let used = Usage { busy_ns, ..Usage::default() };
        let samples = vec![Sample::new(1, Duration::from_secs(1), used, &latencies()); 5];
        let apart = Apart { allocations: Some(0.0), heap_kib: None, syscalls: None };
        Outcome { peer, samples, failure: None, skipped: None, apart }
    }

    fn verdicts(name: &str, outcomes: Vec<Outcome>) -> Vec<Verdict> {
        let workload = workloads::all().into_iter().find(|known| known.name == name).expect(name);
        judge(&[Measured::new(workload, outcomes)])
    }

    #[test]
    fn of_a_program_that_took_part_in_two_ways_the_better_one_counts() {
        let outcomes = [("haproxy", 1000), ("haproxy-splice", 800), (OURS, 900)];
        let verdicts =
            verdicts("proxy-bulk-x1", outcomes.map(|(peer, busy_ns)| outcome(peer, busy_ns)).into());
        let of_time: Vec<_> = verdicts.iter().filter(|verdict| verdict.metric != ALLOCATIONS).collect();
        assert!(matches!(of_time[..], [Verdict { finding: Finding::NotMet, .. }]), "{of_time:?}");
        assert_eq!(of_time[0].peer, "haproxy-splice");
    }

    #[test]
    fn a_goal_of_allocations_says_whose_were_counted() {
        let mut whole = outcome(OURS, 1);
        whole.apart.allocations = None;
        let rows = rows(&verdicts("file-1k", vec![whole, outcome(OUR_CALLS, 1)]));
        assert_eq!(rows[1], ["file-1k", ALLOCATIONS, OUR_CALLS, "none", "0.0000", "met"]);
    }

    #[test]
    fn fewer_than_five_rounds_give_no_verdict() {
        let workload = || workloads::all().into_iter().find(|w| w.name == "yield").expect("there is one");
        let verdicts = |rounds| {
            let peers = [OURS, "tokio"].map(|peer| crate::bench::Outcome::of_alike_rounds(peer, rounds));
            judge(&[Measured::new(workload(), peers.into())]).len()
        };
        assert_eq!((verdicts(4), verdicts(5)), (0, 1));
        assert!(too_few(4).is_some() && too_few(5).is_none());
    }

    #[test]
    fn every_goal_names_workloads_a_metric_and_peers_that_exist() {
        let workloads = workloads::all();
        for target in TARGETS {
            for name in target.workloads {
                let workload = workloads.iter().find(|workload| workload.name == *name).expect(name);
                let ratios = workload.work.layout().ratios;
                assert!(
                    PEERS.iter().any(|(known, _)| *known == target.ours),
                    "{name}: no row {}",
                    target.ours
                );
                let is_shown = ratios.iter().any(|(metric, ..)| *metric == target.metric);
                let counts = target.metric == ALLOCATIONS && workload.work.counts();
                assert!(is_shown || counts, "{name} does not show {}", target.metric);
                let (To::Each(peers) | To::Best(peers)) = target.to else { continue };
                for peer in peers {
                    assert!(PEERS.iter().any(|(known, _)| known == peer), "{name}: no peer {peer}");
                }
            }
        }
    }
}
