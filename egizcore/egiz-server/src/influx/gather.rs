//! Rows of history as values of fields, slice by slice of time, for the series of one Thing.

use std::ops::ControlFlow;

use egiz_historian::Rows;
use egiz_influx::reckon::Scalar;
use egiz_model::{Quality, Timestamp, Value};

use super::catalog::{Field, Series};
use super::query::Fault;
use crate::history::walk::{Pace, Walk};

/// What is read of a Thing.
pub(super) struct Reading<'a> {
    /// Its series.
    pub(super) series: &'a [Series],
    /// The fields that are wanted.
    pub(super) fields: &'a [String],
    /// The range in microseconds since 1970, the end not included.
    pub(super) range: (i64, i64),
    /// Whether nothing but numbers is of use.
    pub(super) is_numbers_only: bool,
}

/// The values of one field in a slice, in ascending order of time.
pub(super) type Values = Vec<(i64, Scalar)>;

/// Calls `each` for every slice of time with each series, by its place, and the values of each wanted field. Samples of bad quality
/// have no value.
///
/// # Errors
/// Where history cannot be read, and those of `each`.
pub(super) fn read(
    walk: &Walk,
    reading: &Reading<'_>,
    mut each: impl FnMut(usize, Vec<Values>) -> Result<(), String>,
    is_enough: impl Fn() -> bool,
) -> Result<(), Fault> {
    let Some(thing) = reading.series.first().map(|series| &series.thing) else { return Ok(()) };
    let Some((first, last)) = walk.historian().span(thing) else { return Ok(()) };
    let from = reading.range.0.max(first.as_micros());
    let to = reading.range.1.min(last.as_micros().saturating_add(1));
    let wanted = |feature: &str, property: &str| {
        reading.series.iter().any(|series| {
            *series.feature == *feature
                && reading
                    .fields
                    .iter()
                    .any(|name| series.fields.get(name).is_some_and(|field| *field.property == *property))
        })
    };
    let mut fault = None;
    let range = (Timestamp::from_micros(from), Timestamp::from_micros(to));
    walk.wanted_slices(thing, range, &wanted, Pace::All, |rows| {
        for (place, series) in reading.series.iter().enumerate() {
            let of_field = |name: &String| {
                let field = series.fields.get(name);
                field.map(|field| values(&rows, &series.feature, field, reading.is_numbers_only))
            };
            let columns: Vec<Values> =
                reading.fields.iter().map(|name| of_field(name).unwrap_or_default()).collect();
            if let Err(reason) = each(place, columns) {
                fault = Some(reason);
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(if is_enough() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    fault.map_or(Ok(()), |reason| Err(Fault::Statement(reason)))
}

fn values(rows: &Rows, feature: &str, field: &Field, is_numbers_only: bool) -> Values {
    if is_numbers_only {
        let samples = rows.samples(feature, &field.property, field.item);
        return samples
            .iter()
            .filter_map(|sample| Some((sample.time.as_micros(), Scalar::of(sample.number()?))))
            .collect();
    }
    let readings = (0..rows.len()).filter_map(|row| {
        let reading = rows.reading(row, feature, &field.property)?;
        let value = reading.value.filter(|_| reading.quality != Quality::Bad)?;
        Some((rows.time(row).as_micros(), scalar(&value, field.item)?))
    });
    readings.collect()
}

fn scalar(value: &Value, item: Option<u8>) -> Option<Scalar> {
    Some(match (value, item) {
        (Value::List(items), Some(item)) => return scalar(items.get(usize::from(item))?, None),
        (_, Some(_)) | (Value::Null, _) => return None,
        (Value::Bool(truth), None) => Scalar::Bool(*truth),
        (Value::Int(whole), None) => Scalar::Integer(*whole),
        (Value::Float(number), None) => Scalar::of(*number),
        (Value::Text(text), None) => Scalar::Text((&**text).into()),
        (nested, None) => Scalar::Text(nested.to_json().to_string().into()),
    })
}
