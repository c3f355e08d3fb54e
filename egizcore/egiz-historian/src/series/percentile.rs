//! Exact percentiles of a handful of numbers, and the median as the 50th.
//!
//! Of `n` values in ascending order, numbered from 0, the percentile `p` is the value at rank `p / 100 · (n − 1)`; between
//! two ranks, the straight line between their values. So `p0` is the least, `p100` the greatest, and the median of an even
//! count the middle of the two in the middle. No sketch and no histogram: all values are needed.
//!
//! # Source
//! R. J. Hyndman and Y. Fan, *Sample Quantiles in Statistical Packages*, The American Statistician 50(4), 1996,
//! definition 7; the default of R's `quantile` and NumPy's `percentile`, and Excel's `PERCENTILE.INC`. (InfluxQL's
//! `PERCENTILE` picks the nearest rank instead and may differ.)

/// The percentile of values in any order, which are reordered; `None` of no values.
///
/// `percent` lies within 0 to 100, and the values are finite.
pub(super) fn percentile(values: &mut [f64], percent: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    #[expect(clippy::cast_precision_loss, reason = "there are fewer values than 2^53")]
    let rank = percent / 100.0 * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the rank lies within 0 to the last index"
    )]
    let below = (rank.floor() as usize).min(last);
    let share = rank - rank.floor();
    let (_, low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let low = *low;
    // What follows the selected one is no less than it: the next rank is the least of that.
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    Some(between(low, high, share))
}

/// The value at `share` (0 to 1) of the way from `low` to `high`, neither overflowing nor leaving the two.
pub(super) fn between(low: f64, high: f64, share: f64) -> f64 {
    if share == 0.0 || low == high {
        return low;
    }
    (low * (1.0 - share) + high * share).clamp(low.min(high), low.max(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], percent: f64, expected: Option<f64>) {
        let got = percentile(&mut values.to_vec(), percent);
        let agree = match (got, expected) {
            (Some(got), Some(expected)) => (got - expected).abs() <= 1e-12 * expected.abs().max(1.0),
            (got, expected) => got == expected,
        };
        assert!(agree, "p{percent} of {values:?} is {got:?}, wanted {expected:?}");
    }

    /// numpy.percentile(values, p), R quantile(type = 7).
    #[test]
    fn agrees_with_numpy_and_r() {
        let values = [15.0, 20.0, 35.0, 40.0, 50.0];
        check(&values, 0.0, Some(15.0));
        check(&values, 5.0, Some(16.0));
        check(&values, 30.0, Some(23.0));
        check(&values, 40.0, Some(29.0));
        check(&values, 50.0, Some(35.0));
        check(&values, 100.0, Some(50.0));
        check(&[3.0, 6.0, 7.0, 8.0, 8.0, 10.0, 13.0, 15.0, 16.0, 20.0], 25.0, Some(7.25));
        check(&[1.0, 2.0, 3.0, 4.0], 75.0, Some(3.25));
    }

    #[test]
    fn order_does_not_matter_and_extremes_do_not_overflow() {
        check(&[4.0, 1.0, 3.0, 2.0], 50.0, Some(2.5));
        check(&[], 50.0, None);
        check(&[7.0], 99.9, Some(7.0));
        check(&[f64::MAX, -f64::MAX], 50.0, Some(0.0));
        check(&[0.1, 0.1, 0.1], 33.3, Some(0.1));
    }
}
