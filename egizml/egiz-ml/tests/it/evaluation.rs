//! The measures themselves, on runs whose figures can be counted by hand.

use egiz_ml::episode::EpisodeRule;
use egiz_ml::evaluation::{Candidate, Run, best_limit, by_group, choose, cross_validate, one_by_one, pool};

fn run(name: &str, abnormal: &[u8], scores: &[f64]) -> Run {
    Run {
        name: name.to_owned(),
        times_ms: (0..abnormal.len() as i64).map(|at| at * 1000).collect(),
        abnormal: abnormal.iter().map(|label| *label == 1).collect(),
        scores: scores.iter().map(|score| (!score.is_nan()).then_some(*score)).collect(),
        from: 1,
        to: abnormal.len(),
    }
}

#[test]
fn points_and_events_are_counted_without_adjustment() {
    let rule = EpisodeRule { raise_count: 1, raise_of: 1, clear_below: 1.0, hold_seconds: 0.0 };
    let labels = [0, 0, 0, 1, 1, 1, 0, 0, 1, 0];
    let scores = [9.0, 0.0, 3.0, 0.0, 3.0, f64::NAN, 0.0, 3.0, 0.5, 0.0];
    let found = run("a", &labels, &scores).measure(2.0, rule).unwrap();
    let count = found.confusion;
    // The first row is learned from; what was not scored is not flagged.
    assert_eq!((count.true_positive, count.false_positive), (1, 2));
    assert_eq!((count.false_negative, count.true_negative), (3, 3));
    assert_eq!((found.before.false_positive, found.before.true_negative), (1, 1));
    assert_eq!((found.events, &found.delays_seconds[..]), (2, &[1.0][..]));
    assert_eq!((found.false_episodes, found.is_early), (2, true));
    let pooled = pool(&[found.clone(), found]);
    assert_eq!((pooled.events, pooled.found, pooled.early_runs), (4, 2, 2));
    assert_eq!(pooled.confusion.true_positive, 2);
    assert_eq!(pooled.median_delay_seconds, Some(1.0));
    let mut short = run("a", &labels, &scores);
    short.scores.pop();
    assert!(short.measure(1.0, rule).is_err());
}

#[test]
fn the_best_limit_keeps_the_false_alarm_rate() {
    let a = run("a", &[0, 0, 0, 0, 0, 1, 1, 1], &[0.0, 1.0, 2.0, 3.0, 4.0, 2.5, 3.5, 5.0]);
    // Of four normal rows one may be flagged: with the limit at 3, rows with 3.5, 4 and 5 are.
    let best = best_limit(0, &[&a], 0.25).unwrap();
    assert_eq!((best.limit, best.false_alarm_rate), (3.0, 0.25));
    assert!((best.f1 - 2.0 / (2.0 + 1.0)).abs() < 1e-12);
    let none = best_limit(0, &[&a], 0.0).unwrap();
    assert_eq!((none.limit, none.false_alarm_rate), (4.0, 0.0));
    // Flagging the same by naive count over all limits finds nothing better.
    for limit in [0.5, 1.0, 1.5, 2.0, 2.2, 2.5, 3.0, 3.2, 3.5, 4.0, 4.5, 5.0] {
        let rule = EpisodeRule::default();
        let count = a.measure(limit, rule).unwrap().confusion;
        if count.false_alarm_rate().unwrap() <= 0.25 {
            assert!(count.f1().unwrap() <= best.f1 + 1e-12, "{limit}");
        }
    }
}

#[test]
fn a_fold_is_measured_with_what_was_chosen_without_it() {
    // The first candidate is right on x and y and wrong on z; the second is right on z alone.
    let right = [0.0, 0.1, 0.1, 0.9, 0.9];
    let wrong = [0.0, 0.9, 0.9, 0.1, 0.1];
    let labels = [0, 0, 0, 1, 1];
    let candidate = |name: &str, scores: [[f64; 5]; 3]| Candidate {
        name: name.to_owned(),
        runs: ["x-1", "x-2", "z-1"]
            .iter()
            .zip(scores)
            .map(|(name, scores)| run(name, &labels, &scores))
            .collect(),
    };
    let protocols =
        [vec![candidate("first", [right, right, wrong]), candidate("second", [wrong, wrong, right])]];
    assert_eq!(choose(&protocols, 0, 0.0, |run| run < 2).unwrap().candidate, 0);
    let crossed = cross_validate(&protocols, 0, &[vec![2]], 0.0);
    // Chosen on x, measured on z: all wrong.
    assert_eq!(crossed.choices[0].candidate, 0);
    assert_eq!((crossed.confusion.true_positive, crossed.confusion.false_positive), (0, 2));
    assert_eq!(one_by_one(2), [vec![0], vec![1]]);
    let names = ["x-1", "z-1", "x-2"].map(str::to_owned);
    assert_eq!(by_group(&names), [vec![0, 2], vec![1]]);
}
