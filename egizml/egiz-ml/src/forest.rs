//! An isolation forest: random cuts isolate what is unusual after few of them.
//!
//! It cannot extrapolate: beyond the range it was grown on every value scores the same. So it decides nothing alone, and
//! the pipeline gives it whitened inputs.
//!
//! Source: Liu, Ting and Zhou, "Isolation forest" (2008). The rule at a node is that of scikit-learn: a row goes left when
//! its value, rounded to 32 bits, is at most the threshold.

mod shapley;

use crate::Error;
use crate::matrix::{MAX_COLUMNS, Matrix};
use crate::random::Random;

/// The deepest that a tree may be; explaining costs its square.
const MAX_DEPTH: usize = 64;
/// The most trees.
const MAX_TREES: usize = 4096;
/// The most nodes of one tree.
const MAX_NODES: usize = 1 << 20;

/// How a forest is grown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ForestOptions {
    /// Trees, 1 to 4096.
    pub trees: usize,
    /// Rows that each tree sees, 2 to 65 536; fewer where there are fewer.
    pub subsample: usize,
    /// Decides the cuts.
    pub seed: u64,
}

impl Default for ForestOptions {
    fn default() -> Self {
        Self { trees: 100, subsample: 256, seed: 1 }
    }
}

/// A node, as it comes from outside; children come after their parent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Node {
    /// Training rows that reached it, at least 1.
    pub samples: u32,
    /// How it divides; none for a leaf.
    pub cut: Option<Cut>,
}

/// How a node divides rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// The signal looked at, from 0.
    pub signal: u32,
    /// Rows at most this go left.
    pub threshold: f64,
    /// The node on the left, an index into the tree.
    pub left: u32,
    /// The node on the right.
    pub right: u32,
}

/// One tree; node 0 is its root.
#[derive(Debug, Clone, PartialEq)]
struct Tree {
    nodes: Vec<Node>,
    /// Edges from the root plus the average path length of the leaf's rows; 0 for inner nodes.
    paths: Vec<f64>,
    /// The mean of `paths` over the training rows.
    base: f64,
}

/// A grown forest.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    signals: usize,
    subsample: usize,
    trees: Vec<Tree>,
}

impl Forest {
    /// Grows a forest on rows × signals.
    ///
    /// # Errors
    /// With fewer than two rows, or where an option is out of range.
    pub fn fit(rows: &Matrix, options: &ForestOptions) -> Result<Self, Error> {
        if !(1..=MAX_TREES).contains(&options.trees) {
            let value = options.trees as f64;
            return Err(Error::Option { name: "trees", value, allowed: "1 to 4096" });
        }
        if !(2..=65_536).contains(&options.subsample) {
            let value = options.subsample as f64;
            return Err(Error::Option { name: "subsample", value, allowed: "2 to 65536" });
        }
        if rows.rows() < 2 {
            return Err(Error::TooFewRows { rows: rows.rows(), needed: 2 });
        }
        let subsample = options.subsample.min(rows.rows());
        let depth = subsample.next_power_of_two().trailing_zeros() as usize;
        let mut random = Random::new(options.seed);
        let mut order: Vec<usize> = (0..rows.rows()).collect();
        let trees = (0..options.trees).map(|_| {
            for at in 0..subsample {
                let other = at + random.below(order.len() - at);
                order.swap(at, other);
            }
            let mut nodes = Vec::with_capacity(2 * subsample);
            let mut drawn = order[..subsample].to_vec();
            Grower { rows, random: &mut random, nodes: &mut nodes }.grow(&mut drawn, depth);
            Tree::new(nodes)
        });
        Ok(Self { signals: rows.columns(), subsample, trees: trees.collect() })
    }

