//! The same answers from definitions alone: all samples of a bucket in a vector, time second by second.

use super::*;

/// The value and quality held during the second that begins at `second`.
pub(super) fn held(samples: &[Sample], hold: Hold, second: i64) -> Option<(f64, Quality)> {
    let latest = samples.iter().rfind(|sample| sample.time <= at(second))?;
    let age = at(second).micros_since(latest.time);
    let is_fresh = hold.max_micros.is_none_or(|max| age < max) && at(second) < hold.known_until;
    (is_fresh && latest.quality != Quality::Bad && latest.value.is_finite())
        .then_some((latest.value, latest.quality))
}

/// The value of an aggregate over the whole seconds of `part`.
pub(super) fn value(aggregate: Aggregate, all: &[Sample], hold: Hold, part: Span) -> Option<f64> {
    value_where(aggregate, all, hold, part, &|_| true)
}

/// The same over those seconds that `counts` says.
pub(super) fn value_where(
    aggregate: Aggregate,
    all: &[Sample],
    hold: Hold,
    part: Span,
    counts: &dyn Fn(Timestamp) -> bool,
) -> Option<f64> {
    let is_inside = |sample: &&Sample| part.contains(sample.time) && counts(sample.time);
    let inside: Vec<&Sample> = all.iter().filter(is_inside).collect();
    let numbers: Vec<(f64, f64)> = inside
        .iter()
        .filter(|sample| sample.number().is_some())
        .map(|sample| (sample.time.as_micros() as f64 / 1e6, sample.value))
        .collect();
    let mut sorted: Vec<f64> = numbers.iter().map(|(_, value)| *value).collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let mean = sorted.iter().sum::<f64>() / n;
    let seconds = part.start.as_micros() / 1_000_000..part.end.as_micros() / 1_000_000;
    let seconds = seconds.filter(|second| counts(at(*second)));
    let over_time: Vec<f64> =
        seconds.filter_map(|second| held(all, hold, second)).map(|(value, _)| value).collect();
    let per_second = |change: f64| {
        let (first, last) = (numbers.first()?, numbers.last()?);
        (numbers.len() > 1).then(|| change / (last.0 - first.0))
    };
    match aggregate {
        Aggregate::Min => sorted.first().copied(),
        Aggregate::Max => sorted.last().copied(),
        Aggregate::Range => Some(sorted.last()? - sorted.first()?),
        Aggregate::Avg => (n > 0.0).then_some(mean),
        Aggregate::Sum => (n > 0.0).then(|| sorted.iter().sum()),
        Aggregate::Count => Some(n),
        Aggregate::First => numbers.first().map(|(_, value)| *value),
        Aggregate::Last => numbers.last().map(|(_, value)| *value),
        Aggregate::Stddev => (n > 1.0)
            .then(|| (sorted.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()),
        Aggregate::Percentile(percent) => {
            let rank = percent.get() / 100.0 * (n - 1.0);
            let low = sorted.get(rank.floor() as usize)?;
            let high = sorted.get(rank.ceil() as usize)?;
            Some(low + (high - low) * rank.fract())
        }
        Aggregate::Derivative => per_second(numbers.last()?.1 - numbers.first()?.1),
        Aggregate::CounterRate => per_second(
            numbers
                .windows(2)
                .map(|pair| if pair[1].1 < pair[0].1 { pair[1].1 } else { pair[1].1 - pair[0].1 })
                .sum(),
        ),
        Aggregate::Twa => {
            (!over_time.is_empty()).then(|| over_time.iter().sum::<f64>() / over_time.len() as f64)
        }
        Aggregate::Integral => (!over_time.is_empty()).then(|| over_time.iter().sum::<f64>() / 3600.0),
        Aggregate::GoodShare => (!inside.is_empty()).then(|| {
            let good = inside.iter().filter(|s| s.number().is_some() && s.quality == Quality::Good).count();
            good as f64 / inside.len() as f64
        }),
    }
}

/// How many samples of `part` have a value, and how many have none.
pub(super) fn counts(all: &[Sample], part: Span) -> (u64, u64) {
    let inside = all.iter().filter(|sample| part.contains(sample.time));
    inside.fold((0, 0), |(count, excluded), sample| match sample.number() {
        Some(_) => (count + 1, excluded),
        None => (count, excluded + 1),
    })
}

/// The worst quality that goes into an aggregate over `part`.
pub(super) fn quality(aggregate: Aggregate, all: &[Sample], hold: Hold, part: Span) -> Option<Quality> {
    if aggregate.is_time_weighted() {
        let seconds = part.start.as_micros() / 1_000_000..part.end.as_micros() / 1_000_000;
        seconds.filter_map(|second| held(all, hold, second)).map(|(_, quality)| quality).max()
    } else {
        let inside = all.iter().filter(|sample| part.contains(sample.time) && sample.number().is_some());
        inside.map(|sample| sample.quality).max()
    }
}
