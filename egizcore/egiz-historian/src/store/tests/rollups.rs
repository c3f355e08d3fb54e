//! Rollups against the samples that they stand for: over days, months, late data, restarts, and when the samples are gone.

use jiff::tz::TimeZone;

use super::*;
use crate::series::RollupLength::{self, Hour, Quarter};
use crate::series::{Aggregate, Buckets, Hold, Numbers, Piece, Sample, Span, Stream};

impl Plant {
    /// A property's samples and rollups, each stretch from where it is.
    fn pieces(&self, thing: &str, range: Span, length: RollupLength, prefers_samples: bool) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let stretches = self.historian.stretches(thing, range.start, range.end, prefers_samples);
        assert!(stretches.windows(2).all(|pair| pair[0].span.end == pair[1].span.start));
        assert_eq!(
            stretches.first().zip(stretches.last()).map(|(a, b)| (a.span.start, b.span.end)),
            Some((range.start, range.end))
        );
        for stretch in stretches {
            let Span { start, end } = stretch.span;
            if stretch.is_rolled {
                let rolled = self.historian.rolled(thing, start, end, length, |_, name| name == "x");
                let rolled = rolled.expect("readable");
                let of_x = rolled.iter().find(|(_, name, item, _)| (&***name, *item) == ("x", None));
                pieces.extend(of_x.into_iter().flat_map(|(.., rollups)| rollups).copied().map(Piece::from));
            } else {
                let rows = self.historian.read(thing, start, end, |_, name| name == "x").expect("readable");
                pieces.extend(rows.samples("f", "x", None).into_iter().map(Piece::from));
            }
        }
        pieces
    }
}

fn range(days: i64) -> Span {
    Span::new(Timestamp::from_seconds(BEGIN_S), Timestamp::from_seconds(BEGIN_S + days * DAY_S))
}

fn reckoned(pieces: Vec<Piece>, range: Span, resolution: &str, aggregate: &str) -> Vec<Option<f64>> {
    let buckets = Buckets::new(range, resolution.parse().expect("known"), TimeZone::UTC).expect("few");
    let aggregate: Aggregate = aggregate.parse().expect("known");
    let hold = Hold { max_micros: None, known_until: range.end };
    let buckets = Stream::new(buckets, Numbers::new(aggregate, hold)).run(pieces).expect("in order");
    buckets.into_iter().map(|bucket| bucket.value).collect()
}

fn check_same(got: &[Option<f64>], expected: &[Option<f64>], tolerance: f64, what: &str) {
    assert_eq!(got.len(), expected.len());
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        let is_same = match (got, expected) {
            (Some(got), Some(expected)) => (got - expected).abs() <= tolerance * (1.0 + expected.abs()),
            (got, expected) => got == expected,
        };
        assert!(is_same, "{what}, bucket {index}: {got:?}, wanted {expected:?}");
    }
}

/// How far each aggregate may be off, for values in tenths.
const AGGREGATES: [(&str, f64); 8] = [
    ("min", 0.0),
    ("max", 0.0),
    ("first", 0.0),
    ("last", 0.0),
    ("count", 0.0),
    ("avg", 1e-12),
    ("twa", 1e-3),
    ("stddev", 2e-3),
];

fn samples_of(said: &BTreeMap<i64, f64>) -> Vec<Piece> {
    let samples = said.iter().map(|(second, value)| Sample::good(Timestamp::from_seconds(*second), *value));
    samples.map(Piece::from).collect()
}