    /// Takes a forest that was grown elsewhere, each tree as its nodes.
    ///
    /// # Errors
    /// Where nodes contradict each other: children before their parent, counts that do not add up, signals that are not
    /// there, trees deeper than 64.
    pub fn from_trees(signals: usize, subsample: usize, trees: Vec<Vec<Node>>) -> Result<Self, Error> {
        if !(1..=MAX_COLUMNS).contains(&signals) {
            return Err(Error::Option { name: "signals", value: signals as f64, allowed: "1 to 512" });
        }
        if subsample < 2 {
            return Err(Error::Option { name: "subsample", value: subsample as f64, allowed: "2 or more" });
        }
        if !(1..=MAX_TREES).contains(&trees.len()) {
            return Err(Error::Option { name: "trees", value: trees.len() as f64, allowed: "1 to 4096" });
        }
        for (index, nodes) in trees.iter().enumerate() {
            check(nodes, signals).map_err(|reason| Error::Inconsistent { part: "tree", index, reason })?;
        }
        Ok(Self { signals, subsample, trees: trees.into_iter().map(Tree::new).collect() })
    }

    /// How many signals a row has.
    #[must_use]
    pub fn signals(&self) -> usize {
        self.signals
    }

    /// The mean path of a row: edges from the root plus the average path length of the rows in its leaf.
    ///
    /// # Panics
    /// Where the row has fewer values than [`Forest::signals`].
    #[must_use]
    pub fn mean_path(&self, row: &[f64]) -> f64 {
        assert!(row.len() >= self.signals, "a row has a value for each signal");
        self.trees.iter().map(|tree| tree.paths[tree.leaf(row)]).sum::<f64>() / self.trees.len() as f64
    }

    /// The score of a row, 0 to 1, the higher the more unusual: 2 to the power of −mean path / c(subsample).
    ///
    /// # Panics
    /// As [`Forest::mean_path`].
    #[must_use]
    pub fn score(&self, row: &[f64]) -> f64 {
        (-self.mean_path(row) / average_path_length(self.subsample)).exp2()
    }

    /// The Shapley values of the mean path, exact, path-dependent: one for each signal, which with [`Forest::base_path`] add
    /// up to the mean path. A negative value pushes towards "abnormal".
    ///
    /// # Panics
    /// As [`Forest::mean_path`].
    #[must_use]
    pub fn shapley(&self, row: &[f64]) -> Vec<f64> {
        assert!(row.len() >= self.signals, "a row has a value for each signal");
        let mut values = vec![0.0; self.signals];
        for tree in &self.trees {
            shapley::add(tree, row, &mut values);
        }
        for value in &mut values {
            *value /= self.trees.len() as f64;
        }
        values
    }

    /// The mean path that is expected where nothing is known of a row.
    #[must_use]
    pub fn base_path(&self) -> f64 {
        self.trees.iter().map(|tree| tree.base).sum::<f64>() / self.trees.len() as f64
    }
}

impl Tree {
    fn new(nodes: Vec<Node>) -> Self {
        let mut paths = vec![0.0; nodes.len()];
        let mut base = 0.0;
        // Parents come first, so each depth is known when its node is met.
        let mut depths = vec![0usize; nodes.len()];
        for (index, node) in nodes.iter().enumerate() {
            match node.cut {
                Some(cut) => {
                    depths[cut.left as usize] = depths[index] + 1;
                    depths[cut.right as usize] = depths[index] + 1;
                }
                None => {
                    paths[index] = depths[index] as f64 + average_path_length(node.samples as usize);
                    base += paths[index] * f64::from(node.samples) / f64::from(nodes[0].samples);
                }
            }
        }
        Self { nodes, paths, base }
    }

    fn leaf(&self, row: &[f64]) -> usize {
        let mut at = 0;
        while let Some(cut) = self.nodes[at].cut {
            at = if cut.takes_left(row) { cut.left } else { cut.right } as usize;
        }
        at
    }
}

impl Cut {
    fn takes_left(&self, row: &[f64]) -> bool {
        f64::from(row[self.signal as usize] as f32) <= self.threshold
    }
}

