//! A moving belt as a row of cells: what goes in comes out, in order, after the time on the belt.

use std::collections::VecDeque;

/// Pieces of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pieces {
    pub(crate) count: u32,
    /// Batch of the pieces; of the later one where two meet.
    pub(crate) batch: u32,
    /// Index of the recipe.
    pub(crate) recipe: usize,
}

impl Pieces {
    /// Adds pieces; no pieces change nothing.
    pub(crate) fn add(&mut self, more: Pieces) {
        if more.count > 0 {
            *self = Pieces { count: self.count + more.count, ..more };
        }
    }
}

/// A belt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Belt {
    cells: VecDeque<Pieces>,
    phase: f64,
    total: u32,
}

impl Belt {
    pub(crate) fn new(cells: usize) -> Self {
        Belt { cells: VecDeque::from(vec![Pieces::default(); cells.max(1)]), phase: 0.0, total: 0 }
    }

    /// Number of pieces on the belt.
    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    /// Puts pieces on the belt's start.
    pub(crate) fn load(&mut self, pieces: Pieces) {
        self.total += pieces.count;
        if let Some(first) = self.cells.front_mut() {
            first.add(pieces);
        }
    }

    /// Moves the belt by a share of its length and returns what falls off its end.
    pub(crate) fn advance(&mut self, share: f64) -> Pieces {
        self.phase += share * self.cells.len() as f64;
        let mut out = Pieces::default();
        while self.phase >= 1.0 {
            self.phase -= 1.0;
            out.add(self.cells.pop_back().unwrap_or_default());
            self.cells.push_front(Pieces::default());
        }
        self.total -= out.count;
        out
    }

    /// Returns the pieces in one of `parts` equal sections, counted from the start.
    pub(crate) fn section(&self, part: usize, parts: usize) -> u32 {
        let (from, to) = (part * self.cells.len() / parts, (part + 1) * self.cells.len() / parts);
        self.cells.range(from..to).map(|cell| cell.count).sum()
    }

    /// Returns the cells from the start to the end.
    pub(crate) fn cells(&self) -> impl Iterator<Item = &Pieces> {
        self.cells.iter()
    }

    /// Returns the batch and the recipe nearest to the belt's end.
    pub(crate) fn leading(&self) -> Option<Pieces> {
        if self.total == 0 {
            return None;
        }
        self.cells.iter().rev().find(|cell| cell.count > 0).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Belt, Pieces};

    proptest! {
        #[test]
        fn nothing_is_lost_or_made(loads in prop::collection::vec((0u32..50, 0.0f64..0.3), 1..100)) {
            let mut belt = Belt::new(24);
            let (mut put, mut taken) = (0u32, 0u32);
            for (count, share) in loads {
                belt.load(Pieces { count, batch: 1, recipe: 0 });
                put += count;
                taken += belt.advance(share).count;
                prop_assert_eq!(put, taken + belt.total());
                prop_assert_eq!((0..6).map(|part| belt.section(part, 6)).sum::<u32>(), belt.total());
            }
        }
    }

    #[test]
    fn pieces_take_the_whole_length() {
        let mut belt = Belt::new(10);
        belt.load(Pieces { count: 5, batch: 9, recipe: 2 });
        assert_eq!(belt.advance(0.95).count, 0);
        assert_eq!(belt.advance(0.051), Pieces { count: 5, batch: 9, recipe: 2 });
    }
}