#[test]
fn long_ranges_are_answered_when_the_samples_are_gone() {
    let days = 70;
    let settings = Settings { retention_days: 3, ..Settings::default() };
    let mut plant = Plant::new(settings.clone());
    let mut said = BTreeMap::new();
    for day in 0..days {
        for step in 0..96 {
            let second = BEGIN_S + day * DAY_S + step * 900 + 7 * (step % 11);
            let value = ((day * 96 + step) as f64 * 0.37).sin();
            let value = (value * 500.0).round() / 10.0;
            plant.say("a:b", second, "x", value);
            said.insert(second, value);
        }
        plant.seal(BEGIN_S + (day + 1) * DAY_S);
        plant.maintain(BEGIN_S + (day + 1) * DAY_S + 3600);
    }
    let names: Vec<String> = plant.historian.files().collect();
    let of_kind = |kind: &str| names.iter().filter(|name| name.contains(kind)).count();
    // March and April are over, ten days of May are not.
    assert_eq!((of_kind("_1h_"), of_kind("_15m_")), (2, 2 + 9), "{names:?}");
    assert!(names.iter().any(|name| name.starts_with("2026-03_1h_family_")), "{names:?}");
    let all = range(days);
    let stretches = plant.historian.stretches("a:b", all.start, all.end, false);
    assert_eq!(stretches.len(), 1, "all days are rolled");
    let kept = plant.numbers("a:b", BEGIN_S, BEGIN_S + days * DAY_S, "x");
    assert_eq!(kept.len(), 3 * 96);
    for is_reopened in [false, true] {
        if is_reopened {
            assert_eq!(
                plant.reopen(settings.clone()),
                Recovery { parts: names.len(), ..Recovery::default() }
            );
        }
        for (resolution, length) in [("15m", Quarter), ("1h", Quarter), ("1h", Hour), ("1d", Hour)] {
            for prefers_samples in [false, true] {
                let pieces = plant.pieces("a:b", all, length, prefers_samples);
                for (aggregate, tolerance) in AGGREGATES {
                    let got = reckoned(pieces.clone(), all, resolution, aggregate);
                    let expected = reckoned(samples_of(&said), all, resolution, aggregate);
                    check_same(&got, &expected, tolerance, &format!("{aggregate} of {resolution}"));
                }
            }
        }
    }
}

#[test]
fn what_comes_late_is_in_the_rollups_of_its_day_and_month() {
    let mut plant = Plant::new(Settings { retention_days: 100, ..Settings::default() });
    let mut said = BTreeMap::new();
    let say = |plant: &mut Plant, said: &mut BTreeMap<i64, f64>, second: i64, value: f64| {
        plant.say("a:b", BEGIN_S + second, "x", value);
        said.insert(BEGIN_S + second, value);
    };
    for day in 0..40 {
        say(&mut plant, &mut said, day * DAY_S + 10, day as f64);
    }
    let all = range(41);
    let now = BEGIN_S + 41 * DAY_S + 7200;
    for late in [None, Some(5 * DAY_S + 4), Some(6 * DAY_S + 7000), Some(12 * DAY_S), Some(35 * DAY_S)] {
        if let Some(second) = late {
            say(&mut plant, &mut said, second, 77.5);
        }
        for step in ["in memory", "sealed", "rolled"] {
            match step {
                "sealed" => plant.seal(now),
                "rolled" => plant.maintain(now),
                _ => {}
            }
            let rolled = plant.historian.stretches("a:b", all.start, all.end, false);
            let rolled: i64 = rolled
                .iter()
                .filter(|stretch| stretch.is_rolled)
                .map(|stretch| stretch.span.micros() / 1_000_000 / DAY_S)
                .sum();
            let expected = match (late, step) {
                (None, "in memory" | "sealed") => 0,
                (Some(_), "in memory" | "sealed") => 39,
                _ => 40,
            };
            assert_eq!(rolled, expected, "{late:?} {step}");
            for length in [Quarter, Hour] {
                let got = reckoned(plant.pieces("a:b", all, length, false), all, "1h", "sum");
                let expected = reckoned(samples_of(&said), all, "1h", "sum");
                check_same(&got, &expected, 1e-12, &format!("{late:?} {step}"));
            }
        }
    }
}

/// A day of which only rollups are left takes nothing more: they could not be made anew.
#[test]
fn what_comes_after_the_samples_went_for_want_of_room_is_counted_and_changes_nothing() {
    let settings = Settings::default();
    let mut plant = Plant::new(settings.clone());
    for day in 0..6 {
        plant.say("a:b", BEGIN_S + day * DAY_S, "x", 1.0);
        plant.seal(BEGIN_S + day * DAY_S + 10);
    }
    let now = BEGIN_S + 5 * DAY_S + 7200;
    plant.maintain(now);
    let status = plant.historian.status();
    plant.reopen(Settings { disk_budget: Some(status.disk_bytes * 3 / 4), ..settings });
    plant.maintain(now);
    assert_eq!(plant.numbers("a:b", BEGIN_S, BEGIN_S + DAY_S, "x"), []);
    plant.say("a:b", BEGIN_S + 60, "x", 9.0);
    plant.seal(now);
    plant.maintain(now);
    assert_eq!(plant.historian.status().counts.rows_expired, 1);
    let count = reckoned(plant.pieces("a:b", range(1), Quarter, false), range(1), "1d", "sum");
    assert_eq!(count, [Some(1.0)]);
}

