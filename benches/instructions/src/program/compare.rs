//! Counts against the baseline: what has become dearer, and whether that can be said at all.
#![forbid(unsafe_code)]

use crate::program::baseline::{Baseline, Cost};
use crate::program::tools::Tools;
use std::fmt;

/// Instructions more that are no finding, however little the path costs.
const SLACK: f64 = 2.0;
/// Read-modify-writes more that are no finding: less than one in ten ops.
const SLACK_RMWS: f64 = 0.1;
/// In per cent, if another compiler or C library is at work: enough to see a path that has got out of hand.
const TOLERANCE_OF_OTHER_TOOLS: f64 = 25.0;

/// How a path stands to the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Same,
    /// By more than the tolerance; the baseline may be made stricter.
    Cheaper,
    Dearer,
    /// The baseline does not know it.
    New,
}

/// How counts are held against a baseline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule<'a> {
    baseline: &'a Baseline,
    /// In per cent.
    tolerance: f64,
    /// Whether the tools are those of the baseline.
    same_tools: bool,
}

impl<'a> Rule<'a> {
    /// For counts made with `tools`.
    ///
    /// # Errors
    /// If the counts have nothing to do with each other.
    pub(crate) fn new(baseline: &'a Baseline, tools: &Tools) -> Result<Self, String> {
        let theirs = &baseline.tools;
        if theirs.are_of_another_world(tools) {
            return Err(format!(
                "the baseline is of {} with opt-level {}, and this is {} with opt-level {}: no comparison",
                theirs.target, theirs.optimised, tools.target, tools.optimised
            ));
        }
        let same_tools = theirs == tools;
        let tolerance =
            if same_tools { baseline.tolerance } else { baseline.tolerance.max(TOLERANCE_OF_OTHER_TOOLS) };
        Ok(Self { baseline, tolerance, same_tools })
    }

    pub(crate) fn judge(&self, name: &str, cost: Cost) -> Verdict {
        let Some(before) = self.baseline.costs.get(name) else { return Verdict::New };
        let share = self.tolerance / 100.0;
        // With other tools, their libraries may lock in other places.
        let slack_rmws = if self.same_tools { SLACK_RMWS } else { (before.rmws * share).max(SLACK_RMWS) };
        let slack = (before.instructions * share).max(SLACK);
        let (more, more_rmws) = (cost.instructions - before.instructions, cost.rmws - before.rmws);
        if more > slack || more_rmws > slack_rmws {
            Verdict::Dearer
        } else if more < -slack || more_rmws < -slack_rmws {
            Verdict::Cheaper
        } else {
            Verdict::Same
        }
    }

    pub(crate) fn before(&self, name: &str) -> Option<Cost> {
        self.baseline.costs.get(name).copied()
    }
}

impl fmt::Display for Rule<'_> {
    /// What is allowed, and what to do if the tools have changed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tools, tolerance) = (&self.baseline.tools, self.tolerance);
        if self.same_tools {
            return write!(f, "allowed: {tolerance} % more instructions than the baseline, no more rmws");
        }
        write!(
            f,
            "NOTE: the baseline was made with {} and {}. Counts depend on both, so {tolerance} % more are \
             allowed until it is made anew: bless it on the commit before, and commit it.",
            tools.rustc, tools.libc
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(costs: &[(&str, f64, f64)]) -> Baseline {
        let mut baseline = Baseline::new(Tools::here());
        for &(name, instructions, rmws) in costs {
            baseline.costs.insert(name.to_owned(), Cost { instructions, rmws });
        }
        baseline
    }

    fn verdict(baseline: &Baseline, name: &str, instructions: f64, rmws: f64) -> Verdict {
        let rule = Rule::new(baseline, &Tools::here()).expect("the same tools");
        rule.judge(name, Cost { instructions, rmws })
    }

    #[test]
    fn a_tenth_more_is_dearer_and_a_hundredth_is_not() {
        let before = baseline(&[("spawn", 200.0, 2.0)]);
        assert_eq!(verdict(&before, "spawn", 220.0, 2.0), Verdict::Dearer);
        assert_eq!(verdict(&before, "spawn", 206.5, 2.0), Verdict::Dearer);
        assert_eq!(verdict(&before, "spawn", 202.0, 2.0), Verdict::Same);
        assert_eq!(verdict(&before, "spawn", 200.0, 2.0), Verdict::Same);
        assert_eq!(verdict(&before, "spawn", 180.0, 2.0), Verdict::Cheaper);
    }

    #[test]
    fn one_read_modify_write_more_is_dearer_whatever_it_saves() {
        let before = baseline(&[("spawn", 200.0, 20.0), ("poll", 400.0, 0.0)]);
        assert_eq!(verdict(&before, "spawn", 100.0, 21.0), Verdict::Dearer);
        assert_eq!(verdict(&before, "poll", 400.0, 0.5), Verdict::Dearer);
        assert_eq!(verdict(&before, "spawn", 200.0, 19.0), Verdict::Cheaper);
        assert_eq!(verdict(&before, "spawn", 200.0, 20.03), Verdict::Same);
    }

    #[test]
    fn two_instructions_of_a_short_path_are_no_finding_and_three_are() {
        let before = baseline(&[("wake", 20.0, 0.0)]);
        assert_eq!(verdict(&before, "wake", 22.0, 0.0), Verdict::Same);
        assert_eq!(verdict(&before, "wake", 23.0, 0.0), Verdict::Dearer);
    }

    #[test]
    fn a_path_that_the_baseline_does_not_know_is_new() {
        assert_eq!(verdict(&baseline(&[]), "spawn", 1.0, 0.0), Verdict::New);
    }

    #[test]
    fn another_compiler_is_said_and_allows_more_but_not_all() {
        let mut before = baseline(&[("spawn", 200.0, 2.0)]);
        before.tools.rustc = "rustc 1.0.0".to_owned();
        let rule = Rule::new(&before, &Tools::here()).expect("comparable");
        assert_eq!(rule.judge("spawn", Cost { instructions: 220.0, rmws: 2.0 }), Verdict::Same);
        assert_eq!(rule.judge("spawn", Cost { instructions: 260.0, rmws: 2.0 }), Verdict::Dearer);
        assert_eq!(rule.judge("spawn", Cost { instructions: 200.0, rmws: 3.0 }), Verdict::Dearer);
        assert!(rule.to_string().contains("rustc 1.0.0") && rule.to_string().contains("bless"), "{rule}");
    }

    #[test]
    fn another_level_of_optimisation_is_no_comparison() {
        let mut before = baseline(&[]);
        before.tools.optimised = "none".to_owned();
        let error = Rule::new(&before, &Tools::here()).expect_err("not comparable");
        assert!(error.contains("none"), "{error}");
    }
}
