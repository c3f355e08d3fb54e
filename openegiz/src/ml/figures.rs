//! The protocols, run over what was read; figures as they are printed and written.

use anyhow::Context as _;
use egiz_ml::Detector;
use egiz_ml::episode::EpisodeRule;
use egiz_ml::evaluation::{
    Candidate, Choice, Labelled, Outcome, Run, by_group, choose, cross_validate, nab, one_by_one, pool, skab,
    tep,
};
use egiz_ml::metrics::Confusion;
use serde::Serialize;

use super::labelled::Files;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    /// One for each protocol and detector.
    pub(super) measured: Vec<Measured>,
    /// One for each protocol and kind of folds; empty unless asked for.
    pub(super) cross_validated: Vec<CrossValidated>,
    /// What was not measured, and why.
    pub(super) left_out: Vec<String>,
}

/// One detector under one protocol.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    pub(super) protocol: &'static str,
    pub(super) detector: String,
    /// Scores above it are flagged.
    pub(super) limit: f64,
    pub(super) pooled: Line,
    pub(super) files: Vec<Line>,
}

/// One row of a table.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) f1: Option<f64>,
    pub(super) false_alarm_rate: Option<f64>,
    pub(super) missing_alarm_rate: Option<f64>,
    /// Of a file, or the mean over files.
    pub(super) roc_auc: Option<f64>,
    pub(super) false_alarm_rate_before_fault: Option<f64>,
    pub(super) events: usize,
    pub(super) events_found: usize,
    pub(super) median_delay_seconds: Option<f64>,
    pub(super) false_episodes: usize,
    /// Files with an alarm before their first fault.
    pub(super) early_files: usize,
}

/// What choosing on other files than those measured gives.
#[derive(Debug, Serialize)]
pub(super) struct CrossValidated {
    pub(super) protocol: &'static str,
    pub(super) folds: &'static str,
    /// What was chosen on the other files.
    pub(super) what: &'static str,
    pub(super) candidates: usize,
    /// The false alarm rate that was aimed for on the files chosen on.
    pub(super) aimed_false_alarm_rate: f64,
    pub(super) f1: Option<f64>,
    pub(super) false_alarm_rate: Option<f64>,
    pub(super) missing_alarm_rate: Option<f64>,
    /// What was chosen in each fold, and then on all files together.
    pub(super) chosen: Vec<Chosen>,
}

/// A choice.
#[derive(Debug, Serialize)]
pub(super) struct Chosen {
    pub(super) measured_on: String,
    pub(super) candidate: String,
    pub(super) limit: f64,
    /// On the files it was chosen on.
    pub(super) f1: f64,
    pub(super) false_alarm_rate: f64,
}

pub(super) fn measure(files: &Files, is_crossed: bool) -> anyhow::Result<Figures> {
    let mut figures = Figures { measured: Vec::new(), cross_validated: Vec::new(), left_out: Vec::new() };
    figures.left_out.extend(files.left_out.iter().map(|name| format!("{name}: has no labels")));
    figures.left_out.extend(
        files
            .rows_left_out
            .iter()
            .map(|(name, rows)| format!("{name}: {rows} rows are not later than the one before")),
    );
    if !files.experiments.is_empty() {
        experiments(&files.experiments, is_crossed, &mut figures)?;
    }
    if !files.process.is_empty() {
        process(&files.process, is_crossed, &mut figures)?;
    }
    for file in &files.long {
        let run =
            nab::score(file, nab::MULTIPLE).with_context(|| format!("{} cannot be scored", file.name))?;
        figures.measured.push(measured("nab", "ledoit_wolf", 1.0, &[run])?);
    }
    Ok(figures)
}

fn experiments(files: &[Labelled], is_crossed: bool, figures: &mut Figures) -> anyhow::Result<()> {
    let mut scored = Vec::new();
    for file in files {
        let units = skab::score(file, &skab::Setting::default(), true);
        scored.push(units.with_context(|| format!("{} cannot be scored", file.name))?);
    }
    let protocols = skab::Protocol::ALL;
    for protocol in protocols {
        let (limits, fused) = protocol.limits();
        let fusion = egiz_ml::Options::default().fusion;
        let runs = |fusion: &[Detector]| -> Vec<Run> {
            let all = files.iter().zip(&scored);
            all.map(|(file, units)| skab::run(file, skab::fuse_all(fusion, units), protocol)).collect()
        };
        figures.measured.push(measured(protocol.name(), "fused", fused, &runs(&fusion))?);
        for (detector, limit) in Detector::ALL.into_iter().zip(limits) {
            figures.measured.push(measured(protocol.name(), detector.name(), limit, &runs(&[detector]))?);
        }
    }
    if is_crossed {
        // The limits alone, with everything else as shipped; then all of it.
        let only = "limit";
        let mut crossings =
            vec![(only, skab::as_shipped(files, &scored, &egiz_ml::Options::default().fusion))];
        for detector in Detector::ALL {
            crossings.push((only, skab::as_shipped(files, &scored, &[detector])));
        }
        crossings.push(("windows, floor, detectors and limit", skab::candidates(files)?));
        for (what, candidates) in crossings {
            for (at, protocol) in protocols.iter().enumerate() {
                cross(&Crossing { protocol: protocol.name(), what, candidates: &candidates, at }, figures);
            }
        }
    }
    Ok(())
}

