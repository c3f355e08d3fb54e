//! Explanations: they add up, and they name the signal that was changed.

use std::sync::Arc;

use egiz_ml::explain::Direction;
use egiz_ml::{Detector, Model, Scorer};

use crate::plant::{name, options, rows, series};

/// A machine of `signals`, of which one drifts off in the end; the scorer stands behind the last row.
fn with_fault(signals: usize, faulted: usize, offset: f64) -> Scorer {
    let model = Arc::new(Model::fit(&series(&rows(1, 1500, signals)), &options()).unwrap());
    let mut fresh = rows(9, 120, signals);
    fresh[80..].iter_mut().for_each(|values| values[faulted] += offset);
    let fresh = series(&fresh);
    let mut scorer = Scorer::new(model, fresh.signals());
    fresh.iter().for_each(|row| drop(scorer.push(row)));
    scorer
}

#[test]
fn shares_add_up_to_the_score_that_was_given() {
    for signals in [5, 12, 16] {
        let model = Arc::new(Model::fit(&series(&rows(1, 1000, signals)), &options()).unwrap());
        let fresh = series(&rows(4, 60, signals));
        let mut scorer = Scorer::new(model, fresh.signals());
        let score = fresh.iter().map(|row| scorer.push(row)).last().unwrap();
        let targets = Detector::ALL.map(Some).into_iter().chain([None]);
        for target in targets {
            let found = scorer.explain(target).unwrap();
            let sum = found.base + found.parts.iter().map(|part| part.share).sum::<f64>();
            assert!((sum - found.score).abs() <= 1e-9 * found.score.abs().max(1.0), "{target:?}: {found:?}");
            let given = match target {
                Some(Detector::Forest) => None,
                Some(detector) => score.detector(detector),
                None => score.fused,
            };
            if let Some(given) = given {
                assert!(
                    (given - found.score).abs() <= 1e-9 * given.max(1.0),
                    "{target:?}: {given} {found:?}"
                );
            }
            assert_eq!(found.is_exact, signals <= 12 || target == Some(Detector::Forest));
            assert_eq!(found.parts.len(), signals);
        }
    }
}

#[test]
fn the_signal_that_was_changed_comes_first_with_its_direction() {
    for faulted in 0..6 {
        for offset in [-30.0, 30.0] {
            let scorer = with_fault(6, faulted, offset);
            for target in [None, Some(Detector::Distance), Some(Detector::Autoencoder)] {
                let found = scorer.explain(target).unwrap();
                assert!(found.score > 1.0, "{target:?}: {}", found.score);
                let first = &found.parts[0];
                assert_eq!(first.signal, name(faulted), "{target:?} {offset}: {found:?}");
                let direction = if offset > 0.0 { Direction::Above } else { Direction::Below };
                assert_eq!(first.direction, direction);
                let usual = 50.0 + faulted as f64 * 10.0;
                assert!((first.expected - usual).abs() < 6.0, "{first:?}");
                let fractions: f64 = found.parts.iter().map(|part| part.fraction).sum();
                assert!((fractions - 1.0).abs() < 1e-9);
            }
        }
    }
}

#[test]
fn nothing_is_explained_where_nothing_was_scored() {
    let mut scorer = with_fault(4, 1, 10.0);
    assert!(scorer.explain(None).is_some());
    let time_ms = 0;
    scorer.push(egiz_ml::Row { time_ms, values: &[0.0; 4], regime: "" });
    assert_eq!(scorer.explain(None), None);
}
