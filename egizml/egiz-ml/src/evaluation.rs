//! How good scores are on labelled runs: point by point and event by event, pooled over files, with limits that were chosen on
//! other files.
//!
//! Nothing is adjusted after the fact: a point that was not flagged is not flagged. Reading files is the caller's.

pub mod nab;
pub mod skab;
pub mod tep;

use crate::Error;
use crate::episode::{Change, EpisodeRule, Episodes};
use crate::metrics::{Confusion, roc_auc};
use crate::series::Series;

/// A run whose abnormal rows are known.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// As the file is named.
    pub name: String,
    /// The rows.
    pub series: Series,
    /// One for each row.
    pub abnormal: Vec<bool>,
}

/// The scores of one run, with what is true.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// As the file is named.
    pub name: String,
    /// Of each row.
    pub times_ms: Vec<i64>,
    /// Of each row.
    pub abnormal: Vec<bool>,
    /// Of each row; none where nothing was scored, which counts as not flagged.
    pub scores: Vec<Option<f64>>,
    /// The first row that counts; the ones before were learned from.
    pub from: usize,
    /// The end of the rows that count, exclusive.
    pub to: usize,
}

/// How one run went.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// As the file is named.
    pub name: String,
    /// Of the rows that count.
    pub confusion: Confusion,
    /// Of the rows that count; none where they are of one kind.
    pub roc_auc: Option<f64>,
    /// Of the rows that count before the first abnormal one.
    pub before: Confusion,
    /// Abnormal spans.
    pub events: usize,
    /// For each that was found, the time from its start to the alarm, in seconds; 0 where an alarm was open already.
    pub delays_seconds: Vec<f64>,
    /// Alarms that were raised outside of abnormal spans.
    pub false_episodes: usize,
    /// Whether one of those was before the first span.
    pub is_early: bool,
}

/// How all runs went together.
#[derive(Debug, Clone, PartialEq)]
pub struct Pooled {
    /// The sum over runs.
    pub confusion: Confusion,
    /// The mean over the runs that have one.
    pub mean_roc_auc: Option<f64>,
    /// The sum over runs.
    pub before: Confusion,
    /// Abnormal spans.
    pub events: usize,
    /// How many of them were found.
    pub found: usize,
    /// Over those that were found.
    pub median_delay_seconds: Option<f64>,
    /// The sum over runs.
    pub false_episodes: usize,
    /// Runs with an alarm before the first abnormal span.
    pub early_runs: usize,
}

impl Run {
    fn counted(&self) -> impl Iterator<Item = (bool, f64)> + '_ {
        let rows = self.from.min(self.abnormal.len())..self.to.min(self.abnormal.len());
        rows.map(|row| (self.abnormal[row], self.scores[row].unwrap_or(0.0)))
    }

    /// Measures the run where a score above `limit` is flagged; episodes follow `rule`.
    ///
    /// # Errors
    /// Where scores, labels and times are not equally many, or the rule is out of range.
    pub fn measure(&self, limit: f64, rule: EpisodeRule) -> Result<Outcome, Error> {
        let expected = self.times_ms.len();
        for found in [self.abnormal.len(), self.scores.len()] {
            if found != expected {
                return Err(Error::Length { what: "labels or scores of a run", found, expected });
            }
        }
        let (mut confusion, mut before, mut has_begun) = (Confusion::default(), Confusion::default(), false);
        for (abnormal, score) in self.counted() {
            has_begun |= abnormal;
            confusion.count(abnormal, score > limit);
            if !has_begun {
                before.count(false, score > limit);
            }
        }
        let (labels, scores): (Vec<bool>, Vec<f64>) = self.counted().unzip();
        let mut outcome = Outcome {
            name: self.name.clone(),
            confusion,
            roc_auc: roc_auc(&labels, &scores)?,
            before,
            events: 0,
            delays_seconds: Vec::new(),
            false_episodes: 0,
            is_early: false,
        };
        self.follow(limit, rule, &mut outcome)?;
        Ok(outcome)
    }

    fn follow(&self, limit: f64, rule: EpisodeRule, outcome: &mut Outcome) -> Result<(), Error> {
        let mut episodes = Episodes::new(rule)?;
        // When the span began, and whether its alarm came.
        let mut span: Option<(i64, bool)> = None;
        for row in self.from..self.to.min(self.times_ms.len()) {
            let time_ms = self.times_ms[row];
            let change = episodes.push(time_ms, self.scores[row].map(|score| score / limit));
            if !self.abnormal[row] {
                span = None;
                if matches!(change, Some(Change::Raised(_))) {
                    outcome.false_episodes += 1;
                    outcome.is_early |= outcome.events == 0;
                }
                continue;
            }
            if span.is_none() {
                outcome.events += 1;
                span = Some((time_ms, false));
            }
            if let Some((start, found @ false)) = &mut span
                && episodes.open().is_some()
            {
                *found = true;
                outcome.delays_seconds.push(time_ms.saturating_sub(*start) as f64 / 1000.0);
            }
        }
        Ok(())
    }
}

/// Adds outcomes up.
#[must_use]
pub fn pool(outcomes: &[Outcome]) -> Pooled {
    let (mut confusion, mut before) = (Confusion::default(), Confusion::default());
    for outcome in outcomes {
        confusion.add(&outcome.confusion);
        before.add(&outcome.before);
    }
    let areas: Vec<f64> = outcomes.iter().filter_map(|outcome| outcome.roc_auc).collect();
    let delays: Vec<f64> = outcomes.iter().flat_map(|outcome| outcome.delays_seconds.clone()).collect();
    Pooled {
        confusion,
        mean_roc_auc: (!areas.is_empty()).then(|| areas.iter().sum::<f64>() / areas.len() as f64),
        before,
        events: outcomes.iter().map(|outcome| outcome.events).sum(),
        found: delays.len(),
        median_delay_seconds: crate::quantile::median(&delays),
        false_episodes: outcomes.iter().map(|outcome| outcome.false_episodes).sum(),
        early_runs: outcomes.iter().filter(|outcome| outcome.is_early).count(),
    }
}

