//! Two runs compared. Absolute numbers of two runs say little (the machine may have been another, or busier),
//! so what is compared is each peer's ratio to a yardstick of its own run: the floor, or the first peer that
//! both runs have. A change is one that the intervals of both runs do not explain. Whether the verdicts on
//! the goals are the same is said behind it (`verdicts`).

use std::io;
use std::path::Path;

use serde_json::Value;

use super::{document, print_rows, verdicts};
use crate::said::say;
use crate::stats::{Ratio, ratio};

/// One number of both runs.
#[derive(Debug, PartialEq)]
struct Change {
    workload: String,
    metric: String,
    peer: String,
    yardstick: String,
    before: Ratio,
    after: Ratio,
}

impl Change {
    /// The intervals do not meet.
    fn is_shown(&self) -> bool {
        self.before.high < self.after.low || self.after.high < self.before.low
    }
}

/// Prints what has changed from the run in `before` to the one in `after`.
pub(crate) fn print(before: &Path, after: &Path) -> io::Result<()> {
    let (before, after) = (document::read(before)?, document::read(after)?);
    for name in ["kernel", "cpu", "commit", "build", "versions"] {
        let (then, now) = (&before["record"][name], &after["record"][name]);
        if then != now {
            say!("{name}: {} -> {}", text(then), text(now));
        }
    }
    for (run, which) in [(&before, "before"), (&after, "after")] {
        let rounds = run["rounds"].as_u64().unwrap_or(0);
        if rounds < 5 {
            say!("{which}: {rounds} rounds, so an interval is their range and says little");
        }
    }
    for line in failed_in_one(&before, &after) {
        say!("{line}");
    }
    let changes = compare(&before, &after);
    if changes.is_empty() {
        say!("the runs have no workload with two peers in common");
        return Ok(());
    }
    let mut rows =
        vec![["workload", "metric", "peer / yardstick", "before", "after", ""].map(str::to_owned).to_vec()];
    for change in &changes {
        let word = match change.is_shown() {
            true if change.after.median < change.before.median => "better",
            true => "WORSE",
            false => "",
        };
        rows.push(vec![
            change.workload.clone(),
            change.metric.clone(),
            format!("{} / {}", change.peer, change.yardstick),
            change.before.to_string(),
            change.after.to_string(),
            word.to_owned(),
        ]);
    }
    print_rows(&rows);
    let shown = changes.iter().filter(|change| change.is_shown()).count();
    say!("{shown} of {} ratios have changed by more than both intervals explain", changes.len());
    verdicts::print(&before, &after)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn find<'a>(values: &'a [Value], key: &str, name: &str) -> Option<&'a Value> {
    values.iter().find(|value| value[key] == name)
}

/// Who has failed in one of the two runs and not in the other: it has no ratio.
fn failed_in_one(before: &Value, after: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for (run, other, which) in [(before, after, "before"), (after, before, "after")] {
        for workload in list(run, "workloads") {
            let name = text(&workload["name"]);
            let Some(elsewhere) = find(list(other, "workloads"), "name", name) else { continue };
            for peer in list(workload, "peers").iter().filter(|peer| !peer["failure"].is_null()) {
                let who = text(&peer["peer"]);
                let again = find(list(elsewhere, "peers"), "peer", who);
                if again.is_some_and(|again| again["failure"].is_null()) {
                    lines.push(format!("{name}: {who} failed {which}: {}", text(&peer["failure"])));
                }
            }
        }
    }
    lines
}

/// Every ratio that both documents have.
fn compare(before: &Value, after: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    for then in list(before, "workloads") {
        let name = text(&then["name"]);
        let Some(now) = find(list(after, "workloads"), "name", name) else { continue };
        let is_measured = |peer: &Value| peer["failure"].is_null() && peer["skipped"].is_null();
        let common = |peer: &&Value| {
            let again = find(list(now, "peers"), "peer", text(&peer["peer"]));
            is_measured(peer) && again.is_some_and(is_measured)
        };
        let mut peers = list(then, "peers").iter().filter(common).map(|peer| text(&peer["peer"]));
        let Some(yardstick) = peers.next() else { continue };
        for peer in peers {
            for metric in list(then, "metrics").iter().map(text) {
                let of = |document| ratio_of(document, metric, peer, yardstick);
                if let (Some(before), Some(after)) = (of(then), of(now)) {
                    changes.push(Change {
                        workload: name.to_owned(),
                        metric: metric.to_owned(),
                        peer: peer.to_owned(),
                        yardstick: yardstick.to_owned(),
                        before,
                        after,
                    });
                }
            }
        }
    }
    changes
}

