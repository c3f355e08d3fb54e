use super::*;

pub(super) const ALL: [&str; 17] = [
    "min",
    "max",
    "avg",
    "twa",
    "sum",
    "count",
    "first",
    "last",
    "median",
    "p0",
    "p93.5",
    "stddev",
    "range",
    "derivative",
    "counter-rate",
    "integral",
    "good-share",
];

/// The values of one-minute buckets over two minutes from 0, held without limits.
fn check(aggregate: &str, text: &str, expected: [Option<f64>; 2]) {
    check_held(aggregate, text, Hold::default(), expected);
}

fn check_held(aggregate: &str, text: &str, hold: Hold, expected: [Option<f64>; 2]) {
    let numbers = Numbers::new(aggregate.parse().expect(aggregate), hold);
    let got =
        Stream::new(buckets(span(0, 120), "1m"), numbers).run(pieces(&samples(text))).expect("in order");
    let values: Vec<Option<f64>> = got.iter().map(|bucket| bucket.value).collect();
    assert_eq!(values.len(), 2);
    assert!(values.iter().zip(expected).all(|(a, b)| are_close(*a, b)), "{aggregate} of {text}: {values:?}");
}

#[test]
fn each_aggregate_of_a_bucket_and_of_an_empty_one() {
    let text = "10=2 20=4 30=4 40=4 50=5 51=5 52=7 53=9";
    check("min", text, [Some(2.0), None]);
    check("max", text, [Some(9.0), None]);
    check("range", text, [Some(7.0), None]);
    check("avg", text, [Some(5.0), None]);
    check("sum", text, [Some(40.0), None]);
    check("count", text, [Some(8.0), Some(0.0)]);
    check("first", text, [Some(2.0), None]);
    check("last", text, [Some(9.0), None]);
    check("median", text, [Some(4.5), None]);
    check("stddev", text, [Some((32.0_f64 / 7.0).sqrt()), None]);
    check("derivative", text, [Some(7.0 / 43.0), None]);
    check("good-share", text, [Some(1.0), None]);
}

#[test]
fn time_weighted_ones_honour_what_is_carried_in() {
    check("twa", "-30=10 15=20 30=0 90=6", [Some(7.5), Some(3.0)]);
    check("integral", "-30=10 15=20 30=0 90=6", [Some(0.125), Some(0.05)]);
    check("twa", "30=8", [Some(8.0), Some(8.0)]);
    check("twa", "70=8", [None, Some(8.0)]);
    check("avg", "-30=10", [None, None]);
}

#[test]
fn a_value_counts_no_longer_than_it_is_held() {
    let hold = Hold { max_micros: Some(10_000_000), known_until: at(100) };
    check_held("integral", "0=3600 30=7200 95=3600", hold, [Some(30.0), Some(5.0)]);
    check_held("twa", "-10=1", hold, [None, None]);
    check_held("twa", "-9=1 65=3", hold, [Some(1.0), Some(3.0)]);
    check_held("twa", "", hold, [None, None]);
}

#[test]
fn bad_samples_count_only_as_excluded_and_end_what_was_held() {
    check("twa", "0=10 30=99! 60=1", [Some(10.0), Some(1.0)]);
    check("integral", "0=3600 30=99! 60=0", [Some(30.0), Some(0.0)]);
    check("max", "0=10 30=99! 40=NaN 45=inf 60=1", [Some(10.0), Some(1.0)]);
    check("good-share", "0=10 20=1? 30=99! 40=NaN 60=1!", [Some(0.25), Some(0.0)]);
    check("twa", "-5=10!", [None, None]);
}

#[test]
fn counters_may_restart() {
    check("counter-rate", "0=100 10=110 20=3 30=13", [Some(23.0 / 30.0), None]);
    check("derivative", "0=100 10=110 20=3 30=13", [Some(-87.0 / 30.0), None]);
    check("counter-rate", "0=100", [None, None]);
}

#[test]
fn what_overflows_is_no_value() {
    let text = "0=1.7e308 10=1.7e308 20=-1.7e308 60=1 61=3";
    for (aggregate, expected) in
        [("sum", 4.0), ("range", 2.0), ("stddev", 2.0_f64.sqrt()), ("derivative", 2.0)]
    {
        let low = "0=-1.7e308 1=1.7e308 60=1 61=3";
        let text = if aggregate == "sum" { "0=1.7e308 10=1.7e308 60=1 61=3" } else { low };
        check(aggregate, text, [None, Some(expected)]);
    }
    check("median", text, [Some(1.7e308), Some(2.0)]);
}

