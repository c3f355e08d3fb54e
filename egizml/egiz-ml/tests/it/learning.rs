//! That training finds what is there, and the same each time.

use egiz_ml::autoencoder::{Autoencoder, Layer, TrainingOptions};
use egiz_ml::covariance::LedoitWolf;
use egiz_ml::forest::{Forest, ForestOptions};
use egiz_ml::matrix::Matrix;
use egiz_ml::metrics::{Confusion, average_precision, roc_auc};
use egiz_ml::quantile::{deviation, median, quantile};
use egiz_ml::random::Random;
use egiz_ml::scaling::RobustScale;
use proptest::prelude::*;

/// Two hidden causes seen by five signals, with some noise.
fn rank_two(seed: u64, rows: usize) -> Matrix {
    let mut random = Random::new(seed);
    let mut values = Vec::new();
    for _ in 0..rows {
        let (a, b) = (random.normal(), random.normal());
        for (x, y) in [(1.0, 0.0), (0.0, 1.0), (0.7, 0.7), (0.8, -0.6), (-0.5, 0.5)] {
            values.push(a * x + b * y + 0.1 * random.normal());
        }
    }
    Matrix::new(5, values).unwrap()
}

#[test]
fn a_narrow_network_comes_to_what_principal_components_leave() {
    let rows = rank_two(5, 400);
    // The best that two components can do is the sum of the other eigenvalues: trace minus the two largest, by power
    // iteration.
    let centred = centre(&rows);
    let covariance = covariance(&centred);
    let (first, second) = two_largest(&covariance);
    let trace: f64 = (0..5).map(|at| covariance[at][at]).sum();
    let best = (trace - first - second) / 5.0;
    let options =
        TrainingOptions { hidden: vec![16, 2, 16], epochs: 600, batch: 32, learning_rate: 0.01, seed: 3 };
    let network = Autoencoder::fit(&centred, &options).unwrap();
    let loss = network.gradients(&centred).unwrap().loss;
    // Layers that bend may do a little better than a plane, and must not do much worse.
    assert!(loss < best * 1.02, "{loss} where principal components leave {best}");
}

fn centre(rows: &Matrix) -> Matrix {
    let means: Vec<f64> = (0..5).map(|at| rows.column(at).iter().sum::<f64>() / rows.rows() as f64).collect();
    let values = rows.iter().flat_map(|row| row.iter().zip(&means).map(|(v, m)| v - m).collect::<Vec<_>>());
    Matrix::new(5, values.collect()).unwrap()
}

fn covariance(rows: &Matrix) -> Vec<Vec<f64>> {
    let sum = |a: usize, b: usize| rows.iter().map(|row| row[a] * row[b]).sum::<f64>() / rows.rows() as f64;
    (0..5).map(|a| (0..5).map(|b| sum(a, b)).collect()).collect()
}

fn two_largest(matrix: &[Vec<f64>]) -> (f64, f64) {
    let mut matrix = matrix.to_vec();
    let mut found = [0.0; 2];
    for value in &mut found {
        let mut vector = vec![1.0, 0.9, 0.8, 0.7, 0.6];
        for _ in 0..2000 {
            let next: Vec<f64> =
                matrix.iter().map(|row| row.iter().zip(&vector).map(|(a, b)| a * b).sum()).collect();
            *value = next.iter().map(|x| x * x).sum::<f64>().sqrt();
            vector = next.iter().map(|x| x / *value).collect();
        }
        for (row, x) in matrix.iter_mut().zip(&vector) {
            row.iter_mut().zip(&vector).for_each(|(cell, y)| *cell -= *value * x * y);
        }
    }
    (found[0], found[1])
}

