//! Shapley values of any score: what each signal adds, averaged over all orders in which signals become known.
//!
//! A score is asked about sets of known signals; the others are at their usual value. Up to [`MAX_EXACT`] signals every set is
//! asked; above, a seeded sample of orders, each beside its reverse. Both add up to score minus base, to rounding.
//!
//! Source: Shapley (1953); Mitchell and others, "Sampling permutations for Shapley value estimation" (2022), antithetic pairs.

use crate::random::Random;

/// The most signals for which every set is asked: 4096 sets.
pub const MAX_EXACT: usize = 12;

/// What each signal adds, and where the sum starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribution {
    /// The score where every signal is at its usual value.
    pub base: f64,
    /// One for each signal; with `base` they add up to the score.
    pub values: Vec<f64>,
    /// Whether every set was asked.
    pub is_exact: bool,
}

/// Explains the `score` of a set of known signals: exactly up to [`MAX_EXACT`] signals, else over `pairs` orders and their
/// reverses (at least one).
pub fn explain(signals: usize, pairs: usize, seed: u64, score: impl FnMut(&[bool]) -> f64) -> Attribution {
    if signals <= MAX_EXACT { exact(signals, score) } else { sampled(signals, pairs, seed, score) }
}

fn exact(signals: usize, mut score: impl FnMut(&[bool]) -> f64) -> Attribution {
    let mut known = vec![false; signals];
    let scores: Vec<f64> = (0usize..1 << signals)
        .map(|set| {
            for (signal, known) in known.iter_mut().enumerate() {
                *known = set >> signal & 1 == 1;
            }
            score(&known)
        })
        .collect();
    // The weight of a set of k others: k! (n − k − 1)! / n!
    let mut weights = vec![0.0; signals];
    for (size, weight) in weights.iter_mut().enumerate() {
        *weight = 1.0 / (signals as f64 * binomial(signals - 1, size));
    }
    let values = (0..signals).map(|signal| {
        let bit = 1usize << signal;
        let without = (0..scores.len()).filter(|set| set & bit == 0);
        without.map(|set| weights[set.count_ones() as usize] * (scores[set | bit] - scores[set])).sum()
    });
    Attribution { base: scores[0], values: values.collect(), is_exact: true }
}

fn binomial(of: usize, take: usize) -> f64 {
    (0..take).fold(1.0, |product, at| product * (of - at) as f64 / (at + 1) as f64)
}

fn sampled(signals: usize, pairs: usize, seed: u64, mut score: impl FnMut(&[bool]) -> f64) -> Attribution {
    let mut random = Random::new(seed);
    let mut order: Vec<usize> = (0..signals).collect();
    let mut values = vec![0.0; signals];
    let base = score(&vec![false; signals]);
    let pairs = pairs.max(1);
    for _ in 0..pairs {
        random.shuffle(&mut order);
        for _ in 0..2 {
            let mut known = vec![false; signals];
            let mut before = base;
            for signal in &order {
                known[*signal] = true;
                let after = score(&known);
                values[*signal] += (after - before) / (2 * pairs) as f64;
                before = after;
            }
            order.reverse();
        }
    }
    Attribution { base, values, is_exact: false }
}
