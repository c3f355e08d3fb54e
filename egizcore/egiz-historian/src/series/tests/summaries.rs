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
    fn buckets_of_rollups_and_samples_equal_those_of_samples(
        samples in any_samples(),
        rolled in prop::collection::vec(any::<bool>(), 48),
        hold_until in prop_oneof![Just(Timestamp::MAX), (600..700_i64).prop_map(at)],
    ) {
        let hold = Hold { max_micros: None, known_until: hold_until };
        let range = span(0, 600);
        let quarter = |time: Timestamp| time.as_micros().div_euclid(15_000_000);
        let is_rolled = |number: i64| usize::try_from(number + 4).is_ok_and(|index| rolled[index % 48]);
        let rollups = roll(samples.iter().copied().map(Piece::from), 15_000_000);
        let mut mixed: Vec<Piece> =
            rollups.iter().filter(|rollup| is_rolled(quarter(rollup.span.start))).copied().map(Piece::from).collect();
        mixed.extend(samples.iter().filter(|sample| !is_rolled(quarter(sample.time))).copied().map(Piece::from));
        mixed.sort_by_key(Piece::time);
        for name in aggregates::ALL {
            let aggregate: Aggregate = name.parse().expect(name);
            if matches!(aggregate, Aggregate::Percentile(_)) {
                continue;
            }
            let of = |pieces: Vec<Piece>| {
                Stream::new(buckets(range, "1m"), Numbers::new(aggregate, hold)).run(pieces).expect("in order")
            };
            let (got, expected) = (of(mixed.clone()), of(pieces(&samples)));
            for (got, expected) in got.iter().zip(&expected) {
                prop_assert!(are_close(got.value, expected.value), "{}: {:?}, wanted {:?}", name, got, expected);
                prop_assert_eq!(Bucket { value: None, ..*got }, Bucket { value: None, ..*expected });
            }
        }
    }

    #[test]
    fn rollups_of_rollups_are_those_of_the_samples(samples in any_samples()) {
        let quarters = roll(pieces(&samples), 15_000_000);
        let of_quarters = roll(quarters.into_iter().map(Piece::from), 60_000_000);
        let of_samples = roll(pieces(&samples), 60_000_000);
        prop_assert_eq!(of_quarters.len(), of_samples.len());
        for (a, b) in of_quarters.iter().zip(&of_samples) {
            prop_assert_eq!((a.span, a.begins, a.held), (b.span, b.begins, b.held));
            check_same(&a.summary, &b.summary)?;
        }
    }

    #[test]
    fn rollups_of_two_places_are_put_beside_each_other(samples in any_samples(), cut in 0..40_usize) {
        let (early, late) = samples.split_at(cut.min(samples.len()));
        let whole = roll(pieces(&samples), 60_000_000);
        let (early, late) = (roll(pieces(early), 60_000_000), roll(pieces(late), 60_000_000));
        for expected in whole {
            let of_span = |rollups: &[Rollup]| rollups.iter().find(|rollup| rollup.span == expected.span).copied();
            let got = match (of_span(&early), of_span(&late)) {
                (Some(early), Some(late)) => {
                    prop_assert_eq!(early.beside(&late).begins, late.beside(&early).begins);
                    late.beside(&early)
                }
                (one, other) => one.or(other).expect("it lies in one of both"),
            };
            prop_assert_eq!((got.begins, got.held), (expected.begins, expected.held));
            let uncertain = |summary: Summary| Summary { held_uncertain: false, ..summary };
            check_same(&uncertain(got.summary), &uncertain(expected.summary))?;
        }
    }
}

#[test]
fn a_percentile_of_rollups_is_refused() {
    let rollups = roll(pieces(&samples("0=1 10=2")), 15_000_000);
    let median = Numbers::new("median".parse().expect("known"), Hold::default());
    let refused = Stream::new(buckets(span(0, 60), "1m"), median).run(rollups.into_iter().map(Piece::from));
    assert!(matches!(refused, Err(StreamError::NeedsSamples(_))), "{refused:?}");
}

#[test]
fn a_rollup_stands_on_its_own() {
    let rollups = roll(pieces(&samples("10=4 65=1! 70=2 80=3? 130=5!")), 60_000_000);
    let begins: Vec<Timestamp> = rollups.iter().map(|rollup| rollup.begins).collect();
    assert_eq!(begins, [at(10), at(65), at(130)]);
    let held: Vec<_> = rollups.iter().map(|rollup| rollup.held).collect();
    assert_eq!(held, [Some((4.0, Quality::Good)), Some((3.0, Quality::Uncertain)), None]);
    let covered: Vec<i64> = rollups.iter().map(|rollup| rollup.summary.covered_micros / 1_000_000).collect();
    assert_eq!(covered, [50, 50, 0]);
}
