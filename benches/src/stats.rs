//! Medians, and a bootstrap interval for the ratio of two peers that took turns.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Resamples per interval.
const RESAMPLES: usize = 4000;

/// Rounds whose range is a 95 % interval.
pub(crate) const ENOUGH: usize = 5;

/// A ratio and the interval that holds 95 % of its resamples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    #[serde(deserialize_with = "number")]
    pub(crate) median: f64,
    #[serde(deserialize_with = "number")]
    pub(crate) low: f64,
    #[serde(deserialize_with = "number")]
    pub(crate) high: f64,
}

impl Ratio {
    /// Nothing can be said.
    pub(crate) const NONE: Ratio = Ratio { median: f64::NAN, low: f64::NAN, high: f64::NAN };
}

/// A number of a document, in which one that is none is `null`.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |value: f64| if value == f64::MAX { "∞".to_owned() } else { format!("{value:.2}") };
        write!(f, "{} [{}–{}]", said(self.median), said(self.low), said(self.high))
    }
}

/// The middle value; of an even number, the mean of the middle two.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    middle(&mut values.into_iter().collect::<Vec<f64>>())
}

/// The same of values whose order is of no use any more.
fn middle(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => values[n / 2 - 1] + (values[n / 2] - values[n / 2 - 1]) / 2.0,
    }
}

/// What the interval of [`ratio()`] is with that many rounds. With five and fewer it is their range, and that
/// of five holds the true median with 94 %, of four with 88, of three with 75, of two with 50.
pub(crate) fn interval(rounds: usize) -> &'static str {
    if rounds < ENOUGH { "range of the rounds" } else { "95 % interval" }
}

/// Median of `a[i] / b[i]` over the rounds both took part in. The rounds are resampled, not the two
/// sides: what disturbed a round disturbed both. Not a number if fewer than five rounds say anything, or,
/// of fewer than five, not all of them: their interval would not be what [`interval`] calls it.
pub(crate) fn ratio(a: &[f64], b: &[f64]) -> Ratio {
    // A round in which one side has no such reading says nothing about the two. One in which `b` needed
    // nothing says the worst about `a`; the largest number stands for it, which a document can hold.
    let all = a.iter().zip(b).map(|(a, b)| a / b).filter(|ratio| !ratio.is_nan());
    let ratios: Vec<f64> = all.map(|ratio| ratio.min(f64::MAX)).collect();
    if ratios.is_empty() || ratios.len() < ENOUGH.min(a.len()) {
        return Ratio::NONE;
    }
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut pick = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ratios[(state >> 33) as usize % ratios.len()]
    };
    let mut resample = ratios.clone();
    let mut medians = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        resample.fill_with(&mut pick);
        medians.push(middle(&mut resample));
    }
    medians.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| medians[(share * (RESAMPLES - 1) as f64).round() as usize];
    Ratio { median: median(ratios), low: at(0.025), high: at(0.975) }
}

#[cfg(test)]
mod tests {
    use super::{interval, median, ratio};

    #[test]
    fn median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
    }

    #[test]
    fn interval_holds_the_median_and_stays_within_the_rounds() {
        let r = ratio(&[2.0, 2.2, 1.8, 2.1, 1.9], &[1.0; 5]);
        assert_eq!(r.median, 2.0);
        assert!(1.8 <= r.low && r.low <= 2.0 && 2.0 <= r.high && r.high <= 2.2, "{r:?}");
    }

    #[test]
    fn interval_of_few_rounds_is_their_range_and_is_called_so() {
        let of_all = [2.0, 2.2, 1.8, 2.1, 1.9, 2.3];
        for rounds in 2..=5 {
            let values = &of_all[..rounds];
            let r = ratio(values, &[1.0; 5][..rounds]);
            let low = values.iter().copied().fold(f64::MAX, f64::min);
            let high = values.iter().copied().fold(f64::MIN, f64::max);
            assert_eq!((r.low, r.high), (low, high), "{rounds}");
        }
        assert!(!interval(4).contains("95") && interval(5).contains("95"));
    }

    #[test]
    fn a_round_without_a_reading_is_left_out_and_too_few_others_are_no_ratio() {
        let mut ours = [2.0, f64::NAN, 2.0, 2.0, 2.0, 2.0];
        let r = ratio(&ours, &[1.0; 6]);
        assert_eq!((r.median, r.low, r.high), (2.0, 2.0, 2.0));
        ours[0] = f64::NAN;
        assert!(ratio(&ours, &[1.0; 6]).median.is_nan());
        assert!(ratio(&[2.0, f64::NAN], &[1.0; 2]).median.is_nan());
        assert!(ratio(&[f64::NAN], &[1.0]).median.is_nan());
    }

    #[test]
    fn a_round_in_which_the_other_needs_nothing_is_our_worst_one() {
        let r = ratio(&[1.0; 5], &[1.0, 1.0, 0.0, 1.0, 1.0]);
        assert_eq!((r.median, r.high), (1.0, f64::MAX));
        assert_eq!(r.to_string(), "1.00 [1.00–∞]");
        assert!(ratio(&[0.0; 5], &[0.0; 5]).median.is_nan(), "neither needs any");
    }

    #[test]
    fn drift_that_reaches_both_sides_cancels_out() {
        let r = ratio(&[2.0, 4.0, 6.0], &[1.0, 2.0, 3.0]);
        assert_eq!((r.median, r.low, r.high), (2.0, 2.0, 2.0));
    }
}
