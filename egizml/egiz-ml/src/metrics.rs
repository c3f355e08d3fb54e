//! How good a detector is, point by point, against labels. There is no point adjustment here, and there will be none: with
//! it a detector that flags one sample in a hundred at random looks perfect.

use crate::Error;

/// How many samples were flagged rightly and wrongly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Abnormal and flagged.
    pub true_positive: u64,
    /// Normal and flagged.
    pub false_positive: u64,
    /// Abnormal and not flagged.
    pub false_negative: u64,
    /// Normal and not flagged.
    pub true_negative: u64,
}

impl Confusion {
    /// Counts one sample.
    pub fn count(&mut self, abnormal: bool, flagged: bool) {
        match (abnormal, flagged) {
            (true, true) => self.true_positive += 1,
            (false, true) => self.false_positive += 1,
            (true, false) => self.false_negative += 1,
            (false, false) => self.true_negative += 1,
        }
    }

    /// Adds another count, as pooling over files does.
    pub fn add(&mut self, other: &Self) {
        self.true_positive += other.true_positive;
        self.false_positive += other.false_positive;
        self.false_negative += other.false_negative;
        self.true_negative += other.true_negative;
    }

    /// F1 = TP / (TP + (FP + FN) / 2), 0 to 1; none where nothing is abnormal and nothing flagged.
    #[must_use]
    pub fn f1(&self) -> Option<f64> {
        let wrong = self.false_positive + self.false_negative;
        ratio(2 * self.true_positive, 2 * self.true_positive + wrong)
    }

    /// The false alarm rate FP / (FP + TN), 0 to 1; none without normal samples.
    #[must_use]
    pub fn false_alarm_rate(&self) -> Option<f64> {
        ratio(self.false_positive, self.false_positive + self.true_negative)
    }

    /// The missing alarm rate FN / (FN + TP), 0 to 1; none without abnormal samples.
    #[must_use]
    pub fn missing_alarm_rate(&self) -> Option<f64> {
        ratio(self.false_negative, self.false_negative + self.true_positive)
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The area under the receiver operating characteristic: how likely an abnormal sample scores above a normal one, ties
/// counting half. None where one of the two kinds is missing.
///
/// # Errors
/// Where lengths differ or a score is NaN.
pub fn roc_auc(abnormal: &[bool], scores: &[f64]) -> Result<Option<f64>, Error> {
    let groups = tied_groups(abnormal, scores)?;
    let positives: f64 = groups.iter().map(|group| group.positives).sum();
    let negatives: f64 = groups.iter().map(|group| group.negatives).sum();
    let mut above = 0.0;
    let mut wins = 0.0;
    for group in &groups {
        wins += group.negatives * (above + group.positives / 2.0);
        above += group.positives;
    }
    Ok((positives > 0.0 && negatives > 0.0).then(|| wins / (positives * negatives)))
}

/// Average precision: the precision at each distinct threshold, weighted by the recall it adds. None where nothing is
/// abnormal.
///
/// # Errors
/// Where lengths differ or a score is NaN.
pub fn average_precision(abnormal: &[bool], scores: &[f64]) -> Result<Option<f64>, Error> {
    let groups = tied_groups(abnormal, scores)?;
    let positives: f64 = groups.iter().map(|group| group.positives).sum();
    let (mut found, mut flagged, mut area) = (0.0, 0.0, 0.0);
    for group in &groups {
        found += group.positives;
        flagged += group.positives + group.negatives;
        area += group.positives * found / flagged;
    }
    Ok((positives > 0.0).then(|| area / positives))
}

/// Samples of one score.
struct Tied {
    positives: f64,
    negatives: f64,
}

/// Groups of equal scores, the highest first.
fn tied_groups(abnormal: &[bool], scores: &[f64]) -> Result<Vec<Tied>, Error> {
    if abnormal.len() != scores.len() {
        return Err(Error::Length { what: "scores", found: scores.len(), expected: abnormal.len() });
    }
    if let Some(row) = scores.iter().position(|score| score.is_nan()) {
        return Err(Error::NotFinite { row, column: 0 });
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    Ok(order
        .chunk_by(|a, b| scores[*a] == scores[*b])
        .map(|group| {
            let positives = group.iter().filter(|row| abnormal[**row]).count();
            Tied { positives: positives as f64, negatives: (group.len() - positives) as f64 }
        })
        .collect())
}
