//! What must be said beside the readings of a peer: somebody else's work has disturbed them, or the load
//! generator may have been the limit. Terminal, page and verdicts all take it from here.

use serde::{Deserialize, Serialize};

use super::columns::{Layout, Reading};
use super::readings;
use crate::bench::Outcome;
use crate::sample::Sample;
use crate::stats::median;

/// Above this share, in percent, the load generator may be what limits the throughput.
const LOAD_LIMIT: f64 = 95.0;
/// Above this share somebody else's work has disturbed the readings.
const OTHERS_LIMIT: f64 = 3.0;

/// One of these; shares are medians of the rounds, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Remark {
    /// What others used of the server's CPUs.
    OthersBusy { others: f64 },
    /// The generator was busy, the server was not.
    LowerBound { load: f64, server: f64 },
}

impl Remark {
    /// For one peer, as the terminal says it.
    pub(crate) fn said(self) -> String {
        match self {
            Remark::OthersBusy { others } => {
                format!("others used {others:.0} % of the server's CPU: measure on a quiet machine")
            }
            Remark::LowerBound { load, server } => format!(
                "the load generator was busy {load:.0} % of the time and the server only {server:.0} %: its \
                 throughput is a lower bound"
            ),
        }
    }
}

/// What is to be said about a peer's readings in a workload of that layout.
pub(crate) fn of(layout: &Layout, outcome: &Outcome) -> Vec<Remark> {
    let share = |reading: Reading| median(readings(outcome, reading));
    let load = share(|s| s.load_percent().unwrap_or(0.0));
    weigh(layout, share(Sample::others_percent), load, share(Sample::server_percent))
}

fn weigh(layout: &Layout, others: f64, load: f64, server: f64) -> Vec<Remark> {
    let mut remarks = Vec::new();
    if layout.is_timed() && others > OTHERS_LIMIT {
        remarks.push(Remark::OthersBusy { others });
    }
    // A generator that never sleeps is busy by design; of two, on the server's CPUs, neither is alone.
    if layout.is_closed_loop && load > LOAD_LIMIT && server < LOAD_LIMIT {
        remarks.push(Remark::LowerBound { load, server });
    }
    remarks
}

/// Whether others have disturbed the readings of a peer.
pub(crate) fn is_disturbed(layout: &Layout, outcome: &Outcome) -> bool {
    of(layout, outcome).iter().any(|remark| matches!(remark, Remark::OthersBusy { .. }))
}

/// For all peers of one workload, with the remarks of each: a line for each kind, as a page says it.
pub(crate) fn lines(peers: &[(&str, &[Remark])]) -> Vec<String> {
    let all = || peers.iter().flat_map(|(peer, remarks)| remarks.iter().map(move |remark| (*peer, *remark)));
    let busy = all().filter_map(|(peer, remark)| match remark {
        Remark::OthersBusy { others } => Some(format!("{peer} {others:.0} %")),
        Remark::LowerBound { .. } => None,
    });
    let limited = all().filter_map(|(peer, remark)| match remark {
        Remark::LowerBound { load, server } => Some(format!("{peer} {load:.0} / {server:.0} %")),
        Remark::OthersBusy { .. } => None,
    });
    let not_quiet =
        format!("the machine was not quiet, others used more than {OTHERS_LIMIT:.0} % of the server's CPU");
    let lower_bound = "throughput is a lower bound, for the load generator was busy and the server was not \
                       (load / server)";
    let kinds = [(&*not_quiet, busy.collect::<Vec<_>>()), (lower_bound, limited.collect())];
    let said = kinds.into_iter().filter(|(_, peers)| !peers.is_empty());
    said.map(|(what, peers)| format!("{what}: {}", peers.join(", "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::columns::{MEMORY, OPEN, SERVING, SHARED_CPUS};

    #[test]
    fn others_are_named_where_time_is_measured() {
        let busy = [Remark::OthersBusy { others: 3.1 }];
        assert_eq!(weigh(&SERVING, 3.1, 50.0, 99.0), busy);
        assert_eq!(weigh(&SHARED_CPUS, 3.1, 99.0, 50.0), busy);
        assert_eq!(weigh(&SERVING, 3.0, 50.0, 99.0), []);
        assert_eq!(weigh(&MEMORY, 50.0, 0.0, 0.0), []);
    }

    #[test]
    fn a_generator_that_waits_for_the_server_is_the_limit_if_it_is_busy_and_the_server_is_not() {
        assert_eq!(weigh(&SERVING, 0.0, 99.0, 90.0), [Remark::LowerBound { load: 99.0, server: 90.0 }]);
        assert_eq!(weigh(&SERVING, 0.0, 99.0, 99.0), []);
        assert_eq!(weigh(&OPEN, 0.0, 100.0, 70.0), []);
    }
}
