//! Quantiles, medians and the median absolute deviation.
//!
//! Source: Hyndman and Fan, "Sample quantiles in statistical packages", type 7 (linear interpolation, numpy's default).

/// The factor that makes the median absolute deviation of normal data its standard deviation.
pub const MAD_TO_SD: f64 = 1.482_602_218_505_602;

/// The quantile of `values` at `share` (0 to 1, clamped), with linear interpolation; none without values.
///
/// The order of values that are not numbers is that of [`f64::total_cmp`].
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile_of_sorted(&sorted, share)
}

/// [`quantile`] of values that are in order.
#[must_use]
pub fn quantile_of_sorted(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let position = share * last as f64;
    let below = position.floor() as usize;
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    let part = position - below as f64;
    // Equal neighbours first: two infinities have no difference.
    Some(if low == high || part == 0.0 { low } else { low + (high - low) * part })
}

/// The median; none without values.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The median distance from `centre`, times [`MAD_TO_SD`]; none without values.
#[must_use]
pub fn deviation(values: &[f64], centre: f64) -> Option<f64> {
    let distances: Vec<f64> = values.iter().map(|value| (value - centre).abs()).collect();
    median(&distances).map(|median| median * MAD_TO_SD)
}