fn process(files: &[Labelled], is_crossed: bool, figures: &mut Figures) -> anyhow::Result<()> {
    let named = |name: &str| files.iter().find(|file| file.name == name);
    let (Some(training), Some(held)) = (named("normal-train"), named("normal-test")) else {
        figures
            .left_out
            .push("files with minutes: normal-train.csv and normal-test.csv are needed".to_owned());
        return Ok(());
    };
    let faults: Vec<Labelled> =
        files.iter().filter(|file| file.abnormal.iter().any(|abnormal| *abnormal)).cloned().collect();
    let score = |minutes| tep::score(&training.series, &held.series, &faults, minutes);
    for candidate in score(tep::WINDOW_MINUTES)? {
        // In the table, but not in what is pooled.
        let (apart, pooled): (Vec<Run>, Vec<Run>) =
            candidate.runs.into_iter().partition(|run| run.name == tep::UNDETECTABLE);
        let mut found = measured("tep", &candidate.name, 1.0, &pooled)?;
        for outcome in outcomes(1.0, &apart)? {
            found.files.push(line(format!("{} (not pooled)", outcome.name), &[outcome]));
        }
        figures.measured.push(found);
    }
    if is_crossed {
        let mut candidates = Vec::new();
        for minutes in [3.0, 9.0, 15.0, 30.0] {
            for mut candidate in score(minutes)? {
                candidate.name = format!("{} (mean of {minutes} min)", candidate.name);
                candidate.runs.retain(|run| run.name != tep::UNDETECTABLE);
                candidates.push(candidate);
            }
        }
        let what = "window, detector and limit";
        cross(&Crossing { protocol: "tep", what, candidates: &[candidates], at: 0 }, figures);
    }
    Ok(())
}

fn outcomes(limit: f64, runs: &[Run]) -> anyhow::Result<Vec<Outcome>> {
    let measure = |run: &Run| run.measure(limit, EpisodeRule::default());
    runs.iter().map(|run| measure(run).with_context(|| format!("{} cannot be measured", run.name))).collect()
}

fn measured(protocol: &'static str, detector: &str, limit: f64, runs: &[Run]) -> anyhow::Result<Measured> {
    let outcomes = outcomes(limit, runs)?;
    let pooled = line("pooled".to_owned(), &outcomes);
    let files = outcomes.into_iter().map(|outcome| line(outcome.name.clone(), &[outcome])).collect();
    Ok(Measured { protocol, detector: detector.to_owned(), limit, pooled, files })
}

fn line(name: String, outcomes: &[Outcome]) -> Line {
    let pooled = pool(outcomes);
    Line {
        name,
        f1: pooled.confusion.f1(),
        false_alarm_rate: pooled.confusion.false_alarm_rate(),
        missing_alarm_rate: pooled.confusion.missing_alarm_rate(),
        roc_auc: pooled.mean_roc_auc,
        false_alarm_rate_before_fault: pooled.before.false_alarm_rate(),
        events: pooled.events,
        events_found: pooled.found,
        median_delay_seconds: pooled.median_delay_seconds,
        false_episodes: pooled.false_episodes,
        early_files: pooled.early_runs,
    }
}

/// What is chosen, among what.
struct Crossing<'a> {
    protocol: &'static str,
    what: &'static str,
    /// Under each protocol that the candidates have to serve.
    candidates: &'a [Vec<Candidate>],
    /// The protocol that is measured.
    at: usize,
}

fn cross(crossing: &Crossing<'_>, figures: &mut Figures) {
    let Crossing { protocol, what, candidates: all, at } = *crossing;
    let aimed = if protocol == "tep" { tep::AIMED_FALSE_ALARM_RATE } else { skab::AIMED_FALSE_ALARM_RATE };
    let candidates = &all[at];
    let Some(first) = candidates.first() else { return };
    let names: Vec<String> = first.runs.iter().map(|run| run.name.clone()).collect();
    let chosen = |measured_on: String, choice: &Choice| Chosen {
        measured_on,
        candidate: candidates[choice.candidate].name.clone(),
        limit: choice.limit,
        f1: choice.f1,
        false_alarm_rate: choice.false_alarm_rate,
    };
    let kinds = [("one file left out", one_by_one(names.len())), ("one group left out", by_group(&names))];
    // Groups that are files say nothing new.
    let kinds = kinds.into_iter().filter(|(kind, folds)| {
        folds.len() > 1 && (*kind == "one file left out" || folds.len() < names.len())
    });
    for (kind, folds) in kinds {
        let crossed = cross_validate(all, at, &folds, aimed);
        let confusion: Confusion = crossed.confusion;
        let mut choices: Vec<Chosen> = folds
            .iter()
            .zip(&crossed.choices)
            .map(|(fold, choice)| {
                let names: Vec<&str> = fold.iter().map(|run| names[*run].as_str()).collect();
                chosen(names.join(" "), choice)
            })
            .collect();
        choices.extend(choose(all, at, aimed, |_| true).map(|choice| chosen("all".to_owned(), &choice)));
        figures.cross_validated.push(CrossValidated {
            protocol,
            folds: kind,
            what,
            candidates: candidates.len(),
            aimed_false_alarm_rate: aimed,
            f1: confusion.f1(),
            false_alarm_rate: confusion.false_alarm_rate(),
            missing_alarm_rate: confusion.missing_alarm_rate(),
            chosen: choices,
        });
    }
}