/// One way to score, with its scores of every run; the runs of all candidates are the same, in the same order.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// What was set how.
    pub name: String,
    /// Its scores.
    pub runs: Vec<Run>,
}

/// What was best on some runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Which candidate.
    pub candidate: usize,
    /// The limit.
    pub limit: f64,
    /// Its F1 on the runs it was chosen on.
    pub f1: f64,
    /// Its false alarm rate there.
    pub false_alarm_rate: f64,
}

/// What comes of choosing on other runs than those that are measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Crossed {
    /// Of all runs, each with the choice that was made without it.
    pub confusion: Confusion,
    /// One for each fold.
    pub choices: Vec<Choice>,
}

/// The limit with the highest F1 among those whose false alarm rate is at most `most_false`; none where none is.
#[must_use]
pub fn best_limit(candidate: usize, runs: &[&Run], most_false: f64) -> Option<Choice> {
    let mut rows: Vec<(bool, f64)> = runs.iter().flat_map(|run| run.counted()).collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    let positives = rows.iter().filter(|row| row.0).count() as u64;
    let negatives = rows.len() as u64 - positives;
    let mut count = Confusion {
        true_positive: 0,
        false_positive: 0,
        false_negative: positives,
        true_negative: negatives,
    };
    let mut best: Option<Choice> = None;
    for group in rows.chunk_by(|a, b| a.1 == b.1) {
        // With the limit at this score, the groups before it are above.
        let false_alarm_rate = count.false_alarm_rate().unwrap_or(0.0);
        if false_alarm_rate > most_false {
            break;
        }
        let f1 = count.f1().unwrap_or(0.0);
        if group[0].1 > 0.0 && best.is_none_or(|best| f1 > best.f1) {
            best = Some(Choice { candidate, limit: group[0].1, f1, false_alarm_rate });
        }
        let abnormal = group.iter().filter(|row| row.0).count() as u64;
        let normal = group.len() as u64 - abnormal;
        count.true_positive += abnormal;
        count.false_negative -= abnormal;
        count.false_positive += normal;
        count.true_negative -= normal;
    }
    best
}

/// The best candidate on the runs that `takes` takes, and its best limit under the protocol `measured`.
///
/// `protocols` holds the same candidates under each protocol that has to be served: one model serves all of them, and only the
/// limit may differ. Candidates are compared by the mean of their F1 at false alarm rates around `most_false`: among many,
/// the best at one rate is mostly the luckiest there.
#[must_use]
pub fn choose(
    protocols: &[Vec<Candidate>],
    measured: usize,
    most_false: f64,
    takes: impl Fn(usize) -> bool,
) -> Option<Choice> {
    const AROUND: [f64; 4] = [0.4, 0.7, 1.0, 1.5];
    let f1 = |candidates: &[Candidate], at: usize, most_false: f64| {
        let runs = candidates[at].runs.iter().enumerate().filter(|(run, _)| takes(*run));
        best_limit(at, &runs.map(|(_, run)| run).collect::<Vec<&Run>>(), most_false)
    };
    let worth = |at: usize| {
        protocols
            .iter()
            .flat_map(|candidates| AROUND.map(|times| f1(candidates, at, most_false * times)))
            .map(|best| best.map_or(0.0, |best| best.f1))
            .sum::<f64>()
    };
    let candidates = protocols.get(measured)?;
    let best =
        (0..candidates.len()).map(|at| (worth(at), at)).reduce(|a, b| if b.0 > a.0 { b } else { a })?;
    f1(candidates, best.1, most_false)
}

/// Measures each fold (indices of runs) under the protocol `measured`, with the candidate and limit that [`choose`] finds
/// best on all other runs.
#[must_use]
pub fn cross_validate(
    protocols: &[Vec<Candidate>],
    measured: usize,
    folds: &[Vec<usize>],
    most_false: f64,
) -> Crossed {
    let mut crossed = Crossed { confusion: Confusion::default(), choices: Vec::new() };
    for fold in folds {
        let choice = choose(protocols, measured, most_false, |run| !fold.contains(&run));
        let Some(choice) = choice else { continue };
        for run in fold {
            for (abnormal, score) in protocols[measured][choice.candidate].runs[*run].counted() {
                crossed.confusion.count(abnormal, score > choice.limit);
            }
        }
        crossed.choices.push(choice);
    }
    crossed
}

/// A fold for each run.
#[must_use]
pub fn one_by_one(runs: usize) -> Vec<Vec<usize>> {
    (0..runs).map(|run| vec![run]).collect()
}

/// A fold for each group of names that are equal up to their first `-`.
#[must_use]
pub fn by_group(names: &[String]) -> Vec<Vec<usize>> {
    let group = |name: &str| name.split('-').next().unwrap_or(name).to_owned();
    let mut folds: Vec<(String, Vec<usize>)> = Vec::new();
    for (run, name) in names.iter().enumerate() {
        match folds.iter_mut().find(|(known, _)| *known == group(name)) {
            Some((_, fold)) => fold.push(run),
            None => folds.push((group(name), vec![run])),
        }
    }
    folds.into_iter().map(|(_, fold)| fold).collect()
}
