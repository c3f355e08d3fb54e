//! Figures as tables for a terminal.

use std::fmt::Write as _;

use super::figures::{CrossValidated, Figures, Line, Measured};

pub(super) fn render(figures: &Figures) -> String {
    let mut out = String::new();
    // Writing into a string does not fail.
    let _ = writes(figures, &mut out);
    out.trim_end().to_owned()
}

fn writes(figures: &Figures, out: &mut String) -> std::fmt::Result {
    for measured in &figures.measured {
        table(measured, out)?;
    }
    for crossed in &figures.cross_validated {
        choices(crossed, out)?;
    }
    if !figures.left_out.is_empty() {
        writeln!(out, "left out:")?;
        figures.left_out.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    }
    Ok(())
}

fn table(measured: &Measured, out: &mut String) -> std::fmt::Result {
    writeln!(out, "{} · {} · limit {:.3}", measured.protocol, measured.detector, measured.limit)?;
    writeln!(
        out,
        "  {:<26} {:>6} {:>6} {:>6} {:>7} {:>10} {:>7} {:>8} {:>6}",
        "file", "F1", "FAR %", "MAR %", "ROC-AUC", "FAR before", "events", "delay s", "false"
    )?;
    for line in measured.files.iter().chain([&measured.pooled]) {
        row(line, out)?;
    }
    if measured.pooled.early_files > 0 {
        writeln!(out, "  {} files have an alarm before their fault", measured.pooled.early_files)?;
    }
    writeln!(out)
}

fn row(line: &Line, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "  {:<26} {:>6} {:>6} {:>6} {:>7} {:>10} {:>7} {:>8} {:>6}",
        line.name,
        shown(line.f1, 1.0, 3),
        shown(line.false_alarm_rate, 100.0, 1),
        shown(line.missing_alarm_rate, 100.0, 1),
        shown(line.roc_auc, 1.0, 3),
        shown(line.false_alarm_rate_before_fault, 100.0, 1),
        format!("{}/{}", line.events_found, line.events),
        shown(line.median_delay_seconds, 1.0, 0),
        line.false_episodes,
    )
}

fn choices(crossed: &CrossValidated, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "{} · cross-validated, {} · {} chosen · F1 {} at FAR {} %, MAR {} % · among {} for FAR {:.1} %",
        crossed.protocol,
        crossed.folds,
        crossed.what,
        shown(crossed.f1, 1.0, 3),
        shown(crossed.false_alarm_rate, 100.0, 1),
        shown(crossed.missing_alarm_rate, 100.0, 1),
        crossed.candidates,
        crossed.aimed_false_alarm_rate * 100.0,
    )?;
    for chosen in &crossed.chosen {
        writeln!(
            out,
            "  {}: {}, limit {:.3} (F1 {:.3}, FAR {:.1} % where it was chosen)",
            chosen.measured_on,
            chosen.candidate,
            chosen.limit,
            chosen.f1,
            chosen.false_alarm_rate * 100.0
        )?;
    }
    writeln!(out)
}

fn shown(value: Option<f64>, times: f64, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{:.digits$}", value * times))
}
