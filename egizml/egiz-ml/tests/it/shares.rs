//! Shapley values against their definition and their axioms, on random forests, networks and scores.

use egiz_ml::autoencoder::{Autoencoder, TrainingOptions};
use egiz_ml::forest::{Cut, Forest, ForestOptions, Node, average_path_length};
use egiz_ml::matrix::Matrix;
use egiz_ml::random::Random;
use egiz_ml::shapley::explain;
use proptest::prelude::*;

fn random_rows(seed: u64, rows: usize, signals: usize) -> Matrix {
    let mut random = Random::new(seed);
    let values = (0..rows * signals).map(|_| (random.normal() * 4.0).round() / 4.0);
    Matrix::new(signals, values.collect()).unwrap()
}

/// The path that is expected where only some signals are known: unknown ones follow the training rows.
fn expected_path(nodes: &[Node], at: usize, depth: usize, row: &[f64], known: &[bool]) -> f64 {
    let node = nodes[at];
    let Some(Cut { signal, threshold, left, right }) = node.cut else {
        return depth as f64 + average_path_length(node.samples as usize);
    };
    let go = |child: u32| expected_path(nodes, child as usize, depth + 1, row, known);
    if known[signal as usize] {
        let takes_left = f64::from(row[signal as usize] as f32) <= threshold;
        return go(if takes_left { left } else { right });
    }
    let share = f64::from(nodes[left as usize].samples) / f64::from(node.samples);
    share * go(left) + (1.0 - share) * go(right)
}

/// A random tree, as its nodes.
fn grow(random: &mut Random, nodes: &mut Vec<Node>, samples: u32, depth: usize, signals: usize) -> u32 {
    let at = nodes.len();
    nodes.push(Node { samples, cut: None });
    if depth > 0 && samples > 1 {
        let low = 1 + random.below(samples as usize - 1) as u32;
        let (signal, threshold) = (random.below(signals) as u32, random.normal());
        let left = grow(random, nodes, low, depth - 1, signals);
        let right = grow(random, nodes, samples - low, depth - 1, signals);
        nodes[at].cut = Some(Cut { signal, threshold, left, right });
    }
    at as u32
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_forests_shares_are_those_of_the_definition(seed in any::<u64>(), signals in 1usize..=6) {
        let mut random = Random::new(seed);
        let trees: Vec<Vec<Node>> = (0..4)
            .map(|_| {
                let mut nodes = Vec::new();
                grow(&mut random, &mut nodes, 64, 7, signals);
                nodes
            })
            .collect();
        let forest = Forest::from_trees(signals, 64, trees.clone()).unwrap();
        let row: Vec<f64> = (0..signals).map(|_| random.normal()).collect();
        let naive = explain(signals, 1, 1, |known| {
            trees.iter().map(|nodes| expected_path(nodes, 0, 0, &row, known)).sum::<f64>() / 4.0
        });
        prop_assert!((naive.base - forest.base_path()).abs() < 1e-12);
        for (found, expected) in forest.shapley(&row).iter().zip(&naive.values) {
            prop_assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn base_and_shares_of_a_grown_forest_add_up(seed in any::<u64>(), signals in 1usize..=20) {
        let rows = random_rows(seed, 200, signals);
        let forest = Forest::fit(&rows, &ForestOptions { trees: 10, subsample: 128, seed }).unwrap();
        let row = random_rows(seed ^ 1, 1, signals);
        let sum = forest.base_path() + forest.shapley(row.row(0)).iter().sum::<f64>();
        let path = forest.mean_path(row.row(0));
        prop_assert!((sum - path).abs() <= 1e-9 * path.max(1.0), "{sum} {path}");
    }

    #[test]
    fn shares_of_a_network_add_up(seed in any::<u64>(), signals in 2usize..=14) {
        let rows = random_rows(seed, 40, signals);
        let options = TrainingOptions { hidden: vec![3], epochs: 3, batch: 8, learning_rate: 0.01, seed };
        let network = Autoencoder::fit(&rows, &options).unwrap();
        let row = rows.row(0);
        let score = |known: &[bool]| {
            let mixed = row.iter().zip(known).map(|(value, known)| if *known { *value } else { 0.0 });
            network.error(&mixed.collect::<Vec<f64>>())
        };
        let shares = explain(signals, 8, seed, score);
        prop_assert_eq!(shares.is_exact, signals <= 12);
        let sum = shares.base + shares.values.iter().sum::<f64>();
        prop_assert!((sum - network.error(row)).abs() <= 1e-9 * network.error(row).max(1.0));
    }
}

#[test]
fn equal_signals_share_equally_and_an_unused_one_gets_nothing() {
    // Signals 0 and 1 do the same; 2 does nothing; 3 works with 0 and 1.
    for signals in [4, 13] {
        let score = |known: &[bool]| {
            let [a, b, d] = [0, 1, 3].map(|at: usize| if known[at] { 1.0 } else { 0.0 });
            (a + b + 0.5_f64 * d).powi(3)
        };
        let shares = explain(signals, 512, 3, score);
        let tolerance = if shares.is_exact { 1e-9 } else { 0.5 };
        assert!((shares.values[0] - shares.values[1]).abs() < tolerance, "{shares:?}");
        assert!(shares.values[2].abs() < 1e-12);
        assert!((shares.values.iter().sum::<f64>() - 2.5_f64.powi(3)).abs() < 1e-9);
    }
}

#[test]
fn more_orders_bring_the_sampled_shares_to_the_exact_ones() {
    // 13 signals, of which the score adds pairs: the exact share of each is known.
    let weights: Vec<f64> = (0..13).map(|at| f64::from(at) / 10.0).collect();
    let score = |known: &[bool]| {
        let sum: f64 = weights.iter().zip(known).filter(|(_, known)| **known).map(|(weight, _)| weight).sum();
        sum * sum
    };
    let whole: f64 = weights.iter().sum();
    let shares = explain(13, 2000, 9, score);
    for (share, weight) in shares.values.iter().zip(&weights) {
        // For a square of a sum: w² + w × (sum of the others).
        assert!((share - weight * whole).abs() < 1e-9, "antithetic pairs are exact for pairwise scores");
    }
}
