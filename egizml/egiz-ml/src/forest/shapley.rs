//! Exact Shapley values of one tree in polynomial time, where what is not known follows the training rows.
//!
//! Source: Lundberg, Erion and Lee, "Consistent individualized feature attribution for tree ensembles" (2018), algorithm 2.
//! The names of fractions and weights are the paper's.

use super::Tree;

/// A signal on the way from the root to the present node.
#[derive(Clone, Copy)]
struct Step {
    signal: u32,
    /// The share of training rows that go on along the path where this signal is unknown.
    zero: f64,
    /// Whether the row itself goes on along the path: 0 or 1.
    one: f64,
    /// The weight of the subsets of the path's signals with as many members as this step's index.
    weight: f64,
}

/// Belongs to no signal: the root.
const NONE: u32 = u32::MAX;

/// Adds the tree's Shapley values for `row` to `values`.
pub(super) fn add(tree: &Tree, row: &[f64], values: &mut [f64]) {
    Walk { tree, row, values }.visit(0, Vec::new(), Step { signal: NONE, zero: 1.0, one: 1.0, weight: 0.0 });
}

struct Walk<'a> {
    tree: &'a Tree,
    row: &'a [f64],
    values: &'a mut [f64],
}

impl Walk<'_> {
    fn visit(&mut self, at: usize, mut path: Vec<Step>, step: Step) {
        extend(&mut path, step);
        let node = self.tree.nodes[at];
        let Some(cut) = node.cut else {
            for index in 1..path.len() {
                let share = unwound_sum(&path, index) * (path[index].one - path[index].zero);
                self.values[path[index].signal as usize] += share * self.tree.paths[at];
            }
            return;
        };
        let (mut zero, mut one) = (1.0, 1.0);
        if let Some(before) = path.iter().position(|step| step.signal == cut.signal) {
            (zero, one) = (path[before].zero, path[before].one);
            unwind(&mut path, before);
        }
        let left = cut.takes_left(self.row);
        for (child, taken) in [(cut.left, left), (cut.right, !left)] {
            let child = child as usize;
            let share = f64::from(self.tree.nodes[child].samples) / f64::from(node.samples);
            let one = if taken { one } else { 0.0 };
            let step = Step { signal: cut.signal, zero: zero * share, one, weight: 0.0 };
            self.visit(child, path.clone(), step);
        }
    }
}

/// Appends a step: each subset grows by it, or does not.
fn extend(path: &mut Vec<Step>, mut step: Step) {
    let length = path.len();
    step.weight = if length == 0 { 1.0 } else { 0.0 };
    path.push(step);
    let whole = (length + 1) as f64;
    for index in (0..length).rev() {
        path[index + 1].weight += step.one * path[index].weight * (index + 1) as f64 / whole;
        path[index].weight = step.zero * path[index].weight * (length - index) as f64 / whole;
    }
}

/// Takes a step out again: the reverse of [`extend`].
fn unwind(path: &mut Vec<Step>, out: usize) {
    let last = path.len() - 1;
    let Step { zero, one, .. } = path[out];
    let whole = path.len() as f64;
    let mut next = path[last].weight;
    for index in (0..last).rev() {
        if one != 0.0 {
            let before = path[index].weight;
            path[index].weight = next * whole / ((index + 1) as f64 * one);
            next = before - path[index].weight * zero * (last - index) as f64 / whole;
        } else {
            path[index].weight = path[index].weight * whole / (zero * (last - index) as f64);
        }
    }
    for index in out..last {
        let Step { signal, zero, one, .. } = path[index + 1];
        path[index] = Step { signal, zero, one, weight: path[index].weight };
    }
    path.pop();
}

/// The sum of the weights as they would be without the step at `out`.
fn unwound_sum(path: &[Step], out: usize) -> f64 {
    let last = path.len() - 1;
    let Step { zero, one, .. } = path[out];
    let whole = path.len() as f64;
    let mut next = path[last].weight;
    let mut sum = 0.0;
    for index in (0..last).rev() {
        if one != 0.0 {
            let weight = next * whole / ((index + 1) as f64 * one);
            sum += weight;
            next = path[index].weight - weight * zero * (last - index) as f64 / whole;
        } else {
            sum += path[index].weight * whole / (zero * (last - index) as f64);
        }
    }
    sum
}
