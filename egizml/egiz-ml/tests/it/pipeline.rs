//! Rows in, scores out: what is judged, what is not, and what must make no difference.

use std::sync::Arc;

use egiz_ml::options::Range;
use egiz_ml::quality::Fault;
use egiz_ml::score::{State, score_all};
use egiz_ml::{Detector, Model, Options, Row, Score, Scorer, Series};
use proptest::prelude::*;

use crate::plant::{name, options, rows, series};

fn fitted(seed: u64, signals: usize) -> Arc<Model> {
    Arc::new(Model::fit(&series(&rows(seed, 1500, signals)), &options()).unwrap())
}

fn row(time_ms: i64, values: &[f64]) -> Row<'_> {
    Row { time_ms, values, regime: "" }
}

/// Scores after `rows` at one second each.
fn last(model: &Arc<Model>, rows: &[Vec<f64>]) -> Score {
    score_all(model, &series(rows)).unwrap().pop().unwrap()
}

#[test]
fn normal_rows_stay_below_the_limit_and_a_broken_relation_does_not() {
    let model = fitted(1, 6);
    let mut fresh = rows(2, 2000, 6);
    let scores = score_all(&model, &series(&fresh)).unwrap();
    let above = scores.iter().filter(|score| score.fused.is_some_and(|fused| fused > 1.0)).count();
    assert!(above <= 20, "{above} of 2000 normal rows are above the limit");
    // Each value is one that occurs; only the relation of signal 2 to the others is broken.
    let later = fresh[1000..].iter().map(|row| row[2]).collect::<Vec<f64>>();
    for (at, value) in later.iter().enumerate() {
        fresh[1000 + at][2] = 2.0 * 70.0 - value + 4.0;
    }
    let scores = score_all(&model, &series(&fresh)).unwrap();
    for detector in [Detector::Distance, Detector::Autoencoder] {
        let found =
            scores[1020..].iter().filter(|s| s.detector(detector).is_some_and(|value| value > 1.0)).count();
        assert!(found > 700, "{} finds {found} of 980", detector.name());
    }
    let shown = scores[1500].shown().unwrap();
    assert!((0.0..=1.0).contains(&shown));
}

#[test]
fn what_is_shown_is_half_at_the_limit() {
    let score = |fused| Score {
        time_ms: 0,
        state: State::Scored,
        fused,
        detectors: [None; 4],
        bad: Vec::new(),
        confidence: 1.0,
    };
    assert_eq!(score(Some(1.0)).shown(), Some(0.5));
    assert_eq!(score(Some(0.0)).shown(), Some(0.0));
    assert_eq!(score(Some(1e300)).shown(), Some(1.0));
    assert_eq!(score(None).shown(), None);
}

#[test]
fn bad_signals_are_named_and_are_no_anomaly_of_the_machine() {
    let declared = Options { ranges: vec![Range { signal: name(3), low: -500.0, high: 500.0 }], ..options() };
    let model = Arc::new(Model::fit(&series(&rows(1, 1500, 6)), &declared).unwrap());
    let cases = [
        ("missing", 1, f64::NAN, Fault::Missing),
        ("infinite", 1, f64::INFINITY, Fault::Missing),
        ("out of range", 3, 9e9, Fault::OutOfRange),
        ("stuck", 2, 71.5, Fault::Stuck),
    ];
    for (what, signal, value, fault) in cases {
        let mut fresh = rows(5, 400, 6);
        fresh[100..].iter_mut().for_each(|values| values[signal] = value);
        let scores = score_all(&model, &series(&fresh)).unwrap();
        let score = scores.last().unwrap();
        assert_eq!(score.state, State::Scored, "{what}");
        assert_eq!(score.bad, [(signal, fault)], "{what}");
        assert!(score.confidence < 0.9 && score.confidence > 0.7, "{what}: {}", score.confidence);
        let robust =
            scores[150..].iter().filter(|score| score.detector(Detector::RobustZ).unwrap() > 1.0).count();
        assert!(robust < 10, "{what}: {robust} rows read as an anomaly");
    }
    let mut fresh = rows(5, 50, 6);
    fresh[49][..3].fill(f64::NAN);
    let score = last(&model, &fresh);
    assert_eq!((score.state, score.fused, score.bad.len()), (State::Data, None, 3));
}

#[test]
fn a_clock_that_stands_still_or_goes_back_is_said_and_changes_nothing() {
    let model = fitted(1, 4);
    let fresh = rows(3, 60, 4);
    let mut with = Scorer::new(Arc::clone(&model), series(&fresh).signals());
    let mut without = with.clone();
    for (at, values) in fresh.iter().enumerate() {
        let time_ms = at as i64 * 1000;
        if at > 0 {
            for earlier in [time_ms - 1000, time_ms - 5000, i64::MIN] {
                assert_eq!(with.push(row(earlier, &[1e9; 4])).state, State::Clock);
            }
        }
        assert_eq!(with.push(row(time_ms, values)), without.push(row(time_ms, values)));
    }
}

