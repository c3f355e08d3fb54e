use super::*;

/// What a chart of 0 to 100 s, ten pixels wide, shows: `second=value`, or `second=/` for a break.
fn check(text: &str, max_gap_seconds: Option<i64>, expected: &str) {
    let chart =
        Chart::new(span(0, 100), 10, max_gap_seconds.map(|seconds| seconds * 1_000_000)).expect("a chart");
    let points = downsample(samples(text), &chart);
    let words: Vec<String> = points
        .iter()
        .map(|point| {
            let value = point.value.map_or("/".to_owned(), |value| value.to_string());
            format!("{}={value}", point.time.as_micros() / 1_000_000)
        })
        .collect();
    assert_eq!(words.join(" "), expected, "{text}");
}

#[test]
fn each_column_keeps_first_least_greatest_and_last() {
    check("0=5 1=6 2=9 3=6 4=1 5=4 6=5", None, "0=5 2=9 4=1 6=5");
    check("0=5 9=7 10=1 11=1 12=1 19=1", None, "0=5 9=7 10=1 19=1");
    check("-1=5 0=1 99=2 100=3", None, "0=1 99=2");
    check("0=2 1=2 2=2", None, "0=2 2=2");
    check("", None, "");
}

#[test]
fn silences_and_bad_samples_break_the_line() {
    check("0=1 50=2 60=3", Some(20), "0=1 25=/ 50=2 60=3");
    check("0=1 50=2", Some(50), "0=1 50=2");
    check("0=1 15=1! 18=1! 25=2 30=NaN", Some(50), "0=1 15=/ 25=2 30=/");
    check("0=1 3=1! 5=2", None, "0=1 5=2");
    check("0=1! 5=2", None, "5=2");
    check("5=1!", None, "");
}

#[test]
fn impossible_charts_are_refused() {
    assert_eq!(Chart::new(span(0, 0), 10, None), Err(ChartError::Empty { from: at(0), to: at(0) }));
    for width in [0, MAX_CHART_WIDTH + 1] {
        let error = Chart::new(span(0, 1), width, None).expect_err("too narrow or too wide").to_string();
        assert!(error.contains("1 to 20000"), "{error}");
    }
    let widest =
        Chart::new(Span::new(Timestamp::MIN, Timestamp::MAX), MAX_CHART_WIDTH, None).expect("a chart");
    assert_eq!(widest.column_of(Timestamp::MAX.plus_micros(-1)), MAX_CHART_WIDTH - 1);
}

proptest! {
    #[test]
    fn extremes_survive_in_order_and_nothing_is_invented(
        samples in any_samples(),
        range in any_range(),
        width in 1..50_u32,
        max_gap in prop::option::of(1..60_i64),
    ) {
        let chart = Chart::new(range, width, max_gap.map(|seconds| seconds * 1_000_000)).expect("a chart");
        let points = downsample(samples.iter().copied(), &chart);
        prop_assert!(points.is_sorted_by(|a, b| a.time < b.time));
        let shown: Vec<(Timestamp, f64)> =
            points.iter().filter_map(|point| Some((point.time, point.value?))).collect();
        let all: Vec<(Timestamp, f64)> = samples
            .iter()
            .filter(|sample| range.contains(sample.time))
            .filter_map(|sample| Some((sample.time, sample.number()?)))
            .collect();
        prop_assert!(shown.iter().all(|point| all.contains(point)));
        for column in 0..width {
            let of = |points: &[(Timestamp, f64)]| -> Vec<(Timestamp, f64)> {
                points.iter().copied().filter(|(time, _)| chart.column_of(*time) == column).collect()
            };
            let (shown, all) = (of(&shown), of(&all));
            let extreme = |points: &[(Timestamp, f64)], pick: fn(f64, f64) -> f64| {
                points.iter().map(|(_, value)| *value).reduce(pick)
            };
            prop_assert!(shown.len() <= 4);
            prop_assert_eq!(extreme(&shown, f64::min), extreme(&all, f64::min));
            prop_assert_eq!(extreme(&shown, f64::max), extreme(&all, f64::max));
            prop_assert_eq!(shown.first(), all.first());
            prop_assert_eq!(shown.last(), all.last());
        }
        prop_assert!(points.len() <= 5 * width as usize);
        check_breaks(&points, &samples, &chart, max_gap)?;
    }
}

/// Between two points of different columns there is a break exactly if something between them was bad or too long.
fn check_breaks(
    points: &[Point],
    samples: &[Sample],
    chart: &Chart,
    max_gap: Option<i64>,
) -> Result<(), TestCaseError> {
    let valued: Vec<usize> = (0..points.len()).filter(|index| points[*index].value.is_some()).collect();
    for pair in valued.windows(2) {
        let (left, right) = (points[pair[0]].time, points[pair[1]].time);
        let is_bad = samples.iter().any(|s| s.time > left && s.time < right && s.number().is_none());
        let is_long = max_gap.is_some_and(|seconds| right.micros_since(left) > seconds * 1_000_000);
        let crosses = chart.column_of(left) != chart.column_of(right);
        prop_assert_eq!(pair[1] - pair[0] == 2, crosses && (is_bad || is_long));
    }
    Ok(())
}
