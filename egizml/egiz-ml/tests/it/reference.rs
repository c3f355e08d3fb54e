//! Numbers of scikit-learn 1.9.1, shap 0.51.0 and numpy 2.4 on invented data, in `tests/fixtures`.

use std::path::Path;

use egiz_ml::autoencoder::{Autoencoder, Layer};
use egiz_ml::covariance::LedoitWolf;
use egiz_ml::forest::{Cut, Forest, ForestOptions, Node, average_path_length};
use egiz_ml::matrix::Matrix;
use egiz_ml::metrics::{average_precision, roc_auc};
use serde::Deserialize;

fn fixture<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn close(found: f64, expected: f64, tolerance: f64) {
    let allowed = tolerance * expected.abs().max(1.0);
    assert!((found - expected).abs() <= allowed, "{found} where {expected} is expected");
}

fn all_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).for_each(|(found, expected)| close(*found, *expected, tolerance));
}

#[derive(Deserialize)]
struct ForestFile {
    trees: Vec<TreeFile>,
    subsample: usize,
}

#[derive(Deserialize)]
struct TreeFile {
    feature: Vec<i64>,
    threshold: Vec<f64>,
    left: Vec<i64>,
    right: Vec<i64>,
    samples: Vec<u32>,
}

#[derive(Deserialize)]
struct ForestExpected {
    rows: Vec<ForestRow>,
    average_path_length: std::collections::BTreeMap<usize, f64>,
}

#[derive(Deserialize)]
struct ForestRow {
    x: Vec<f64>,
    mean_path: f64,
    score: f64,
    shap_path: Vec<f64>,
    base_path: f64,
}

fn nodes(tree: &TreeFile) -> Vec<Node> {
    let node = |at: usize| {
        let cut = Cut {
            signal: tree.feature[at] as u32,
            threshold: tree.threshold[at],
            left: tree.left[at] as u32,
            right: tree.right[at] as u32,
        };
        Node { samples: tree.samples[at], cut: (tree.left[at] >= 0).then_some(cut) }
    };
    (0..tree.feature.len()).map(node).collect()
}

pub(crate) fn given_forest() -> Forest {
    let file: ForestFile = fixture("isolation-forest.json");
    Forest::from_trees(4, file.subsample, file.trees.iter().map(nodes).collect()).unwrap()
}

/// The rows that the given forest was grown on.
pub(crate) fn training_rows() -> Matrix {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/isolation-forest-train.csv");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().skip(1).map(|line| line.split(',').map(|value| value.parse().unwrap()).collect());
    Matrix::from_rows(&rows.collect::<Vec<Vec<f64>>>()).unwrap()
}

#[test]
fn a_given_forest_scores_and_explains_as_scikit_learn_and_shap_do() {
    let forest = given_forest();
    let expected: ForestExpected = fixture("isolation-forest-expected.json");
    assert_eq!(expected.rows.len(), 20);
    for row in &expected.rows {
        close(forest.mean_path(&row.x), row.mean_path, 1e-12);
        close(forest.score(&row.x), row.score, 1e-12);
        close(forest.base_path(), row.base_path, 1e-12);
        all_close(&forest.shapley(&row.x), &row.shap_path, 1e-12);
    }
    assert!(expected.average_path_length.len() > 10);
    for (samples, length) in expected.average_path_length {
        close(average_path_length(samples), length, 1e-12);
    }
}

#[test]
fn a_forest_grown_here_ranks_rows_as_the_given_one() {
    let rows = training_rows();
    let scores = |forest: &Forest| rows.iter().map(|row| forest.score(row)).collect::<Vec<f64>>();
    let grown =
        |trees, seed| scores(&Forest::fit(&rows, &ForestOptions { trees, subsample: 64, seed }).unwrap());
    let given = scores(&given_forest());
    for seed in 1..=5 {
        let ours = grown(200, seed);
        assert!(rank_correlation(&ours, &grown(200, seed + 50)) >= 0.95);
        // The given forest has 20 trees, whose chance is most of the difference: so 20 of ours are the measure.
        let (theirs, twenty) =
            (rank_correlation(&ours, &given), rank_correlation(&ours, &grown(20, seed + 100)));
        assert!(theirs >= 0.8 && theirs >= twenty - 0.05, "seed {seed}: {theirs}, twenty of ours {twenty}");
    }
}

fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    let ranks = |values: &[f64]| {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|x, y| values[*x].total_cmp(&values[*y]));
        let mut ranks = vec![0.0; values.len()];
        order.iter().enumerate().for_each(|(rank, at)| ranks[*at] = rank as f64);
        ranks
    };
    let count = a.len() as f64;
    let squares: f64 = ranks(a).iter().zip(ranks(b)).map(|(a, b)| (a - b).powi(2)).sum();
    1.0 - 6.0 * squares / (count * (count * count - 1.0))
}