#[test]
fn a_gap_empties_the_windows() {
    let model = fitted(1, 4);
    let fresh = rows(3, 80, 4);
    let mut scorer = Scorer::new(Arc::clone(&model), series(&fresh).signals());
    let states: Vec<State> = fresh
        .iter()
        .enumerate()
        .map(|(at, values)| {
            let gap = if at < 40 { 0 } else { 3_600_000 };
            scorer.push(row(at as i64 * 1000 + gap, values)).state
        })
        .collect();
    let expected = |from: usize| if from < 4 { State::Warming } else { State::Scored };
    for (at, state) in states.iter().enumerate() {
        assert_eq!(*state, expected(at % 40), "row {at}");
    }
    // The far ends of time are only a gap, too.
    assert_eq!(scorer.push(row(i64::MAX, &fresh[0])).state, State::Warming);
}

#[test]
fn each_regime_has_its_own_usual_and_a_new_one_raises_nothing() {
    let (cold, hot) = (rows(1, 900, 4), rows(2, 900, 4));
    let mut training = Series::new((0..4).map(name).collect()).unwrap();
    for at in 0..1800usize {
        // Shifts of 300 rows, the hot ones 500 degrees above.
        let is_hot = at / 300 % 2 == 1;
        let at_own = at / 600 * 300 + at % 300;
        let source = if is_hot { &hot[at_own] } else { &cold[at_own] };
        let values: Vec<f64> = source.iter().map(|value| value + if is_hot { 500.0 } else { 0.0 }).collect();
        let regime = if is_hot { "hot" } else { "cold" };
        training.push(Row { time_ms: at as i64 * 1000, values: &values, regime }).unwrap();
    }
    let unscored = Options { unscored_regimes: vec!["cleaning".to_owned()], ..options() };
    let model = Arc::new(Model::fit(&training, &unscored).unwrap());
    assert_eq!(model.regimes().map(|(name, _)| name).collect::<Vec<_>>(), ["cold", "hot"]);
    let fresh = rows(7, 100, 4);
    let run = |regime: &str, offset: f64| {
        let mut scorer = Scorer::new(Arc::clone(&model), training.signals());
        let mut score = None;
        for (at, values) in fresh.iter().enumerate() {
            let values: Vec<f64> = values.iter().map(|value| value + offset).collect();
            score = Some(scorer.push(Row { time_ms: at as i64 * 1000, values: &values, regime }));
        }
        score.unwrap()
    };
    assert!(run("cold", 0.0).fused.unwrap() < 1.0);
    assert!(run("hot", 500.0).fused.unwrap() < 1.0);
    assert!(run("cold", 500.0).fused.unwrap() > 5.0);
    for (regime, state) in [("a new recipe", State::UnknownRegime), ("cleaning", State::Unscored)] {
        let score = run(regime, 500.0);
        assert_eq!((score.state, score.fused, score.confidence), (state, None, 0.0));
    }
}

#[test]
fn a_renamed_signal_counts_as_missing() {
    let model = fitted(1, 4);
    let fresh = rows(3, 60, 4);
    let mut names: Vec<String> = (0..4).map(name).collect();
    names[1] = "renamed".to_owned();
    let mut scorer = Scorer::new(Arc::clone(&model), &names);
    let scores: Vec<Score> =
        fresh.iter().enumerate().map(|(at, values)| scorer.push(row(at as i64 * 1000, values))).collect();
    assert_eq!(scores[59].state, State::Scored);
    assert_eq!(scores[59].bad, [(1, Fault::Missing)]);
    let mut other = Series::new(vec!["x".to_owned()]).unwrap();
    other.push(row(0, &[1.0])).unwrap();
    assert!(score_all(&model, &other).is_err());
}

#[test]
fn the_same_data_gives_the_same_model_to_the_last_bit() {
    let training = series(&rows(1, 800, 5));
    assert_eq!(Model::fit(&training, &options()).unwrap(), Model::fit(&training, &options()).unwrap());
}

