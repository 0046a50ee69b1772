//! What two runs say about the same goals: whether the verdicts of one repeat in the other. A goal that is
//! void in one of them is neither met nor missed there, so that is no contradiction; one that is met in one
//! and missed in the other is. One that has no verdict in one of them, for somebody failed, is counted apart.

use std::io;

use serde_json::Value;

use super::targets::{Finding, Verdict};
use super::{print_rows, wording};
use crate::said::say;

/// A goal of both runs.
struct Pair {
    before: Verdict,
    after: Verdict,
}

/// How the findings of two runs go together.
#[derive(Debug, PartialEq)]
enum Agreement {
    Same,
    /// One of them says nothing.
    VoidInOne,
    /// In one of them there is no verdict, for somebody failed.
    FailedInOne,
    Contradicted,
}

impl Pair {
    fn agreement(&self) -> Agreement {
        match (self.before.finding, self.after.finding) {
            (before, after) if before == after => Agreement::Same,
            (Finding::Failed, _) | (_, Finding::Failed) => Agreement::FailedInOne,
            (Finding::Void, _) | (_, Finding::Void) => Agreement::VoidInOne,
            _ => Agreement::Contradicted,
        }
    }
}

/// Prints the verdicts that are not the same in both runs, and how many are.
///
/// # Errors
/// What is said about a goal cannot be read.
pub(super) fn print(before: &Value, after: &Value) -> io::Result<()> {
    let pairs = pairs(all_of(before)?, all_of(after)?);
    if pairs.is_empty() {
        return Ok(());
    }
    let mut rows = vec![["goal", "bound", "before", "", "after", ""].map(str::to_owned).to_vec()];
    for Pair { before, after } in pairs.iter().filter(|pair| pair.agreement() != Agreement::Same) {
        let [then, now] = [before, after].map(wording::row);
        let [workload, metric, peer, bound, ratio, word] = then;
        let [.., again, last] = now;
        rows.push(vec![format!("{workload}, {metric}, {peer}"), bound, ratio, word, again, last]);
    }
    if rows.len() > 1 {
        print_rows(&rows);
    }
    say!("{}", summary(&pairs));
    Ok(())
}

fn all_of(run: &Value) -> io::Result<Vec<Verdict>> {
    match &run["verdicts"] {
        Value::Null => Ok(Vec::new()),
        verdicts => Ok(serde_json::from_value(verdicts.clone())?),
    }
}

fn pairs(before: Vec<Verdict>, mut after: Vec<Verdict>) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for before in before {
        if let Some(place) = after.iter().position(|after| is_same_goal(&before, after)) {
            pairs.push(Pair { before, after: after.swap_remove(place) });
        }
    }
    pairs
}

fn is_same_goal(one: &Verdict, other: &Verdict) -> bool {
    let goal = |verdict: &Verdict| {
        let Verdict { workload, metric, ours, peer, .. } = verdict;
        [workload, metric, ours, peer].map(String::clone)
    };
    one.bound == other.bound && goal(one) == goal(other)
}

fn summary(pairs: &[Pair]) -> String {
    let count = |agreement| pairs.iter().filter(|pair| pair.agreement() == agreement).count();
    let failed = match count(Agreement::FailedInOne) {
        0 => String::new(),
        failed => format!(", {failed} HAVE FAILED in one"),
    };
    format!(
        "{} of {} verdicts are the same, {} are void in one of the runs, {} are met in one and missed in the \
         other{failed}",
        count(Agreement::Same),
        pairs.len(),
        count(Agreement::VoidInOne),
        count(Agreement::Contradicted),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(verdicts: &[(&str, f64, &str)]) -> Value {
        let verdict = |(peer, bound, finding): &(&str, f64, &str)| {
            json!({
                "workload": "echo", "metric": "CPU per op", "ours": "ringwork", "peer": peer,
                "bound": bound, "ratio": { "median": 1.0, "low": 0.9, "high": 1.1 },
                "finding": finding, "others_busy": false,
            })
        };
        json!({ "verdicts": verdicts.iter().map(verdict).collect::<Vec<_>>() })
    }

    fn of_both(before: &[(&str, f64, &str)], after: &[(&str, f64, &str)]) -> String {
        summary(&pairs(all_of(&run(before)).unwrap(), all_of(&run(after)).unwrap()))
    }

    #[test]
    fn verdicts_of_the_same_goal_are_compared_wherever_they_stand() {
        let before = [("a", 1.0, "met"), ("b", 1.0, "void"), ("c", 1.0, "not_met"), ("d", 1.0, "met")];
        let after = [("d", 1.0, "not_met"), ("b", 1.0, "met"), ("a", 1.0, "met"), ("c", 1.0, "void")];
        let expected = "1 of 4 verdicts are the same, 2 are void in one of the runs, 1 are met in one and \
                        missed in the other";
        assert_eq!(of_both(&before, &after), expected);
    }

    #[test]
    fn a_goal_whose_peer_has_failed_in_one_run_is_counted_apart() {
        let said = of_both(
            &[("a", 1.0, "met"), ("b", 1.0, "failed")],
            &[("a", 1.0, "failed"), ("b", 1.0, "failed")],
        );
        assert!(said.starts_with("1 of 2") && said.ends_with("1 HAVE FAILED in one"), "{said}");
    }

    #[test]
    fn goals_of_one_run_alone_and_of_another_bound_are_left_out() {
        let (before, after) = ([("a", 1.0, "met"), ("b", 1.0, "met")], [("a", 0.9, "met")]);
        assert!(of_both(&before, &after).starts_with("0 of 0"));
        assert!(all_of(&json!({})).unwrap().is_empty());
        assert!(all_of(&json!({ "verdicts": [{ "workload": 1 }] })).is_err());
    }
}
