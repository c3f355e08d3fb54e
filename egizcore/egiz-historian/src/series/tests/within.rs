//! What counts only within some stretches, held against the same done second by second.

use super::aggregates::ALL;
use super::*;

/// The two one-minute buckets from 0, of what lies within the stretches.
fn check(aggregate: &str, text: &str, stretches: &[(i64, i64)], expected: [Option<f64>; 2]) {
    let numbers = Numbers::new(aggregate.parse().expect(aggregate), Hold::default());
    let numbers = numbers.within(Some(within(stretches)));
    let got = Stream::new(buckets(span(0, 120), "1m"), numbers)
        .run(samples(text).into_iter().map(Piece::from))
        .expect("in order");
    let values: Vec<Option<f64>> = got.iter().map(|bucket| bucket.value).collect();
    assert!(values.iter().zip(expected).all(|(a, b)| are_close(*a, b)), "{aggregate} of {text}: {values:?}");
}

fn within(stretches: &[(i64, i64)]) -> Within {
    Within::new(stretches.iter().map(|(start, end)| span(*start, *end)).collect())
}

#[test]
fn a_value_from_before_a_stretch_is_held_into_it_and_none_out_of_it() {
    check("twa", "-30=10 15=20 30=0", &[(10, 20)], [Some(15.0), None]);
    check("integral", "0=3600", &[(50, 70)], [Some(10.0), Some(10.0)]);
    check("count", "0=1 10=1 20=1 59=1 60=1", &[(10, 20), (55, 120)], [Some(2.0), Some(1.0)]);
    check("twa", "0=7 5=9!", &[(10, 20)], [None, None]);
    check("max", "0=5 30=9", &[], [None, None]);
}

#[test]
fn a_rollup_counts_wholly_or_not_at_all() {
    let pieces = || {
        roll(samples("0=1 20=2 70=3 100=4").into_iter().map(Piece::from), 60_000_000)
            .into_iter()
            .map(Piece::from)
    };
    let count = |stretches: &[(i64, i64)]| {
        let numbers = Numbers::new(Aggregate::Count, Hold::default()).within(Some(within(stretches)));
        Stream::new(Buckets::whole(span(0, 120)).expect("a range"), numbers).run(pieces())
    };
    assert_eq!(count(&[(60, 120)]).expect("whole")[0].value, Some(2.0));
    assert_eq!(count(&[(130, 140)]).expect("none")[0].value, Some(0.0));
    assert_eq!(count(&[(30, 120)]), Err(StreamError::CutRollup { start: at(0) }));
}

#[test]
fn states_last_within_a_stretch_only() {
    let state =
        |second, text| State { time: at(second), value: StateValue::Text(text), quality: Quality::Good };
    let states = States::new(Hold::default()).within(Some(within(&[(10, 30), (50, 55)])));
    let given = [state(-5, "run"), state(20, "idle"), state(40, "fault"), state(52, "run")];
    let got =
        Stream::new(Buckets::whole(span(0, 60)).expect("a range"), states).run(given).expect("in order");
    let found: Vec<_> =
        got[0].states.iter().map(|part| (part.state.clone(), part.seconds, part.entries)).collect();
    let text = |name: &str| StateName::Text(name.into());
    assert_eq!(found, [(text("run"), 13.0, 1), (text("idle"), 10.0, 1), (text("fault"), 2.0, 0)]);
    assert_eq!((got[0].count, got[0].unknown_seconds, got[0].is_partial), (2, 0.0, true));
}

proptest! {
    #[test]
    fn aggregates_equal_the_definitions_of_what_counts(
        samples in any_samples(),
        hold in any_hold(),
        asked in any_range(),
        stretches in prop::collection::vec((-30..600_i64, 1..200_i64), 0..6),
    ) {
        let stretches: Vec<_> = stretches.into_iter().map(|(start, length)| (start, start + length)).collect();
        let counts = |time: Timestamp| stretches.iter().any(|(start, end)| span(*start, *end).contains(time));
        for name in ALL {
            let aggregate: Aggregate = name.parse().expect(name);
            let numbers = Numbers::new(aggregate, hold).within(Some(within(&stretches)));
            let got = Stream::new(buckets(asked, "1m"), numbers).run(samples.iter().copied().map(Piece::from)).expect("in order");
            for bucket in got {
                let part = Span::new(bucket.start, bucket.end).intersection(asked);
                let expected = naive::value_where(aggregate, &samples, hold, part, &counts);
                prop_assert!(are_close(bucket.value, expected), "{}: {:?}, wanted {:?}", name, bucket, expected);
                let whole = (bucket.start.as_micros() / 1_000_000..bucket.end.as_micros() / 1_000_000).map(at);
                let is_whole = part == Span::new(bucket.start, bucket.end) && bucket.end <= hold.known_until;
                prop_assert_eq!(bucket.is_partial, !is_whole || !whole.into_iter().all(counts));
            }
        }
    }

    /// Days of 23 and 25 hours are cut like any other: what counts in each is what counts in its hours.
    #[test]
    fn on_days_that_are_shorter_or_longer_too(
        hours in prop::collection::vec(0_i64..24 * 14, 1..40),
        stretches in prop::collection::vec((0..24 * 14_i64, 1..60_i64), 0..5),
    ) {
        let mut hours = hours;
        hours.sort_unstable();
        hours.dedup();
        for begin in [moment("2026-03-22T23:00:00Z"), moment("2026-10-18T22:00:00Z")] {
            let hour = |hour: i64| begin.plus_micros(hour * 3_600_000_000);
            let samples: Vec<Sample> = (0..).zip(&hours).map(|(n, h)| Sample::good(hour(*h), f64::from(n))).collect();
            let spans = stretches.iter().map(|(start, length)| Span::new(hour(*start), hour(start + length)));
            let within = Within::new(spans.collect());
            let asked = Span::new(begin, hour(24 * 14));
            let days = Buckets::new(asked, "1d".parse().expect("a day"), zone("Europe/Berlin")).expect("few");
            let numbers = Numbers::new(Aggregate::Twa, Hold::default()).within(Some(within.clone()));
            for bucket in Stream::new(days, numbers).run(samples.iter().copied().map(Piece::from)).expect("in order") {
                let (mut weighed, mut held) = (0.0, 0.0);
                let count = (bucket.end.min(asked.end)).micros_since(bucket.start.max(asked.start)) / 3_600_000_000;
                for step in 0..count {
                    let time = bucket.start.max(asked.start).plus_micros(step * 3_600_000_000);
                    let value = samples.iter().rfind(|sample| sample.time <= time).map(|sample| sample.value);
                    if let (true, Some(value)) = (within.contains(time), value) {
                        (weighed, held) = (weighed + value, held + 1.0);
                    }
                }
                let expected = (held > 0.0).then(|| weighed / held);
                prop_assert!(are_close(bucket.value, expected), "{:?}, wanted {:?}", bucket, expected);
            }
        }
    }
}
