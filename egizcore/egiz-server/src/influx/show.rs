//! SHOW: which measurements, tags and fields there are, out of the catalog.

use std::collections::{BTreeMap, BTreeSet};

use egiz_historian::Historian;
use egiz_influx::influxql::{Keys, Show};
use egiz_influx::reckon::Scalar;
use egiz_influx::series::write_feature;

use super::answer::{Cell, Series};
use super::catalog::{self, Devices};
use crate::app::App;
use crate::error::ApiError;

/// The most rows of an answer.
const ROWS_MAX: usize = 100_000;

/// The one database.
pub(super) fn databases(app: &App) -> Vec<Series> {
    let rows = [vec![Cell::text(&app.ports.settings.influx.database)]];
    vec![table("databases", &["name"], rows)]
}

/// The one retention policy.
pub(super) fn retention_policies(app: &App) -> Vec<Series> {
    let duration = format!("{}h0m0s", u64::from(app.ports.settings.influx.retention_days) * 24);
    let row = vec![
        Cell::text("autogen"),
        Cell::text(&duration),
        Cell::text("24h0m0s"),
        Cell::Value(Scalar::Integer(1)),
        Cell::Value(Scalar::Bool(true)),
    ];
    vec![table("", &["name", "duration", "shardGroupDuration", "replicaN", "default"], [row])]
}

/// The names of measurements.
pub(super) fn measurements(
    app: &App,
    historian: Option<&Historian>,
    show: &Show,
) -> Result<Vec<Series>, ApiError> {
    let names: BTreeSet<_> = found(app, historian, show)?.into_iter().map(|one| one.measurement).collect();
    Ok(pages(vec![table("measurements", &["name"], names.iter().map(|name| vec![Cell::text(name)]))], show))
}

/// The keys of tags of each measurement.
pub(super) fn tag_keys(
    app: &App,
    historian: Option<&Historian>,
    show: &Show,
) -> Result<Vec<Series>, ApiError> {
    let mut keys: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for series in found(app, historian, show)? {
        keys.entry(series.measurement).or_default().extend(series.tags.into_keys());
    }
    let tables = keys
        .iter()
        .map(|(name, keys)| table(name, &["tagKey"], keys.iter().map(|key| vec![Cell::text(key)])));
    Ok(pages(tables.collect(), show))
}

/// The values of tags of each measurement.
pub(super) fn tag_values(
    app: &App,
    historian: Option<&Historian>,
    show: &Show,
    keys: &Keys,
) -> Result<Vec<Series>, ApiError> {
    let mut values: BTreeMap<_, BTreeSet<(String, String)>> = BTreeMap::new();
    for series in found(app, historian, show)? {
        let tags = series.tags.into_iter().filter(|(key, _)| keys.fit(key));
        values.entry(series.measurement).or_default().extend(tags);
    }
    let tables = values.iter().filter(|(_, values)| !values.is_empty()).map(|(name, values)| {
        table(
            name,
            &["key", "value"],
            values.iter().map(|(key, value)| vec![Cell::text(key), Cell::text(value)]),
        )
    });
    Ok(pages(tables.collect(), show))
}

/// The fields of each measurement with what they hold.
pub(super) fn field_keys(
    app: &App,
    historian: Option<&Historian>,
    show: &Show,
) -> Result<Vec<Series>, ApiError> {
    let mut fields: BTreeMap<_, BTreeMap<String, &'static str>> = BTreeMap::new();
    for series in found(app, historian, show)? {
        let of_series = series.fields.into_iter().map(|(name, field)| (name, field.kind));
        fields.entry(series.measurement).or_default().extend(of_series);
    }
    let tables = fields.iter().map(|(name, fields)| {
        let rows = fields.iter().map(|(field, kind)| vec![Cell::text(field), Cell::text(kind)]);
        table(name, &["fieldKey", "fieldType"], rows)
    });
    Ok(pages(tables.collect(), show))
}

/// The series themselves.
pub(super) fn series(app: &App, historian: Option<&Historian>, show: &Show) -> Result<Vec<Series>, ApiError> {
    let rows = found(app, historian, show)?.into_iter().map(|series| {
        let mut key = String::new();
        let tags = series.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        write_feature(&mut key, &series.measurement, tags);
        vec![Cell::text(&key)]
    });
    Ok(pages(vec![table("", &["key"], rows)], show))
}

fn found(app: &App, historian: Option<&Historian>, show: &Show) -> Result<Vec<catalog::Series>, ApiError> {
    let wanted =
        |measurement: &str| show.from.is_empty() || show.from.iter().any(|from| from.fits(measurement));
    let devices = Devices::of(app);
    let mut found = catalog::series(app, historian, &wanted)?;
    found.retain(|series| devices.pass(series, &show.filter));
    Ok(found)
}

fn table(name: &str, columns: &[&str], rows: impl IntoIterator<Item = Vec<Cell>>) -> Series {
    Series {
        name: name.to_owned(),
        tags: Vec::new(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        values: rows.into_iter().take(ROWS_MAX).collect(),
    }
}

fn pages(mut tables: Vec<Series>, show: &Show) -> Vec<Series> {
    for table in &mut tables {
        table.values.drain(..show.offset.min(table.values.len()));
        table.values.truncate(show.limit.unwrap_or(usize::MAX));
    }
    tables.retain(|table| !table.values.is_empty());
    tables
}
