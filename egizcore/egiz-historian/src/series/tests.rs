//! The arithmetic of series, held against known answers and against models that reckon another way.

mod aggregates;
mod calendar;
mod chart;
mod naive;
mod states;
mod summaries;
mod within;

use egiz_model::{Quality, Timestamp};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(second)
}

fn span(start: i64, end: i64) -> Span {
    Span::new(at(start), at(end))
}

fn moment(text: &str) -> Timestamp {
    Timestamp::parse(text).expect(text)
}

/// From the rules that are built in, so that a machine without any gives the same answers.
fn zone(name: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(name).expect("the rules are built in")
}

fn buckets(asked: Span, resolution: &str) -> Buckets {
    Buckets::new(asked, resolution.parse().expect(resolution), TimeZone::UTC).expect("few")
}

/// Reads `0=1.5 10=2? 20=3!`: second, value, and a mark for uncertain or bad.
fn samples(text: &str) -> Vec<Sample> {
    text.split_whitespace()
        .map(|word| {
            let (second, value) = word.split_once('=').expect("second=value");
            let quality = match value.bytes().last() {
                Some(b'?') => Quality::Uncertain,
                Some(b'!') => Quality::Bad,
                _ => Quality::Good,
            };
            let value = value.trim_end_matches(['?', '!']).parse().expect("a number");
            Sample { time: at(second.parse().expect("a second")), value, quality }
        })
        .collect()
}

fn pieces(samples: &[Sample]) -> Vec<Piece> {
    samples.iter().copied().map(Piece::from).collect()
}

fn any_quality() -> impl Strategy<Value = Quality> {
    prop_oneof![6 => Just(Quality::Good), 1 => Just(Quality::Uncertain), 1 => Just(Quality::Bad)]
}

/// Samples at whole seconds from 60 s before 0 to about 600 s, some bad and some no numbers.
fn any_samples() -> impl Strategy<Value = Vec<Sample>> {
    let value = prop_oneof![8 => -50.0..50.0_f64, 4 => (-3..4_i32).prop_map(f64::from), 1 => Just(f64::NAN),
        1 => Just(f64::INFINITY)];
    prop::collection::vec((1..40_i64, value, any_quality()), 0..40).prop_map(|steps| {
        let mut second = -60;
        steps
            .into_iter()
            .map(|(step, value, quality)| {
                second += step;
                Sample { time: at(second), value, quality }
            })
            .collect()
    })
}

fn any_hold() -> impl Strategy<Value = Hold> {
    let max = prop_oneof![Just(None), (0..60_i64).prop_map(|seconds| Some(seconds * 1_000_000))];
    let until = prop_oneof![Just(Timestamp::MAX), (-20..700_i64).prop_map(at)];
    (max, until).prop_map(|(max_micros, known_until)| Hold { max_micros, known_until })
}

fn any_range() -> impl Strategy<Value = Span> {
    (-30..300_i64, 1..400_i64).prop_map(|(start, length)| span(start, start + length))
}

fn is_close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}

fn are_close(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => is_close(a, b),
        (a, b) => a == b,
    }
}
