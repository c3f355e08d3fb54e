//! Labelled CSV files, told apart by the names of their columns.
//!
//! | columns | protocol |
//! |---|---|
//! | `time`, signals, `anomaly` | fit on the first 400 rows of each file |
//! | `minute`, signals, `anomaly` | fit on `normal-train.csv`, limits from `normal-test.csv` |
//! | `time`, `value`, `window` | one long signal, learned anew every week |
//!
//! Other CSV files are left out and named.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use egiz_ml::evaluation::Labelled;
use egiz_ml::{Row, Series};

/// The most files of a folder.
const MOST_FILES: usize = 1000;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// One fault in each, with normal rows first.
    pub(super) experiments: Vec<Labelled>,
    /// Of a process, some of them normal from end to end.
    pub(super) process: Vec<Labelled>,
    /// One signal over months.
    pub(super) long: Vec<Labelled>,
    /// CSV files without labels.
    pub(super) left_out: Vec<String>,
    /// Rows whose time was not after the row before, by file.
    pub(super) rows_left_out: Vec<(String, usize)>,
}

impl Files {
    pub(super) fn is_empty(&self) -> bool {
        self.experiments.is_empty() && self.process.is_empty() && self.long.is_empty()
    }
}

/// Reads the CSV files of a folder and of its folders.
pub(super) fn read(folder: &Path) -> anyhow::Result<Files> {
    let mut paths = Vec::new();
    collect(folder, 1, &mut paths)?;
    paths.sort();
    if paths.len() > MOST_FILES {
        bail!("{} has {} CSV files, at most {MOST_FILES} are read", folder.display(), paths.len());
    }
    let mut files = Files::default();
    for path in paths {
        take(&path, &mut files).with_context(|| format!("{} cannot be read", path.display()))?;
    }
    Ok(files)
}

fn collect(folder: &Path, deeper: usize, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("{} cannot be listed", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("{} cannot be listed", folder.display()))?.path();
        if path.is_dir() && deeper > 0 {
            collect(&path, deeper - 1, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "csv") {
            paths.push(path);
        }
    }
    Ok(())
}

fn take(path: &Path, files: &mut Files) -> anyhow::Result<()> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path)?;
    let header: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let place = |column: &str| header.iter().position(|name| name == column);
    let (label, time) = match (place("window"), place("anomaly"), place("minute"), place("time")) {
        (Some(label), _, _, Some(time)) => (label, time),
        (None, Some(label), Some(time), _) | (None, Some(label), None, Some(time)) => (label, time),
        _ => {
            files.left_out.push(name);
            return Ok(());
        }
    };
    // Other marks are no signals.
    let marks = ["time", "minute", "anomaly", "changepoint", "window", "label"];
    let signals: Vec<usize> = (0..header.len()).filter(|at| !marks.contains(&header[*at].as_str())).collect();
    let mut series = Series::new(signals.iter().map(|at| header[*at].clone()).collect())?;
    let mut abnormal = Vec::new();
    let mut not_later = 0;
    let mut last_ms = i64::MIN;
    let mut values = vec![0.0; signals.len()];
    for (row, record) in reader.records().enumerate() {
        let record = record?;
        let line = row + 2;
        let field = |at: usize| record.get(at).unwrap_or_default();
        let time_ms = time_ms(field(time), header[time] == "minute")
            .with_context(|| format!("line {line}: {:?} is not a time", field(time)))?;
        if time_ms <= last_ms {
            not_later += 1;
            continue;
        }
        last_ms = time_ms;
        for (value, at) in values.iter_mut().zip(&signals) {
            *value = match field(*at) {
                "" => f64::NAN,
                text => text
                    .parse()
                    .with_context(|| format!("line {line}, {}: {text:?} is not a number", header[*at]))?,
            };
        }
        abnormal.push(match field(label) {
            "0" | "0.0" => false,
            "1" | "1.0" => true,
            other => bail!("line {line}, {}: {other:?} is neither 0 nor 1", header[label]),
        });
        series.push(Row { time_ms, values: &values, regime: "" })?;
    }
    if not_later > 0 {
        files.rows_left_out.push((name.clone(), not_later));
    }
    let file = Labelled { name, series, abnormal };
    match (header[label].as_str(), header[time].as_str()) {
        ("window", _) => files.long.push(file),
        (_, "minute") => files.process.push(file),
        _ => files.experiments.push(file),
    }
    Ok(())
}

fn time_ms(text: &str, is_minute: bool) -> anyhow::Result<i64> {
    if is_minute {
        let minutes: f64 = text.parse()?;
        if !(-1e9..=1e9).contains(&minutes) {
            bail!("minutes from -1000000000 to 1000000000 are allowed");
        }
        return Ok((minutes * 60_000.0).round() as i64);
    }
    Ok(text.parse::<jiff::Timestamp>()?.as_millisecond())
}
