//! The goals of the project, in one table, and what a run says about each.
//!
//! A goal bounds the ratio of ringwork to a peer. It is met if the interval of that ratio reaches the
//! bound, so a goal is missed only when the run shows that it is. "Not worse" is a bound of 1.00, missed
//! when the run shows more than 1.02. A goal that asks for less than 1.03 of what the floor of the same run
//! needs is void for that run: on that machine it cannot be had. The floor is the best of the raw loops, over
//! the ring or over epoll; where a goal names one of them, it is that one.
//!
//! A goal has no verdict where ringwork, or one of those that it is compared with, has failed: what is left
//! of them may be the weaker ones.

use serde::{Deserialize, Serialize};

use super::columns::{OURS, Reading};
use super::{Measured, readings, remarks};
use crate::bench::Outcome;
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
/// Those whose idle connections hold no buffer.
const SHARED: &[&str] = &["tokio-shared", "glommio-shared", "smol-shared"];
/// Raw loops that do the same work: whichever needs least is the floor of a goal.
const FLOORS: &[&str] = &["floor", "floor-splice", "epoll", "pread", "pwrite"];
/// Raw loops that echo.
const ECHO_FLOORS: &[&str] = &["floor", "epoll"];
const DISKS: &[&str] = &["tokio", "monoio", "glommio", "compio"];
const NGINX: &[&str] = &["nginx", "nginx-sendfile"];
const HAPROXY: &[&str] = &["haproxy", "haproxy-splice"];
const LOCAL: &[&str] = &["tokio", "monoio", "glommio", "compio", "smol"];
/// Those of them whose new tasks wait for their turn: glommio's `spawn_local` polls one before it returns.
const LOCAL_QUEUED: &[&str] = &["tokio", "monoio", "glommio-queued", "compio", "smol"];

/// All goals.
const TARGETS: &[Target] = &[
    target(ECHOES, "CPU per op", To::Best(ECHO_FLOORS), 1.04),
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
    target(&["idle-10k"], "memory each", To::Each(SHARED), 1.00),
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
pub(super) const ALLOCATIONS: &str = "allocations per op";

/// What a run says about a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Finding {
    Met,
    NotMet,
    /// The floor of this run is too near.
    Void,
    /// One of the two did not take all its turns.
    Failed,
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
    let failed = failed(target, workload);
    for peer in &failed {
        say(peer, Ratio::NONE, Finding::Failed, false);
    }
    let Some(ours) = workload.peer(target.ours).filter(|ours| ours.samples.len() >= ENOUGH) else { return };
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
        To::Best(peers) if failed.is_empty() => best(workload, peers, *reading).into_iter().collect(),
        To::Best(_) | To::Nothing => Vec::new(),
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

/// With whom there can be no comparison: those of a goal's peers that have failed, or, where we have, all
/// that took part, or ourselves where there are none.
fn failed(target: &Target, workload: &Measured) -> Vec<&'static str> {
    let of = |peer: &str| workload.outcomes.iter().find(|outcome| outcome.peer == peer);
    let has_failed = |outcome: &&Outcome| outcome.failure.is_some();
    let we_have = of(target.ours).is_some_and(|ours| has_failed(&ours));
    match target.to {
        To::Each(peers) | To::Best(peers) => {
            let took_part = peers.iter().filter_map(|peer| of(peer)).filter(|peer| peer.skipped.is_none());
            took_part.filter(|peer| we_have || has_failed(peer)).map(|peer| peer.peer).collect()
        }
        To::Nothing => we_have.then_some(target.ours).into_iter().collect(),
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
pub(super) fn limit(bound: f64) -> f64 {
    if bound == 1.00 { NOT_WORSE } else { bound }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::wording;
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

    fn failed(peer: &'static str) -> Outcome {
        Outcome { failure: Some("round 5: reset".to_owned()), ..outcome(peer, 1) }
    }

    #[test]
    fn the_worse_of_two_ways_does_not_stand_in_for_the_better_one_that_failed() {
        let outcomes = vec![outcome("haproxy", 1000), failed("haproxy-splice"), outcome(OURS, 900)];
        let verdicts = verdicts("proxy-bulk-x1", outcomes);
        let of_time: Vec<_> = verdicts.iter().filter(|verdict| verdict.metric != ALLOCATIONS).collect();
        assert!(matches!(of_time[..], [Verdict { finding: Finding::Failed, .. }]), "{of_time:?}");
        assert_eq!(of_time[0].peer, "haproxy-splice");
    }

    #[test]
    fn a_failure_of_ours_leaves_no_goal_unsaid_and_can_be_read_again() {
        let all = verdicts("file-1k", vec![failed(OURS), outcome("nginx", 1)]);
        let goals: Vec<_> = all.iter().map(|v| (v.metric.as_str(), v.peer.as_str(), v.finding)).collect();
        let expected = [("CPU per op", "nginx", Finding::Failed), (ALLOCATIONS, OURS, Finding::Failed)];
        assert_eq!(goals, expected);
        let kept = serde_json::to_string(&all).unwrap();
        let again: Vec<Verdict> = serde_json::from_str(&kept).unwrap();
        assert!(again.iter().all(|verdict| verdict.ratio.median.is_nan()));
    }

    #[test]
    fn a_goal_of_allocations_says_whose_were_counted() {
        let mut whole = outcome(OURS, 1);
        whole.apart.allocations = None;
        let rows = wording::rows(&verdicts("file-1k", vec![whole, outcome(OUR_CALLS, 1)]));
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
        assert!(wording::too_few(4).is_some() && wording::too_few(5).is_none());
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
