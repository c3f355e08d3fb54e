//! A Thing's numbers in order of time, each stretch from where it is: samples, or the rollups that stand for them.
//!
//! Who asks says what rollups are good for ([`Fit`]). Where they are not, or where only some stretches of the range count,
//! everything comes as samples, as long as there are any.

use std::sync::Arc;

use egiz_historian::series::{Piece, Rollup, RollupLength, Sample};
use egiz_model::{Quality, Timestamp};

use super::buckets::{Of, each_number};
use super::selection::{Key, Selection};
use super::walk::Walk;
use crate::error::ApiError;

/// Rollups are read for so long at a time.
const READ_MICROS: i64 = 92 * 86_400_000_000;
/// How far back a value is looked for that was held when a range began of which only rollups are left.
const BACK_MICROS: i64 = 32 * 86_400_000_000;

/// What rollups are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fit {
    /// Rollups so long will do.
    pub(super) length: RollupLength,
    /// Samples are better as long as they are there.
    pub(super) prefers_samples: bool,
}

/// Some numbers of one property, in order of time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pieces<'a> {
    Samples(&'a [Sample]),
    Rollups(&'a [Rollup]),
}

impl Pieces<'_> {
    /// Whether there is any number in them.
    pub(super) fn has_numbers(&self) -> bool {
        match self {
            Self::Samples(samples) => samples.iter().any(|sample| sample.number().is_some()),
            Self::Rollups(rollups) => rollups.iter().any(|rollup| rollup.summary.count > 0),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Piece> {
        let (samples, rollups): (&[Sample], &[Rollup]) = match self {
            Self::Samples(samples) => (samples, &[]),
            Self::Rollups(rollups) => (&[], rollups),
        };
        samples.iter().copied().map(Piece::from).chain(rollups.iter().copied().map(Piece::from))
    }
}

/// Gives the numbers of each property and item, in order of time for each; what lies before the range first, where it is
/// looked at.
///
/// # Errors
/// `unavailable`; those of `each`.
pub(super) fn each_piece(
    walk: &Walk,
    of: &Of<'_>,
    fit: Option<Fit>,
    looks_back: bool,
    mut each: impl FnMut(&Key, Pieces<'_>) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let stretches = match fit {
        Some(fit) if of.within.is_none() => {
            walk.historian().stretches(of.thing, of.range.0, of.range.1, fit.prefers_samples)
        }
        _ => Vec::new(),
    };
    let Some(fit) = fit.filter(|_| stretches.iter().any(|stretch| stretch.is_rolled)) else {
        return each_number(walk, of, looks_back, |key, samples| each(key, Pieces::Samples(samples)));
    };
    if looks_back && stretches[0].is_rolled {
        carried(walk, of, fit, &mut each)?;
    }
    for (number, stretch) in stretches.iter().enumerate() {
        let (begin, end) = (stretch.span.start, stretch.span.end);
        if stretch.is_rolled {
            each_rollup(
                walk,
                of,
                (begin, end),
                fit,
                |_, _| true,
                |key, rollups| each(key, Pieces::Rollups(rollups)),
            )?;
        } else {
            let of = Of { range: (begin, end), ..*of };
            each_number(walk, &of, looks_back && number == 0, |key, samples| {
                each(key, Pieces::Samples(samples))
            })?;
        }
    }
    Ok(())
}

/// Gives what was held when a range began whose first stretch is rolled: from samples, or from what is left of them.
fn carried(
    walk: &Walk,
    of: &Of<'_>,
    fit: Fit,
    each: &mut impl FnMut(&Key, Pieces<'_>) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let begin = of.range.0;
    let mut known: Vec<Key> = Vec::new();
    let of_nothing = Of { range: (begin, begin), ..*of };
    each_number(walk, &of_nothing, true, |key, samples| {
        known.push(key.clone());
        each(key, Pieces::Samples(samples))
    })?;
    // As long as there are samples, all is known by now, and nothing more is read.
    let is_missing = |feature: &str, property: &str| {
        !known.iter().any(|key| *key.feature == *feature && *key.property == *property)
    };
    let before = (begin.plus_micros(-BACK_MICROS), begin);
    each_rollup(walk, of, before, fit, is_missing, |key, rollups| match rollups.last() {
        Some(last) => each(key, Pieces::Rollups(std::slice::from_ref(last))),
        None => Ok(()),
    })
}

fn each_rollup(
    walk: &Walk,
    of: &Of<'_>,
    (from, to): (Timestamp, Timestamp),
    fit: Fit,
    also_wanted: impl Fn(&str, &str) -> bool,
    mut each: impl FnMut(&Key, &[Rollup]) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let mut begin = from;
    while begin < to {
        walk.go_on()?;
        let end = begin.plus_micros(READ_MICROS).min(to);
        let wanted = |feature: &str, property: &str| {
            of.selection.wants(feature, property) && also_wanted(feature, property)
        };
        let rolled = walk.historian().rolled(of.thing, begin, end, fit.length, wanted)?;
        for (feature, property, item, rollups) in rolled.iter() {
            if is_wanted(of.selection, feature, property, item) {
                let key = Key { feature: Arc::clone(feature), property: Arc::clone(property), item };
                each(&key, rollups)?;
            }
        }
        begin = end;
    }
    Ok(())
}

fn is_wanted(selection: &Selection, feature: &str, property: &str, item: Option<u8>) -> bool {
    selection.wants_whole(feature, property)
        || item.is_some_and(|item| selection.items(feature, property).any(|wanted| wanted == item))
}

/// The samples that are left of rollups: the first, the least, the greatest and the last of each; a bad one where there was no
/// number.
pub(super) fn left_of(rollups: &[Rollup]) -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::with_capacity(rollups.len() * 4);
    for rollup in rollups {
        let summary = &rollup.summary;
        if summary.count == 0 {
            samples.push(Sample { time: rollup.begins, value: 0.0, quality: Quality::Bad });
            continue;
        }
        let quality = if summary.good < summary.count { Quality::Uncertain } else { Quality::Good };
        let mut of_rollup: Vec<Sample> = [summary.first, summary.min, summary.max, summary.last]
            .into_iter()
            .flatten()
            .map(|at| Sample { time: at.time, value: at.value, quality })
            .collect();
        of_rollup.sort_by_key(|sample| sample.time);
        // Times of extremes are known to the minute: two of them at one time are put beside each other.
        let mut free = rollup.span.start;
        for mut sample in of_rollup {
            let is_known = samples.last().is_some_and(|last| {
                last.time >= rollup.span.start && last.time == sample.time && last.value == sample.value
            });
            if !is_known {
                sample.time = sample.time.max(free);
                free = sample.time.plus_micros(1);
                samples.push(sample);
            }
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use egiz_historian::series::roll;

    use super::*;

    /// Samples of seconds and values, and what is left of their quarter hours.
    fn left(samples: &[(i64, f64)]) -> Vec<(i64, f64)> {
        let samples = samples
            .iter()
            .map(|(second, value)| Piece::from(Sample::good(Timestamp::from_seconds(*second), *value)));
        let left = left_of(&roll(samples, RollupLength::Quarter.micros()));
        assert!(left.is_sorted_by(|a, b| a.time < b.time), "{left:?}");
        left.iter().map(|sample| (sample.time.as_micros() / 1_000_000, sample.value)).collect()
    }

    #[test]
    fn four_samples_of_a_quarter_hour_are_left_and_each_once() {
        assert_eq!(left(&[(0, 5.0)]), [(0, 5.0)]);
        assert_eq!(left(&[(0, 5.0), (10, 7.0)]), [(0, 5.0), (10, 7.0)]);
        let five = [(0, 5.0), (10, 9.0), (20, 6.0), (30, 1.0), (40, 3.0)];
        assert_eq!(left(&five), [(0, 5.0), (10, 9.0), (30, 1.0), (40, 3.0)]);
        assert_eq!(left(&[(0, 1.0), (899, 2.0), (900, 3.0)]), [(0, 1.0), (899, 2.0), (900, 3.0)]);
    }

    #[test]
    fn where_there_was_no_number_the_line_breaks() {
        let time = Timestamp::from_seconds(7);
        let bad = Piece::from(Sample { time, value: 0.0, quality: Quality::Bad });
        let left = left_of(&roll([bad], RollupLength::Quarter.micros()));
        assert_eq!(left, [Sample { time, value: 0.0, quality: Quality::Bad }]);
    }
}