#[test]
fn the_order_of_signals_and_their_units_make_no_difference() {
    let (training, fresh) = (rows(1, 1000, 5), rows(2, 200, 5));
    let order = [3, 0, 4, 1, 2];
    let permuted = |rows: &[Vec<f64>]| {
        let mut out = Series::new(order.iter().map(|at| name(*at)).collect()).unwrap();
        for (at, values) in rows.iter().enumerate() {
            let values: Vec<f64> = order.iter().map(|at| values[*at]).collect();
            out.push(row(at as i64 * 1000, &values)).unwrap();
        }
        out
    };
    // Degrees to Fahrenheit, volts to millivolts.
    let in_units = |rows: &[Vec<f64>]| {
        let change = |values: &Vec<f64>| {
            let mut values = values.clone();
            values[0] = values[0] * 1.8 + 32.0;
            values[3] *= 1000.0;
            values
        };
        series(&rows.iter().map(change).collect::<Vec<_>>())
    };
    let scores = |training: &Series, fresh: &Series| {
        score_all(&Arc::new(Model::fit(training, &options()).unwrap()), fresh).unwrap()
    };
    let plain = scores(&series(&training), &series(&fresh));
    assert_eq!(plain, scores(&permuted(&training), &permuted(&fresh)));
    for (a, b) in plain.iter().zip(scores(&in_units(&training), &in_units(&fresh))) {
        for detector in Detector::ALL {
            let (Some(a), Some(b)) = (a.detector(detector), b.detector(detector)) else { continue };
            // Training repeats the rounding of units many times; the forest cuts at values rounded to 32 bits.
            let tolerance = match detector {
                Detector::RobustZ | Detector::Distance => 1e-9,
                Detector::Autoencoder => 1e-6,
                Detector::Forest => 0.2,
            };
            assert!((a - b).abs() <= tolerance * a.max(1.0), "{}: {a} {b}", detector.name());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// There is one path for streams and batches; asking for explanations, or going on with a copy, changes nothing.
    #[test]
    fn a_stream_in_any_pieces_is_the_batch(seed in any::<u64>(), cuts in prop::collection::vec(0usize..200, 0..6)) {
        let quick = Options { autoencoder: None, ..options() };
        let model = Arc::new(Model::fit(&series(&rows(1, 600, 4)), &quick).unwrap());
        let mut fresh = rows(seed, 200, 4);
        fresh[50][1] = f64::NAN;
        fresh[90][2] = 1e300;
        let fresh = series(&fresh);
        let batch = score_all(&model, &fresh).unwrap();
        let mut scorer = Scorer::new(model, fresh.signals());
        for (at, row) in fresh.iter().enumerate() {
            if cuts.contains(&at) {
                let _ = scorer.explain(None);
                scorer = scorer.clone();
            }
            prop_assert_eq!(&scorer.push(row), &batch[at]);
        }
    }

    /// Whatever comes in: a refusal with a reason, or finite scores.
    #[test]
    fn nothing_that_comes_in_breaks_it(
        values in prop::collection::vec(
            prop_oneof![
                8 => -10.0..10.0f64,
                1 => Just(f64::NAN),
                1 => Just(f64::INFINITY),
                1 => Just(f64::MAX),
                1 => Just(-f64::MAX),
                1 => Just(5e-324),
                4 => Just(1.0),
            ],
            3 * 40..3 * 160,
        ),
        steps in prop::collection::vec(prop_oneof![Just(1i64), Just(1000), Just(i64::MAX / 200)], 160),
    ) {
        let mut all = Series::new((0..3).map(name).collect()).unwrap();
        let mut time_ms = 0;
        for (values, step) in values.chunks_exact(3).zip(steps) {
            time_ms += step;
            all.push(row(time_ms, values)).unwrap();
        }
        let options = Options { limits: egiz_ml::Limits::Training { quantile: 0.99, multiples: [2.0; 4], fused: 2.0 }, ..options() };
        let Ok(model) = Model::fit(&all, &options) else { return Ok(()) };
        let mut scorer = Scorer::new(Arc::new(model), all.signals());
        for row in all.iter() {
            let score = scorer.push(row);
            prop_assert!(score.fused.is_none_or(|fused| fused.is_finite() && fused >= 0.0), "{score:?}");
            prop_assert!(score.detectors.iter().flatten().all(|value| value.is_finite() && *value >= 0.0), "{score:?}");
            prop_assert!((0.0..=1.0).contains(&score.confidence));
        }
        for detector in [None, Some(Detector::Forest), Some(Detector::Autoencoder)] {
            if let Some(explanation) = scorer.explain(detector) {
                prop_assert!(explanation.parts.iter().all(|part| part.share.is_finite()), "{explanation:?}");
            }
        }
    }
}

#[test]
fn too_little_to_learn_from_is_said() {
    let refused = |rows: &[Vec<f64>]| Model::fit(&series(rows), &options()).unwrap_err().to_string();
    assert_eq!(refused(&rows(1, 1, 2)), "1 rows are too few: at least 30 are needed");
    assert!(refused(&rows(1, 40, 2)).contains("too few"));
    let odd = Options { scale_floor: 2.0, ..options() };
    let message = Model::fit(&series(&rows(1, 500, 2)), &odd).unwrap_err().to_string();
    assert_eq!(message, "scale_floor is 2, allowed is 0 to 1");
    assert!(Series::new(vec!["a".to_owned(), "a".to_owned()]).is_err());
}
