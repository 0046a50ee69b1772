//! How verdicts are said: a list with a word for each, and a line that sums them up.
//!
//! How much a verdict is worth is said with it: an interval may reach a bound with its end alone, which noise
//! widens, and what is void may be far from its bound all the same.

use super::columns::OURS;
use super::targets::{ALLOCATIONS, Finding, Verdict, limit};
use crate::said::say;
use crate::stats::ENOUGH;

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
    /// No verdict.
    Failed,
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
            Finding::Failed => Word::Failed,
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
            Word::Failed => "NO VERDICT: FAILED",
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
     missed if the whole interval is beyond; failed: there is no verdict, for ringwork or the peer did not \
     take all its turns; others busy: beside ringwork or the peer others used so much of \
     the server's CPU that a remark says so";

/// The list of verdicts, its headings first.
pub(crate) fn rows(verdicts: &[Verdict]) -> Vec<Vec<String>> {
    let headings = ["workload", "metric", "peer", "bound", "ratio", ""].map(str::to_owned);
    std::iter::once(headings).chain(verdicts.iter().map(row)).map(|cells| cells.to_vec()).collect()
}

/// A verdict in the list.
pub(super) fn row(verdict: &Verdict) -> [String; 6] {
    let found = match verdict.metric.as_str() {
        _ if verdict.finding == Finding::Failed => "-".to_owned(),
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
    let failed = match count(Word::Failed) {
        0 => String::new(),
        failed => format!(", {failed} WITHOUT A VERDICT (failed)"),
    };
    format!(
        "{} met ({median} by the median, {end} by an end), {} not met, {} void ({missed} missed){failed}; \
         others were busy beside {busy} of them",
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
    use super::*;
    use crate::stats::Ratio;

    #[test]
    fn a_verdict_says_how_much_of_the_interval_it_rests_on() {
        let said = |low, high, finding| {
            let ratio = Ratio { median: (low + high) / 2.0, low, high };
            let [workload, metric, peer] = ["echo", "CPU per op", "tokio"].map(str::to_owned);
            Word::of(&Verdict {
                workload,
                metric,
                ours: OURS.to_owned(),
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
        assert_eq!(said(f64::NAN, f64::NAN, Finding::Failed), "NO VERDICT: FAILED");
    }
}
