use super::*;

fn check_same(a: &Summary, b: &Summary) -> Result<(), TestCaseError> {
    prop_assert_eq!(
        (a.count, a.excluded, a.good, a.min, a.max, a.first, a.last, a.covered_micros, a.held_uncertain),
        (b.count, b.excluded, b.good, b.min, b.max, b.first, b.last, b.covered_micros, b.held_uncertain)
    );
    prop_assert!(is_close(a.sum, b.sum));
    prop_assert!(is_close(a.squared_deviations, b.squared_deviations));
    prop_assert!(is_close(a.increase, b.increase));
    prop_assert!(is_close(a.integral, b.integral));
    Ok(())
}

#[test]
fn a_summary_says_what_happened() {
    let summary = Summary::of(
        span(0, 60),
        samples("-10=4?").pop(),
        &samples("20=1 30=5! 40=3 50=1 59=NaN"),
        Hold { max_micros: Some(25_000_000), ..Hold::default() },
    );
    let point = |second, value| Some(At { time: at(second), value });
    let expected = Summary {
        count: 3,
        excluded: 2,
        good: 3,
        sum: 5.0,
        squared_deviations: 8.0 / 3.0,
        min: point(20, 1.0),
        max: point(40, 3.0),
        first: point(20, 1.0),
        last: point(50, 1.0),
        increase: 3.0,
        integral: 4.0 * 15.0 + 10.0 + 30.0 + 9.0,
        covered_micros: 44_000_000,
        held_uncertain: true,
    };
    check_same(&summary, &expected).expect("the same");
    assert_eq!(Summary::default().merge(&summary), summary);
    assert_eq!(summary.merge(&Summary::default()), summary);
}

#[test]
fn of_equal_extremes_the_earliest_stays() {
    let of = |text, start| Summary::of(span(start, start + 60), None, &samples(text), Hold::default());
    let (early, late) = (of("10=1 20=5", 0), of("70=5 80=1", 60));
    for merged in [early.merge(&late), late.merge(&early)] {
        assert_eq!((merged.min, merged.max), (early.min, early.max));
    }
}

#[test]
#[should_panic(expected = "in order of time")]
fn a_summary_of_a_disordered_store_is_refused() {
    let _ = Summary::of(span(0, 60), None, &samples("20=1 10=5"), Hold::default());
}

/// A series with a large offset: the textbook formula (squares of sums) gives 0 or less here.
#[test]
fn a_small_deviation_of_large_values_survives() {
    let values: Vec<Sample> =
        (0..1000).map(|second| Sample::good(at(second), 1e9 + f64::from(second as i32 % 2))).collect();
    let halves = [0..400, 400..1000].map(|part| {
        Summary::of(
            span(part.start, part.end),
            None,
            &values[part.start as usize..part.end as usize],
            Hold::default(),
        )
    });
    let whole = Summary::of(span(0, 1000), None, &values, Hold::default());
    for stddev in [Aggregate::Stddev.of_summary(&whole), Aggregate::Stddev.from_summaries(&halves)] {
        let stddev = stddev.expect("derivable").expect("a number");
        assert!((stddev - (250.0_f64 / 999.0).sqrt()).abs() < 1e-6, "{stddev}");
    }
}

proptest! {
    #[test]
    fn summaries_of_parts_merge_into_that_of_the_whole(
        samples in any_samples(),
        hold in any_hold(),
        range in any_range(),
        cuts in prop::collection::vec(0..400_i64, 0..4),
    ) {
        let mut edges: Vec<Timestamp> = cuts.iter().map(|cut| range.start.plus_micros(cut * 1_000_000)).collect();
        edges.retain(|edge| range.contains(*edge));
        edges.extend([range.start, range.end]);
        edges.sort_unstable();
        edges.dedup();
        let of = |part: Span| {
            let begin = samples.partition_point(|sample| sample.time < part.start);
            Summary::of(part, begin.checked_sub(1).map(|index| samples[index]), &samples[begin..], hold)
        };
        let parts: Vec<Summary> = edges.windows(2).map(|pair| of(Span::new(pair[0], pair[1]))).collect();
        let whole = of(range);
        let merged = parts.iter().fold(Summary::default(), |merged, part| merged.merge(part));
        check_same(&merged, &whole)?;
        let backwards = parts.iter().rfold(Summary::default(), |merged, part| merged.merge(part));
        check_same(&backwards, &whole)?;
        for name in aggregates::ALL {
            let aggregate: Aggregate = name.parse().expect(name);
            match aggregate.from_summaries(&parts) {
                Ok(value) => {
                    let expected = naive::value(aggregate, &samples, hold, range);
                    prop_assert!(are_close(value, expected), "{}: {:?}, wanted {:?}", name, value, expected);
                }
                Err(_) => prop_assert!(matches!(aggregate, Aggregate::Percentile(_))),
            }
        }
    }

    #[test]
    fn buckets_from_rollups_equal_those_from_samples(samples in any_samples(), hold in any_hold()) {
        let range = span(0, 600);
        let rollups =
            Stream::new(buckets(range, "15s"), Rollups::new(hold)).run(samples.iter().copied()).expect("in order");
        for name in aggregates::ALL {
            let aggregate: Aggregate = name.parse().expect(name);
            let Ok(from_rollups) = FromRollups::new(aggregate, hold) else { continue };
            let got = Stream::new(buckets(range, "1m"), from_rollups).run(rollups.iter().copied()).expect("in order");
            let expected = Stream::new(buckets(range, "1m"), Numbers::new(aggregate, hold))
                .run(samples.iter().copied())
                .expect("in order");
            for (got, expected) in got.iter().zip(&expected) {
                prop_assert!(are_close(got.value, expected.value), "{}: {:?}, wanted {:?}", name, got, expected);
                prop_assert_eq!(Bucket { value: None, ..*got }, Bucket { value: None, ..*expected });
            }
        }
    }
}