fn ratio_of(workload: &Value, metric: &str, peer: &str, yardstick: &str) -> Option<Ratio> {
    let values = |peer: &str| -> Option<Vec<f64>> {
        let peer = find(list(workload, "peers"), "peer", peer)?;
        // What is no number is `null`: a round that says nothing.
        let value = |value: &Value| if value.is_null() { Some(f64::NAN) } else { value.as_f64() };
        list(&peer["values"], metric).iter().map(value).collect()
    };
    let found = ratio(&values(peer)?, &values(yardstick)?);
    (!found.median.is_nan()).then_some(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(ours: [f64; 3]) -> Value {
        json!({ "workloads": [{
            "name": "echo", "metrics": ["CPU per op"],
            "peers": [
                { "peer": "floor", "failure": null, "values": { "CPU per op": [1.0, 2.0, 4.0] } },
                { "peer": "ringwork", "failure": null, "values": { "CPU per op": ours } },
            ],
        }] })
    }

    #[test]
    fn the_yardstick_is_a_peer_that_both_runs_have_measured() {
        let with = |key: &str| {
            let mut run = run([1.0, 2.0, 4.0]);
            let peers = run["workloads"][0]["peers"].as_array_mut().expect("it is one");
            peers.insert(0, json!({ "peer": "nginx", "failure": null, "skipped": null, "values": {} }));
            peers[0][key] = "not there".into();
            run
        };
        let all = run([1.0, 2.0, 4.0]);
        for (before, after) in [(with("skipped"), with("failure")), (with("failure"), all)] {
            let changes = compare(&before, &after);
            assert_eq!(changes.len(), 1, "{before} {after}");
            assert_eq!(changes[0].yardstick, "floor");
        }
    }

    #[test]
    fn who_has_failed_in_one_run_is_named() {
        let (good, mut bad) = (run([1.0, 2.0, 4.0]), run([1.0, 2.0, 4.0]));
        bad["workloads"][0]["peers"][1]["failure"] = "signal 11".into();
        assert_eq!(failed_in_one(&good, &bad), ["echo: ringwork failed after: signal 11"]);
        assert_eq!(failed_in_one(&bad, &good), ["echo: ringwork failed before: signal 11"]);
        assert!(failed_in_one(&bad, &bad).is_empty());
    }

    #[test]
    fn a_round_without_a_reading_does_not_hide_the_others() {
        let with_a_hole = |ours| {
            let mut run = run(ours);
            for peer in 0..2 {
                let values = run["workloads"][0]["peers"][peer]["values"]["CPU per op"].as_array_mut();
                let values = values.expect("they are");
                values.extend([1.0, 1.0, 1.0].map(Value::from));
            }
            run["workloads"][0]["peers"][1]["values"]["CPU per op"][0] = Value::Null;
            run
        };
        assert_eq!(compare(&with_a_hole([0.0, 2.0, 4.0]), &with_a_hole([0.0, 2.0, 4.0])).len(), 1);
    }

    #[test]
    fn a_change_is_one_that_both_intervals_do_not_explain() {
        let changes = compare(&run([1.0, 2.0, 4.0]), &run([2.0, 4.0, 8.0]));
        assert_eq!(changes.len(), 1);
        assert!(changes[0].is_shown());
        assert_eq!((changes[0].before.median, changes[0].after.median), (1.0, 2.0));
        // A machine twice as slow is no change.
        let slower = compare(&run([1.0, 2.0, 4.0]), &run([1.0, 2.0, 4.0]));
        assert!(!slower[0].is_shown());
        let noisy = compare(&run([1.0, 2.2, 4.8]), &run([1.1, 2.0, 4.6]));
        assert!(!noisy[0].is_shown(), "{noisy:?}");
    }
}