#[test]
fn a_things_rollups_of_two_templates_are_one() {
    let mut plant = Plant::new(Settings::default());
    for (minute, family) in [(0, "old"), (4, "old"), (8, "new"), (30, "new")] {
        let time = Timestamp::from_seconds(BEGIN_S + minute * 60);
        let mut intake = plant.historian.intake();
        let mut row = intake.row("a:b", family, time, time);
        row.set("f", "x", &ValueRef::Int(minute), Quality::Good, QualityReason::None);
        drop(row);
        intake.done(plant.next);
        plant.next += 1;
    }
    let now = BEGIN_S + 2 * DAY_S;
    plant.seal(now);
    plant.maintain(now);
    let day = range(1);
    let rolled = plant.historian.rolled("a:b", day.start, day.end, Quarter, |_, _| true).expect("readable");
    assert_eq!(rolled.iter().map(|(.., rollups)| rollups.len()).collect::<Vec<_>>(), [2]);
    let expected = (4.0 * 4.0 * 60.0 + 8.0 * 7.0 * 60.0) / 900.0;
    check_same(
        &reckoned(plant.pieces("a:b", day, Quarter, false), day, "15m", "twa")[..1],
        &[Some(expected)],
        1e-9,
        "the first quarter hour",
    );
}

/// Texts have none, lists one for each item, and a sensor that was bad all day has one that says so.
#[test]
fn what_has_numbers_has_rollups() {
    let mut plant = Plant::new(Settings::default());
    let said =
        [("word", json!("on")), ("zones", json!([1.5, 2.5])), ("dead", json!(null)), ("x", json!(true))];
    for (second, (name, value)) in (0..).zip(&said) {
        plant.say_value("a:b", BEGIN_S + second, name, value);
    }
    let now = BEGIN_S + 2 * DAY_S;
    plant.seal(now);
    plant.maintain(now);
    let day = range(1);
    let rolled = plant.historian.rolled("a:b", day.start, day.end, Quarter, |_, _| true).expect("readable");
    let found: Vec<_> = rolled
        .iter()
        .map(|(_, name, item, rollups)| {
            (name.to_string(), item, rollups[0].summary.count, rollups[0].summary.sum)
        })
        .collect();
    let expected = [
        ("dead".to_owned(), None, 0, 0.0),
        ("zones".to_owned(), Some(0), 1, 1.5),
        ("zones".to_owned(), Some(1), 1, 2.5),
    ];
    assert_eq!(found, expected);
}

/// A damaged file holds up nothing but what is to be made of it.
#[test]
fn a_damaged_day_is_left_alone_and_goes_when_its_time_comes() {
    let settings = Settings { retention_days: 5, ..Settings::default() };
    let mut plant = Plant::new(settings.clone());
    for day in 0..2 {
        plant.say("a:b", BEGIN_S + day * DAY_S, "x", day as f64);
        plant.seal(BEGIN_S + day * DAY_S + 10);
    }
    let mut paths: Vec<_> = plant.historian.files().map(|name| plant.folder.path().join(name)).collect();
    paths.sort();
    let mut bytes = std::fs::read(&paths[0]).expect("readable");
    // All that is no footer.
    let tail = bytes.len() - 8;
    let footer = u32::from_le_bytes(bytes[tail..tail + 4].try_into().expect("four")) as usize;
    bytes[4..tail - footer].iter_mut().for_each(|byte| *byte ^= 1);
    std::fs::write(&paths[0], bytes).expect("written");
    plant.reopen(settings);
    let now = Timestamp::from_seconds(BEGIN_S + 2 * DAY_S + 7200);
    let failed =
        std::iter::repeat_with(|| plant.historian.maintain(now)).take(20).filter(Result::is_err).count();
    assert!((1..=19).contains(&failed), "it is said, and the rest is done: {failed}");
    let stretches = plant.historian.stretches("a:b", range(2).start, range(2).end, false);
    assert_eq!(stretches.iter().map(|stretch| stretch.is_rolled).collect::<Vec<_>>(), [false, true]);
}