/// The average path length of an unsuccessful search among `samples` rows, which stands for the part of a tree that was
/// not grown: c(n) of the paper.
#[must_use]
pub fn average_path_length(samples: usize) -> f64 {
    const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;
    match samples {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let count = samples as f64;
            2.0 * ((count - 1.0).ln() + EULER_GAMMA) - 2.0 * (count - 1.0) / count
        }
    }
}

/// Grows one tree, depth first.
struct Grower<'a> {
    rows: &'a Matrix,
    random: &'a mut Random,
    nodes: &'a mut Vec<Node>,
}

impl Grower<'_> {
    fn grow(&mut self, drawn: &mut [usize], depth: usize) -> u32 {
        let at = self.nodes.len();
        self.nodes.push(Node { samples: drawn.len() as u32, cut: None });
        if depth > 0
            && drawn.len() > 1
            && let Some((signal, threshold)) = self.choose(drawn)
        {
            let left_count = self.divide(drawn, signal, threshold);
            let (low, high) = drawn.split_at_mut(left_count);
            let left = self.grow(low, depth - 1);
            let right = self.grow(high, depth - 1);
            self.nodes[at].cut = Some(Cut { signal: signal as u32, threshold, left, right });
        }
        at as u32
    }

    /// A signal that is not the same in all rows, and a threshold with rows on both sides; none where rows are equal.
    fn choose(&mut self, drawn: &[usize]) -> Option<(usize, f64)> {
        let range = |signal: usize| {
            let values = drawn.iter().map(|row| f64::from(self.rows.at(*row, signal) as f32));
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let ranges = (0..self.rows.columns()).map(|signal| (signal, range(signal)));
        let usable: Vec<(usize, (f64, f64))> =
            ranges.filter(|(_, (low, high))| low < high && low.is_finite() && high.is_finite()).collect();
        if usable.is_empty() {
            return None;
        }
        let (signal, (low, high)) = usable[self.random.below(usable.len())];
        let threshold = low + (high - low) * self.random.uniform();
        // Rounding may reach the highest value, which would leave the right side empty.
        Some((signal, if threshold < high { threshold } else { low }))
    }

    /// Brings the rows that go left to the front and says how many they are.
    fn divide(&self, drawn: &mut [usize], signal: usize, threshold: f64) -> usize {
        let mut left = 0;
        for at in 0..drawn.len() {
            if f64::from(self.rows.at(drawn[at], signal) as f32) <= threshold {
                drawn.swap(left, at);
                left += 1;
            }
        }
        left
    }
}

/// Whether nodes from outside are one tree.
fn check(nodes: &[Node], signals: usize) -> Result<(), &'static str> {
    if nodes.is_empty() || nodes.len() > MAX_NODES {
        return Err("has no nodes, or more than 1048576");
    }
    let mut depths: Vec<Option<usize>> = vec![None; nodes.len()];
    depths[0] = Some(0);
    for (index, node) in nodes.iter().enumerate() {
        let depth = depths[index].ok_or("a node has no parent before it")?;
        if node.samples == 0 {
            return Err("a node without samples");
        }
        let Some(cut) = node.cut else { continue };
        if cut.signal as usize >= signals {
            return Err("a node looks at a signal that is not there");
        }
        if !cut.threshold.is_finite() {
            return Err("a threshold is not a finite number");
        }
        if depth == MAX_DEPTH {
            return Err("is deeper than 64");
        }
        let mut samples = 0u64;
        for child in [cut.left as usize, cut.right as usize] {
            if child <= index || child >= nodes.len() {
                return Err("a child is not behind its parent");
            }
            if depths[child].replace(depth + 1).is_some() {
                return Err("a node has two parents");
            }
            samples += u64::from(nodes[child].samples);
        }
        if samples != u64::from(node.samples) {
            return Err("the samples of two children are not those of their parent");
        }
    }
    Ok(())
}