#[derive(Deserialize)]
struct AutoencoderFile {
    weights: Vec<Vec<Vec<f64>>>,
    biases: Vec<Vec<f64>>,
    input: Vec<Vec<f64>>,
    output: Vec<Vec<f64>>,
    loss: f64,
    weight_gradients: Vec<Vec<Vec<f64>>>,
    bias_gradients: Vec<Vec<f64>>,
}

#[test]
fn a_given_network_repeats_and_differentiates_as_numpy_does() {
    let file: AutoencoderFile = fixture("autoencoder.json");
    let layers = file.weights.iter().zip(&file.biases);
    let layers = layers.map(|(w, b)| Layer { weights: Matrix::from_rows(w).unwrap(), biases: b.clone() });
    let network = Autoencoder::from_layers(layers.collect()).unwrap();
    for (input, output) in file.input.iter().zip(&file.output) {
        all_close(&network.repeat(input), output, 1e-12);
    }
    let gradients = network.gradients(&Matrix::from_rows(&file.input).unwrap()).unwrap();
    close(gradients.loss, file.loss, 1e-12);
    assert_eq!(gradients.layers.len(), 4);
    for (layer, (weights, biases)) in
        gradients.layers.iter().zip(file.weight_gradients.iter().zip(&file.bias_gradients))
    {
        layer.weights.iter().zip(weights).for_each(|(found, expected)| all_close(found, expected, 1e-12));
        all_close(&layer.biases, biases, 1e-12);
    }
}

#[derive(Deserialize)]
struct LedoitWolfFile {
    shrinkage: f64,
    mean: Vec<f64>,
    covariance: Vec<Vec<f64>>,
    squared_mahalanobis: Vec<f64>,
    rows: Vec<Vec<f64>>,
}

#[test]
fn the_shrunk_covariance_is_that_of_scikit_learn() {
    let file: LedoitWolfFile = fixture("ledoit-wolf.json");
    // The reference was fitted before its rows were rounded to six digits, which moves its eighth digit.
    let rows = training_rows();
    let found = LedoitWolf::fit(&rows).unwrap();
    close(found.shrinkage, file.shrinkage, 1e-7);
    all_close(&found.mean, &file.mean, 1e-7);
    found.covariance.iter().zip(&file.covariance).for_each(|(a, b)| all_close(a, b, 1e-7));
    // Beside it the paper's formulas, written down as they stand, on the very same rows.
    let (shrinkage, covariance) = by_the_paper(&rows);
    close(found.shrinkage, shrinkage, 1e-9);
    found.covariance.iter().zip(&covariance).for_each(|(a, b)| all_close(a, b, 1e-9));
    let given = LedoitWolf::from_covariance(file.mean, Matrix::from_rows(&file.covariance).unwrap()).unwrap();
    let distances: Vec<f64> = file.rows.iter().map(|row| given.squared_distance(row)).collect();
    all_close(&distances, &file.squared_mahalanobis, 1e-9);
}

fn by_the_paper(rows: &Matrix) -> (f64, Vec<Vec<f64>>) {
    let (n, p) = (rows.rows() as f64, rows.columns());
    let means: Vec<f64> = (0..p).map(|at| rows.column(at).iter().sum::<f64>() / n).collect();
    let centred: Vec<Vec<f64>> =
        rows.iter().map(|row| row.iter().zip(&means).map(|(value, mean)| value - mean).collect()).collect();
    let sample: Vec<Vec<f64>> = (0..p)
        .map(|a| (0..p).map(|b| centred.iter().map(|row| row[a] * row[b]).sum::<f64>() / n).collect())
        .collect();
    let m = (0..p).map(|at| sample[at][at]).sum::<f64>() / p as f64;
    let target = |a: usize, b: usize| if a == b { m } else { 0.0 };
    let norm = |matrix: &dyn Fn(usize, usize) -> f64| {
        (0..p).flat_map(|a| (0..p).map(move |b| (a, b))).map(|(a, b)| matrix(a, b).powi(2)).sum::<f64>()
    };
    let d = norm(&|a, b| sample[a][b] - target(a, b));
    let b = centred.iter().map(|row| norm(&|a, b| row[a] * row[b] - sample[a][b])).sum::<f64>() / (n * n);
    let share = b.min(d) / d;
    let mixed = (0..p).map(|a| (0..p).map(|b| (1.0 - share) * sample[a][b] + share * target(a, b)).collect());
    (share, mixed.collect())
}

#[derive(Deserialize)]
struct MetricsFile {
    labels: Vec<u8>,
    scores: Vec<f64>,
    roc_auc: f64,
    average_precision: f64,
}

#[test]
fn areas_with_ties_are_those_of_scikit_learn() {
    let file: MetricsFile = fixture("metrics.json");
    let labels: Vec<bool> = file.labels.iter().map(|label| *label == 1).collect();
    close(roc_auc(&labels, &file.scores).unwrap().unwrap(), file.roc_auc, 1e-12);
    close(average_precision(&labels, &file.scores).unwrap().unwrap(), file.average_precision, 1e-12);
}
