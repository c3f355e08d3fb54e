use super::*;

fn scalars(numbers: &[f64]) -> Vec<(i64, Scalar)> {
    (0..).zip(numbers).map(|(second, number)| (second * 1_000_000, Scalar::of(*number))).collect()
}

fn check(aggregate: Aggregate, numbers: &[f64], expected: Option<f64>) {
    let mut bucket = Bucket::new(aggregate);
    // In no order of time.
    for (time, value) in scalars(numbers).iter().rev() {
        bucket.take(*time, value);
    }
    let (value, _) = bucket.value();
    assert_eq!(value.number(), expected, "{aggregate:?} {numbers:?}");
}

#[test]
fn aggregates_are_as_the_reference_says() {
    let numbers = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
    check(Aggregate::Mean, &numbers, Some(5.0));
    check(Aggregate::Sum, &numbers, Some(40.0));
    check(Aggregate::Count, &numbers, Some(8.0));
    check(Aggregate::Min, &numbers, Some(2.0));
    check(Aggregate::Max, &numbers, Some(9.0));
    check(Aggregate::First, &numbers, Some(2.0));
    check(Aggregate::Last, &numbers, Some(9.0));
    check(Aggregate::Spread, &numbers, Some(7.0));
    check(Aggregate::Median, &numbers, Some(4.5));
    check(Aggregate::Median, &[3.0, 1.0, 2.0], Some(2.0));
    check(Aggregate::Stddev, &numbers, Some((32.0_f64 / 7.0).sqrt()));
    check(Aggregate::Stddev, &[1.0], None);
    check(Aggregate::Percentile(50.0), &numbers, Some(4.0));
    check(Aggregate::Percentile(100.0), &numbers, Some(9.0));
    check(Aggregate::Percentile(5.0), &numbers, None);
    for aggregate in [Aggregate::Mean, Aggregate::Sum, Aggregate::Min, Aggregate::Median, Aggregate::Spread] {
        check(aggregate, &[], None);
    }
    check(Aggregate::Count, &[], Some(0.0));
    check(Aggregate::Sum, &[f64::MAX, f64::MAX], None);
}

#[test]
fn texts_are_counted_and_can_be_the_last() {
    let said = [(1, Scalar::Text("on".into())), (2, Scalar::Bool(true)), (3, Scalar::Null)];
    let of = |aggregate| {
        let mut bucket = Bucket::new(aggregate);
        said.iter().for_each(|(time, value)| bucket.take(*time, value));
        bucket.value()
    };
    assert_eq!(of(Aggregate::Count), (Scalar::Integer(2), None));
    assert_eq!(of(Aggregate::Last), (Scalar::Bool(true), Some(2)));
    assert_eq!(of(Aggregate::First), (Scalar::Text("on".into()), Some(1)));
    assert_eq!(of(Aggregate::Mean), (Scalar::Null, None));
    assert_eq!(of(Aggregate::Max), (Scalar::Null, None));
}

#[test]
fn a_selector_has_the_time_of_its_sample() {
    let mut bucket = Bucket::new(Aggregate::Max);
    for (time, number) in [(5, 1.0), (3, 9.0), (7, 9.0)] {
        bucket.take(time, &Scalar::Float(number));
    }
    assert_eq!(bucket.value(), (Scalar::Float(9.0), Some(3)));
}

fn transformed(how: Transform, numbers: &[f64], bucket: Option<i64>) -> Vec<f64> {
    transform(how, &scalars(numbers), bucket).iter().filter_map(|(_, value)| value.number()).collect()
}

#[test]
fn changes_are_in_the_unit_that_is_asked_for() {
    let derivative = |unit, is_non_negative| Transform::Derivative { unit, is_non_negative };
    assert_eq!(transformed(derivative(None, false), &[1.0, 3.0, 2.0], None), [2.0, -1.0]);
    assert_eq!(transformed(derivative(None, true), &[1.0, 3.0, 2.0], None), [2.0]);
    assert_eq!(transformed(derivative(Some(10_000_000), false), &[1.0, 3.0], None), [20.0]);
    assert_eq!(transformed(derivative(None, false), &[1.0, 3.0], Some(60_000_000)), [120.0]);
    assert_eq!(
        transformed(Transform::Difference { is_non_negative: false }, &[5.0, 3.0, 4.0], None),
        [-2.0, 1.0]
    );
    assert_eq!(transformed(Transform::CumulativeSum, &[1.0, 2.0, 3.0], None), [1.0, 3.0, 6.0]);
    assert_eq!(transformed(Transform::MovingAverage(2), &[1.0, 3.0, 5.0], None), [2.0, 4.0]);
}

#[test]
fn each_way_fills_as_it_says() {
    let filled = |how| {
        let mut values = scalars(&[f64::NAN, 1.0, f64::NAN, f64::NAN, 4.0, f64::NAN]);
        fill(&mut values, how, Scalar::Null);
        values.iter().map(|(_, value)| value.number()).collect::<Vec<_>>()
    };
    assert_eq!(filled(Fill::Null), [None, Some(1.0), None, None, Some(4.0), None]);
    assert_eq!(filled(Fill::Previous), [None, Some(1.0), Some(1.0), Some(1.0), Some(4.0), Some(4.0)]);
    assert_eq!(filled(Fill::Linear), [None, Some(1.0), Some(2.0), Some(3.0), Some(4.0), None]);
    assert_eq!(filled(Fill::Number(7.0)), [7.0, 1.0, 7.0, 7.0, 4.0, 7.0].map(Some));
}
