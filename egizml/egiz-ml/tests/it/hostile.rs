//! Data that makes no sense: an error that says where, or a finite number; never a panic.

use egiz_ml::Error;
use egiz_ml::autoencoder::{Autoencoder, Layer, TrainingOptions};
use egiz_ml::covariance::LedoitWolf;
use egiz_ml::forest::{Cut, Forest, ForestOptions, Node};
use egiz_ml::matrix::Matrix;
use egiz_ml::metrics::roc_auc;
use egiz_ml::scaling::RobustScale;

#[test]
fn what_is_not_a_number_is_refused_with_its_place() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let refused = Matrix::new(2, vec![1.0, 2.0, 3.0, value]);
        assert_eq!(refused, Err(Error::NotFinite { row: 1, column: 1 }));
    }
    assert!(Matrix::new(0, vec![]).is_err());
    assert!(Matrix::new(2, vec![1.0]).is_err());
    assert!(Matrix::from_rows(&[vec![1.0], vec![1.0, 2.0]]).is_err());
    assert!(Matrix::new(513, vec![0.0; 513]).is_err());
    assert!(roc_auc(&[true, false], &[f64::NAN, 1.0]).is_err());
    assert!(roc_auc(&[true], &[1.0, 1.0]).is_err());
}

#[test]
fn constant_duplicated_and_huge_rows_give_finite_scores() {
    let cases = [
        vec![5.0; 40],
        vec![0.0; 40],
        (0..40).map(|at| if at % 2 == 0 { 1e150 } else { -1e150 }).collect(),
        (0..40).map(|at| f64::from(at / 8) * 1e-200).collect(),
        vec![1.0, 2.0, 1.0, 2.0],
    ];
    for values in cases {
        let rows = Matrix::new(2, values).unwrap();
        let scale = RobustScale::fit(&rows, 0.02).unwrap();
        assert!(scale.scale.iter().all(|scale| *scale > 0.0 && scale.is_finite()), "{scale:?}");
        let mut scaled = Vec::new();
        for row in rows.iter() {
            let mut out = [0.0; 2];
            scale.apply(row, &mut out);
            scaled.extend(out);
        }
        let scaled = Matrix::new(2, scaled).unwrap();
        let covariance = LedoitWolf::fit(&scaled).unwrap();
        let forest = Forest::fit(&scaled, &ForestOptions::default()).unwrap();
        for row in [scaled.row(0), &[1e12, -1e12], &[0.0, 0.0]] {
            assert!(covariance.squared_distance(row).is_finite(), "{covariance:?}");
            assert!((0.0..=1.0).contains(&forest.score(row)));
            assert!(forest.shapley(row).iter().all(|share| share.is_finite()));
        }
    }
}

#[test]
fn one_row_is_too_few() {
    let row = Matrix::new(2, vec![1.0, 2.0]).unwrap();
    let too_few = Error::TooFewRows { rows: 1, needed: 2 };
    assert_eq!(LedoitWolf::fit(&row), Err(too_few.clone()));
    assert_eq!(Forest::fit(&row, &ForestOptions::default()), Err(too_few.clone()));
    assert_eq!(too_few.to_string(), "1 rows are too few: at least 2 are needed");
    let options = TrainingOptions { hidden: vec![1], epochs: 1, batch: 1, learning_rate: 0.1, seed: 1 };
    assert_eq!(Autoencoder::fit(&row, &options), Err(too_few));
}

#[test]
fn options_out_of_range_are_named() {
    let rows = Matrix::new(1, vec![1.0, 2.0, 3.0]).unwrap();
    let named = |error: Error| error.to_string();
    let forest = |trees, subsample| Forest::fit(&rows, &ForestOptions { trees, subsample, seed: 1 });
    assert_eq!(named(forest(0, 8).unwrap_err()), "trees is 0, allowed is 1 to 4096");
    assert_eq!(named(forest(8, 1).unwrap_err()), "subsample is 1, allowed is 2 to 65536");
    assert!(RobustScale::fit(&rows, f64::NAN).is_err());
    let good = TrainingOptions { hidden: vec![1], epochs: 1, batch: 1, learning_rate: 0.1, seed: 1 };
    for bad in [
        TrainingOptions { hidden: vec![], ..good.clone() },
        TrainingOptions { hidden: vec![0], ..good.clone() },
        TrainingOptions { epochs: 0, ..good.clone() },
        TrainingOptions { batch: 0, ..good.clone() },
        TrainingOptions { learning_rate: f64::NAN, ..good.clone() },
    ] {
        assert!(matches!(Autoencoder::fit(&rows, &bad), Err(Error::Option { .. })), "{bad:?}");
    }
}

#[test]
fn a_forest_that_contradicts_itself_is_refused() {
    let leaf = |samples| Node { samples, cut: None };
    let inner = |samples, signal, left, right| Node {
        samples,
        cut: Some(Cut { signal, threshold: 0.5, left, right }),
    };
    let cases: [(Vec<Node>, &str); 7] = [
        (vec![], "no nodes"),
        (vec![inner(2, 0, 0, 1), leaf(1)], "behind its parent"),
        (vec![inner(2, 0, 1, 9), leaf(1)], "behind its parent"),
        (vec![inner(2, 3, 1, 2), leaf(1), leaf(1)], "not there"),
        (vec![inner(2, 0, 1, 1), leaf(1)], "two parents"),
        (vec![inner(3, 0, 1, 2), leaf(1), leaf(1)], "those of their parent"),
        (vec![inner(1, 0, 1, 2), leaf(0), leaf(1)], "without samples"),
    ];
    for (nodes, part) in cases {
        let message = Forest::from_trees(1, 2, vec![nodes]).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    // A chain of 65 cuts.
    let mut chain: Vec<Node> = Vec::new();
    for depth in 0..65u32 {
        chain.push(inner(66 - depth, 0, 2 * depth + 1, 2 * depth + 2));
        chain.push(leaf(1));
    }
    chain.push(leaf(1));
    assert!(Forest::from_trees(1, 2, vec![chain]).unwrap_err().to_string().contains("deeper"));
}

#[test]
fn a_network_whose_layers_do_not_fit_is_refused() {
    let layer = |rows: usize, columns: usize, biases: usize| Layer {
        weights: Matrix::new(columns, vec![0.5; rows * columns]).unwrap(),
        biases: vec![0.0; biases],
    };
    assert!(Autoencoder::from_layers(vec![]).is_err());
    assert!(Autoencoder::from_layers(vec![layer(2, 1, 1)]).is_err());
    assert!(Autoencoder::from_layers(vec![layer(2, 1, 2), layer(1, 2, 2)]).is_err());
    assert!(Autoencoder::from_layers(vec![layer(2, 1, 1), layer(2, 2, 2)]).is_err());
    assert!(Autoencoder::from_layers(vec![layer(2, 1, 1), layer(1, 2, 2)]).is_ok());
}