#[test]
fn rounding_leaves_no_trace_in_equal_values() {
    let equal = |aggregate: Aggregate| {
        let values = (0..60).map(|second| Sample::good(at(second), 0.1).into());
        let numbers = Numbers::new(aggregate, Hold::default());
        Stream::new(buckets(span(0, 60), "1m"), numbers).run(values).expect("in order")[0].value
    };
    assert_eq!(equal(Aggregate::Avg), Some(0.1));
    assert_eq!(equal(Aggregate::Stddev), Some(0.0));
    assert_eq!(equal(Aggregate::Percentile(Percent::new(33.3).expect("a percent"))), Some(0.1));
}

#[test]
fn a_bucket_shows_its_quality_and_whether_it_is_whole() {
    let hold = Hold { max_micros: None, known_until: at(200) };
    let run = |aggregate: &str| {
        let numbers = Numbers::new(aggregate.parse().expect("known"), hold);
        Stream::new(buckets(span(30, 260), "1m"), numbers)
            .run(pieces(&samples("10=1? 40=2 70=5? 80=7! 130=8!")))
            .expect("in order")
            .iter()
            .map(|bucket| (bucket.quality, bucket.count, bucket.excluded, bucket.is_partial))
            .collect::<Vec<_>>()
    };
    let (good, uncertain) = (Some(Quality::Good), Some(Quality::Uncertain));
    assert_eq!(
        run("avg"),
        [
            (good, 1, 0, true),
            (uncertain, 1, 1, false),
            (None, 0, 1, false),
            (None, 0, 0, true),
            (None, 0, 0, true)
        ]
    );
    assert_eq!(run("twa")[..2], [(uncertain, 1, 0, true), (uncertain, 1, 1, false)]);
}

#[test]
fn samples_out_of_order_are_refused() {
    for text in ["5=1 5=2", "5=1 4=2", "-5=1 -6=1", "130=1 20=1"] {
        let numbers = Numbers::new(Aggregate::Avg, Hold::default());
        let error =
            Stream::new(buckets(span(0, 120), "1m"), numbers).run(pieces(&samples(text))).expect_err(text);
        assert!(error.to_string().contains("must ascend"), "{error}");
    }
}

#[test]
fn buckets_are_handed_over_as_soon_as_they_end() {
    let mut stream = Stream::new(buckets(span(0, 300), "1m"), Numbers::new(Aggregate::Sum, Hold::default()));
    let mut finished = Vec::new();
    let mut counts = Vec::new();
    for sample in samples("-1=1 0=1 59=1 60=1 190=1 299=1 300=1") {
        stream.push(sample.into(), &mut finished).expect("in order");
        counts.push(finished.len());
    }
    assert_eq!(counts, [0, 0, 0, 1, 3, 4, 4]);
    stream.finish(&mut finished);
    let sums: Vec<_> = finished.iter().map(|bucket| bucket.value).collect();
    assert_eq!(sums, [Some(2.0), Some(1.0), None, Some(1.0), Some(1.0)]);
}

proptest! {
    #[test]
    fn each_aggregate_equals_its_definition(
        samples in any_samples(),
        hold in any_hold(),
        range in any_range(),
        resolution in prop::sample::select(vec!["7s", "30s", "1m", "1h", "1d"]),
    ) {
        for name in ALL {
            let aggregate = name.parse().expect(name);
            let got = Stream::new(buckets(range, resolution), Numbers::new(aggregate, hold))
                .run(pieces(&samples))
                .expect("in order");
            let spans: Vec<Span> = buckets(range, resolution).collect();
            prop_assert_eq!(got.len(), spans.len());
            for (bucket, whole) in got.iter().zip(spans) {
                let part = whole.intersection(range);
                let expected = naive::value(aggregate, &samples, hold, part);
                prop_assert!(
                    are_close(bucket.value, expected),
                    "{} from {}: {:?}, wanted {:?}", name, bucket.start, bucket.value, expected
                );
                prop_assert_eq!(Span::new(bucket.start, bucket.end), whole);
                prop_assert_eq!(bucket.is_partial, part != whole || whole.end > hold.known_until);
                prop_assert_eq!((bucket.count, bucket.excluded), naive::counts(&samples, part));
                prop_assert_eq!(bucket.quality, naive::quality(aggregate, &samples, hold, part));
            }
        }
    }

    #[test]
    fn no_value_is_infinite_whatever_comes(
        values in prop::collection::vec(any::<f64>(), 0..20),
        spread in 1..100_i64,
    ) {
        let samples = (0..).zip(&values).map(|(index, value)| Sample::good(at(index * spread), *value));
        for name in ALL {
            let numbers = Numbers::new(name.parse().expect(name), Hold::default());
            let got = Stream::new(buckets(span(0, 1000), "1m"), numbers).run(samples.clone().map(Piece::from)).expect("in order");
            prop_assert!(got.iter().all(|bucket| bucket.value.is_none_or(f64::is_finite)), "{}", name);
        }
    }
}
