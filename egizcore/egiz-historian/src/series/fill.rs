//! What stands in buckets that have no value.
//!
//! A bucket that was filled shows it: nothing went into it, so its quality stays `None`. `count` is 0 in an empty bucket,
//! which is a value, so there is nothing to fill.
//!
//! # Source
//! The words of InfluxQL's `fill()`; as there, `linear` and `previous` look only at the buckets of the answer.

use std::fmt;
use std::str::FromStr;

use egiz_model::Timestamp;

use super::Bucket;
use super::percentile::between;

/// What stands in buckets that have no value.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Fill {
    /// Such buckets are left out.
    None,
    /// No value.
    #[default]
    Null,
    /// The value of the last bucket before that has one; no value before the first of them.
    Previous,
    /// The straight line between the neighbours that have a value, by where buckets begin; no value outside of them.
    Linear,
    /// This number, which is finite.
    Number(f64),
}

/// Why a text is no filling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a way to fill: allowed are none, null, previous, linear and a finite number")]
pub struct InvalidFill {
    text: String,
}

/// Fills the buckets that have no value, or removes them. They ascend by time.
pub fn fill(buckets: &mut Vec<Bucket>, how: Fill) {
    match how {
        Fill::None => buckets.retain(|bucket| bucket.value.is_some()),
        Fill::Null => {}
        Fill::Previous => {
            let mut previous = None;
            for bucket in buckets {
                bucket.value = bucket.value.or(previous);
                previous = bucket.value;
            }
        }
        Fill::Linear => fill_linearly(buckets),
        Fill::Number(number) => {
            buckets.iter_mut().for_each(|bucket| bucket.value = bucket.value.or(Some(number)));
        }
    }
}

fn fill_linearly(buckets: &mut [Bucket]) {
    let mut known: Option<(usize, f64)> = None;
    for right in 0..buckets.len() {
        let Some(to) = buckets[right].value else { continue };
        if let Some((left, from)) = known {
            let (start, end) = (buckets[left].start, buckets[right].start);
            for bucket in &mut buckets[left + 1..right] {
                bucket.value = Some(between(from, to, share(start, bucket.start, end)));
            }
        }
        known = Some((right, to));
    }
}

/// How far `time` is on the way from `start` to `end`, 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
fn share(start: Timestamp, time: Timestamp, end: Timestamp) -> f64 {
    time.micros_since(start) as f64 / end.micros_since(start) as f64
}

impl FromStr for Fill {
    type Err = InvalidFill;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "none" => Self::None,
            "null" => Self::Null,
            "previous" => Self::Previous,
            "linear" => Self::Linear,
            number => match number.parse::<f64>() {
                Ok(number) if number.is_finite() => Self::Number(number),
                _ => return Err(InvalidFill { text: text.chars().take(40).collect() }),
            },
        })
    }
}

impl fmt::Display for Fill {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Null => formatter.write_str("null"),
            Self::Previous => formatter.write_str("previous"),
            Self::Linear => formatter.write_str("linear"),
            Self::Number(number) => write!(formatter, "{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One bucket a second; each letter is a value, `.` is none.
    fn check(values: &[Option<f64>], how: Fill, expected: &[Option<f64>]) {
        let mut buckets: Vec<Bucket> =
            (0..).zip(values).map(|(second, value)| bucket(second, *value)).collect();
        fill(&mut buckets, how);
        let filled: Vec<Option<f64>> = buckets.iter().map(|bucket| bucket.value).collect();
        assert_eq!(filled, expected, "{how}");
    }

    fn bucket(second: i64, value: Option<f64>) -> Bucket {
        Bucket {
            start: Timestamp::from_seconds(second),
            end: Timestamp::from_seconds(second + 1),
            value,
            count: value.is_some().into(),
            excluded: 0,
            quality: None,
            is_partial: false,
        }
    }

    #[test]
    fn each_way_fills_as_it_says() {
        let values = [None, Some(1.0), None, None, Some(4.0), None];
        check(&values, Fill::None, &[Some(1.0), Some(4.0)]);
        check(&values, Fill::Null, &values);
        check(&values, Fill::Previous, &[None, Some(1.0), Some(1.0), Some(1.0), Some(4.0), Some(4.0)]);
        check(&values, Fill::Linear, &[None, Some(1.0), Some(2.0), Some(3.0), Some(4.0), None]);
        check(&values, Fill::Number(0.5), &[0.5, 1.0, 0.5, 0.5, 4.0, 0.5].map(Some));
        check(&[None, None], Fill::Linear, &[None, None]);
        check(&[], Fill::Previous, &[]);
    }

    #[test]
    fn a_line_between_extremes_does_not_overflow() {
        check(
            &[Some(f64::MAX), None, Some(-f64::MAX)],
            Fill::Linear,
            &[Some(f64::MAX), Some(0.0), Some(-f64::MAX)],
        );
    }

    #[test]
    fn a_line_is_straight_over_buckets_of_different_length() {
        let mut buckets = vec![bucket(0, Some(0.0)), bucket(23, None), bucket(48, Some(48.0))];
        fill(&mut buckets, Fill::Linear);
        assert_eq!(buckets[1].value, Some(23.0));
    }

    #[test]
    fn words_go_both_ways() {
        for text in ["none", "null", "previous", "linear", "0", "-1.5"] {
            assert_eq!(text.parse::<Fill>().map(|fill| fill.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "NaN", "inf", "1e999", "Linear", "zero"] {
            let error = text.parse::<Fill>().expect_err(text).to_string();
            assert!(error.contains("none, null, previous, linear"), "{error}");
        }
    }
}