#[derive(Debug, Clone)]
enum Step {
    Say { thing: usize, hours_ago: i64, second: i64, tenths: i32 },
    Advance { hours: i64 },
    Seal,
    Maintain,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let hours_ago = prop_oneof![6 => 0_i64..24, 2 => 0_i64..24 * 12];
    let say = (0_usize..2, hours_ago, 0_i64..3600, -500_i32..500)
        .prop_map(|(thing, hours_ago, second, tenths)| Step::Say { thing, hours_ago, second, tenths });
    let step = prop_oneof![
        10 => say,
        3 => (1_i64..40).prop_map(|hours| Step::Advance { hours }),
        2 => Just(Step::Seal),
        2 => Just(Step::Maintain),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..160)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whenever what is said, sealed, rolled and dropped: answers are those of everything that was kept in its time.
    #[test]
    fn answers_of_rollups_agree_with_a_map(steps in steps()) {
        const THINGS: [&str; 2] = ["a:one", "a:two"];
        let settings = Settings { retention_days: 5, parts_to_merge: 2, ..Settings::default() };
        let mut plant = Plant::new(settings.clone());
        let mut said: [BTreeMap<i64, f64>; 2] = Default::default();
        let mut unsealed: Vec<(usize, i64, f64)> = Vec::new();
        let mut now = BEGIN_S + 13 * DAY_S;
        let take = |said: &mut [BTreeMap<i64, f64>; 2], unsealed: &mut Vec<(usize, i64, f64)>, now: i64| {
            for (thing, second, value) in unsealed.drain(..) {
                if second.div_euclid(DAY_S) >= now.div_euclid(DAY_S) - 5 {
                    said[thing].insert(second, value);
                }
            }
        };
        for step in steps {
            match step {
                Step::Say { thing, hours_ago, second, tenths } => {
                    let (second, value) = (now - hours_ago * 3600 - second, f64::from(tenths) / 10.0);
                    plant.say(THINGS[thing], second, "x", value);
                    unsealed.push((thing, second, value));
                }
                Step::Advance { hours } => now += hours * 3600,
                Step::Seal => {
                    plant.seal(now);
                    take(&mut said, &mut unsealed, now);
                }
                Step::Maintain => plant.maintain(now),
                Step::Reopen => {
                    prop_assert!(plant.reopen(settings.clone()).lost.is_empty());
                    plant.next = plant.historian.sealed_before();
                    for (thing, second, value) in unsealed.clone() {
                        plant.say(THINGS[thing], second, "x", value);
                    }
                }
            }
        }
        plant.seal(now);
        take(&mut said, &mut unsealed, now);
        let days = (now - BEGIN_S) / DAY_S + 1;
        let all = range(days);
        for is_maintained in [false, true] {
            if is_maintained {
                plant.maintain(now);
            }
            for (thing, said) in THINGS.into_iter().zip(&said) {
                for (resolution, length) in [("15m", Quarter), ("1h", Hour), ("1d", Quarter)] {
                    let pieces = plant.pieces(thing, all, length, false);
                    for (aggregate, tolerance) in AGGREGATES {
                        let got = reckoned(pieces.clone(), all, resolution, aggregate);
                        let expected = reckoned(samples_of(said), all, resolution, aggregate);
                        check_same(&got, &expected, tolerance, &format!("{aggregate} of {resolution}"));
                    }
                }
            }
        }
    }
}

/// A value measured to the microsecond, and many of them, come back as they were summed up.
#[test]
fn a_quarter_hour_is_the_same_before_and_after_it_is_written() {
    let mut plant = Plant::new(Settings::default());
    let mut samples = Vec::new();
    for step in 0..500_i64 {
        let time = Timestamp::from_micros(BEGIN_S * 1_000_000 + step * 7_654_321);
        let value = (step as f64).sqrt();
        let mut intake = plant.historian.intake();
        let mut row = intake.row("a:b", "family", time, time);
        row.set("f", "x", &ValueRef::Float(value), Quality::Good, QualityReason::None);
        drop(row);
        intake.done(plant.next);
        plant.next += 1;
        samples.push(Piece::from(Sample::good(time, value)));
    }
    plant.seal(BEGIN_S + DAY_S);
    plant.maintain(BEGIN_S + 2 * DAY_S);
    let day = range(1);
    let rolled = plant.historian.rolled("a:b", day.start, day.end, Quarter, |_, _| true).expect("readable");
    let [(.., got)] = rolled.iter().collect::<Vec<_>>()[..] else { panic!("one property") };
    let expected = crate::series::roll(samples, Quarter.micros());
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(&expected) {
        let (a, b) = (got.summary, expected.summary);
        assert_eq!((got.held, a.count, a.sum), (expected.held, b.count, b.sum));
        let is_close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + b.abs());
        let twa = |summary: crate::series::Summary| summary.integral / summary.covered_micros as f64;
        assert!(is_close(twa(a), twa(b)), "{} {}", twa(a), twa(b));
        assert!(is_close(a.squared_deviations, b.squared_deviations));
    }
}
