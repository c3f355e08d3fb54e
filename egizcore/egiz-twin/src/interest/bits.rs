//! Sets of groups as bits: a row for one set, a matrix with a row for each Thing.

/// Bits of a word.
pub(super) const WORD: usize = u64::BITS as usize;

/// A set of groups.
#[derive(Debug, Default)]
pub(super) struct Row(Vec<u64>);

impl Row {
    pub(super) fn set(&mut self, bit: u32) {
        let (word, mask) = place(bit);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= mask;
    }

    pub(super) fn clear(&mut self, bit: u32) {
        let (word, mask) = place(bit);
        if let Some(bits) = self.0.get_mut(word) {
            *bits &= !mask;
        }
    }

    pub(super) fn word(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or(0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|bits| *bits == 0)
    }
}

/// A set of groups for each Thing, by slot.
#[derive(Debug, Default)]
pub(super) struct Matrix {
    /// Words of a row.
    width: usize,
    words: Vec<u64>,
}

impl Matrix {
    /// Makes room for this many groups; rows grow twofold, so that this is rare.
    pub(super) fn widen(&mut self, groups: usize) {
        let needed = groups.div_ceil(WORD);
        if needed <= self.width {
            return;
        }
        let width = needed.next_power_of_two();
        let rows = self.words.len().checked_div(self.width).unwrap_or(0);
        let mut words = vec![0; rows * width];
        if self.width > 0 {
            for (old, new) in self.words.chunks_exact(self.width).zip(words.chunks_exact_mut(width)) {
                new[..self.width].copy_from_slice(old);
            }
        }
        (self.width, self.words) = (width, words);
    }

    pub(super) fn row_mut(&mut self, slot: u32) -> &mut [u64] {
        let start = slot as usize * self.width;
        if self.words.len() < start + self.width {
            self.words.resize(start + self.width, 0);
        }
        &mut self.words[start..start + self.width]
    }

    pub(super) fn set(&mut self, slot: u32, bit: u32) {
        let (word, mask) = place(bit);
        self.row_mut(slot)[word] |= mask;
    }

    pub(super) fn clear_column(&mut self, bit: u32) {
        let (word, mask) = place(bit);
        if self.width > 0 {
            self.words.chunks_exact_mut(self.width).for_each(|row| row[word] &= !mask);
        }
    }
}

/// The places of the ones in a word, lowest first.
pub(super) fn ones(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(bit)
    })
}

/// Calls `each` with the number of every one in a row.
pub(super) fn each_bit(row: &[u64], mut each: impl FnMut(u32)) {
    for (index, word) in row.iter().enumerate() {
        let start = u32::try_from(index * WORD).unwrap_or(u32::MAX);
        ones(*word).for_each(|bit| each(start + bit));
    }
}

fn place(bit: u32) -> (usize, u64) {
    (bit as usize / WORD, 1 << (bit as usize % WORD))
}