#[test]
fn derivatives_are_those_of_small_differences() {
    let rows = rank_two(2, 7);
    let options = TrainingOptions { hidden: vec![3, 2], epochs: 1, batch: 4, learning_rate: 0.01, seed: 8 };
    let network = Autoencoder::fit(&rows, &options).unwrap();
    let gradients = network.gradients(&rows).unwrap();
    let step = 1e-5;
    let loss = |layers: Vec<Layer>| Autoencoder::from_layers(layers).unwrap().gradients(&rows).unwrap().loss;
    let slope = |change: &dyn Fn(&mut Vec<Layer>, f64)| {
        let [up, down] = [step, -step].map(|by| {
            let mut layers = network.layers().to_vec();
            change(&mut layers, by);
            loss(layers)
        });
        (up - down) / (2.0 * step)
    };
    for (at, layer) in gradients.layers.iter().enumerate() {
        for row in 0..layer.weights.rows() {
            for column in 0..layer.weights.columns() {
                let found = slope(&|layers, by| {
                    let weights = &layers[at].weights;
                    let mut values: Vec<f64> = weights.iter().flatten().copied().collect();
                    values[row * weights.columns() + column] += by;
                    layers[at].weights = Matrix::new(weights.columns(), values).unwrap();
                });
                let expected = layer.weights.at(row, column);
                assert!((found - expected).abs() < 1e-6 * expected.abs().max(0.01), "{found} {expected}");
            }
        }
        for (index, expected) in layer.biases.iter().enumerate() {
            let found = slope(&|layers, by| layers[at].biases[index] += by);
            assert!((found - expected).abs() < 1e-6 * expected.abs().max(0.01), "{found} {expected}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let rows = rank_two(1, 300);
    let forest = |seed| Forest::fit(&rows, &ForestOptions { seed, ..ForestOptions::default() }).unwrap();
    assert_eq!(forest(7), forest(7));
    assert_ne!(forest(7), forest(8));
    let network = |seed| {
        let options =
            TrainingOptions { hidden: vec![4, 2, 4], epochs: 5, batch: 16, learning_rate: 0.01, seed };
        Autoencoder::fit(&rows, &options).unwrap()
    };
    assert_eq!(network(7), network(7));
    assert_ne!(network(7), network(8));
}

#[test]
fn whitened_rows_have_no_correlation() {
    let rows = rank_two(4, 500);
    let fitted = LedoitWolf::fit(&rows).unwrap();
    let whitening = fitted.whitening();
    for row in rows.iter().take(20) {
        let centred: Vec<f64> = row.iter().zip(&fitted.mean).map(|(value, mean)| value - mean).collect();
        let length: f64 = whitening
            .iter()
            .map(|weights| weights.iter().zip(&centred).map(|(w, x)| w * x).sum::<f64>().powi(2))
            .sum();
        let distance = fitted.squared_distance(row);
        assert!((length - distance).abs() < 1e-9 * distance.max(1.0), "{length} {distance}");
    }
}

#[test]
fn counts_become_rates() {
    let mut count = Confusion::default();
    for (abnormal, flagged, times) in
        [(true, true, 6), (false, true, 1), (true, false, 2), (false, false, 11)]
    {
        (0..times).for_each(|_| count.count(abnormal, flagged));
    }
    assert_eq!(count.f1(), Some(6.0 / 7.5));
    assert_eq!(count.false_alarm_rate(), Some(1.0 / 12.0));
    assert_eq!(count.missing_alarm_rate(), Some(0.25));
    let nothing = Confusion::default();
    assert_eq!((nothing.f1(), nothing.false_alarm_rate(), nothing.missing_alarm_rate()), (None, None, None));
}

#[test]
fn quantiles_are_numpys_and_a_floor_holds_quantised_signals() {
    assert_eq!(quantile(&[4.0, 1.0, 3.0, 2.0], 0.9), Some(3.7));
    assert_eq!(quantile(&[7.0], 0.3), Some(7.0));
    assert_eq!(quantile(&[], 0.5), None);
    assert_eq!(median(&[1.0, 9.0]), Some(5.0));
    assert!((deviation(&[1.0, 2.0, 3.0, 4.0, 100.0], 3.0).unwrap() - 1.482_602_218_505_602).abs() < 1e-15);
    // Nine in ten values are 32: the median absolute deviation is 0.
    let flow: Vec<f64> = (0..100).map(|at| if at % 10 == 0 { 33.0 } else { 32.0 }).collect();
    let scale = RobustScale::fit(&Matrix::new(1, flow).unwrap(), 0.1).unwrap();
    assert_eq!(scale.centre, [32.0]);
    assert!((scale.scale[0] - 0.03).abs() < 1e-12);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn areas_are_those_of_counting_pairs(samples in prop::collection::vec((any::<bool>(), 0u8..6), 1..60)) {
        let labels: Vec<bool> = samples.iter().map(|sample| sample.0).collect();
        let scores: Vec<f64> = samples.iter().map(|sample| f64::from(sample.1)).collect();
        let (mut wins, mut pairs) = (0.0, 0.0);
        for (abnormal, high) in samples.iter().filter(|sample| sample.0) {
            prop_assert!(*abnormal);
            for (_, low) in samples.iter().filter(|sample| !sample.0) {
                pairs += 1.0;
                wins += match high.cmp(low) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                };
            }
        }
        let area = roc_auc(&labels, &scores).unwrap();
        prop_assert_eq!(area.is_some(), pairs > 0.0);
        if let Some(area) = area {
            prop_assert!((area - wins / pairs).abs() < 1e-12);
        }
        let precision = average_precision(&labels, &scores).unwrap();
        prop_assert!(precision.is_none_or(|value| value > 0.0 && value <= 1.0 + 1e-12));
    }

    /// With a threshold at a quantile of exchangeable data, later data exceeds it as often as promised.
    #[test]
    fn a_quantile_covers_what_it_says(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let seen: Vec<f64> = (0..2000).map(|_| random.normal()).collect();
        let limit = quantile(&seen, 0.95).unwrap();
        let above = (0..2000).filter(|_| random.normal() > limit).count() as f64 / 2000.0;
        // Both samples have chance: four standard deviations of their difference.
        prop_assert!((above - 0.05).abs() < 4.0 * (2.0 * 0.05 * 0.95 / 2000.0_f64).sqrt(), "{above}");
    }
}
