use std::collections::BTreeMap;

use egiz_model::{Timestamp, ValueRef};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::column::spread;

/// Rows put into a table one by one, as plainly as can be.
impl Table {
    /// Begins a row; what is set next belongs to it.
    pub(crate) fn begin_row(&mut self, source: Timestamp, received: Timestamp) {
        let delay = received.micros_since(source).max(0) / 1_000_000;
        self.times.push(source.as_micros());
        self.delays.push(u32::try_from(delay).unwrap_or(u32::MAX));
    }

    /// Sets a property in the row begun last.
    pub(crate) fn set(
        &mut self,
        texts: &mut Texts,
        feature: &str,
        property: &str,
        value: &ValueRef<'_>,
        trust: (Quality, QualityReason),
    ) {
        spread(value, trust, texts, |place, cell| self.put(feature, property, place, cell));
    }

    /// Notes in the row begun last that a property was taken away.
    pub(crate) fn remove(&mut self, feature: &str, property: &str) {
        self.put(feature, property, Place::Whole, Cell::REMOVED);
    }

    fn put(&mut self, feature: &str, property: &str, place: Place, cell: Cell) {
        let row = self.times.len() - 1;
        let index = self.column_at(0, feature, property, place).unwrap_or_else(|| {
            let key = ColumnKey { feature: feature.into(), property: property.into(), place };
            self.columns.push(Column { key, cells: Vec::new() });
            self.columns.len() - 1
        });
        let cells = &mut self.columns[index].cells;
        cells.resize(cells.len().max(row + 1), Cell::ABSENT);
        cells[row] = cell;
    }
}

/// Puts rows of JSON features into a table, one second apart where not said otherwise.
pub(crate) fn table(texts: &mut Texts, rows: &[(i64, serde_json::Value)]) -> Table {
    let mut table = Table::default();
    for (second, features) in rows {
        let source = Timestamp::from_seconds(*second);
        table.begin_row(source, source.plus_micros(1500));
        for (feature, properties) in features.as_object().expect("features") {
            for (property, value) in properties.as_object().expect("properties") {
                let mut bytes = Vec::new();
                Value::from_json(value).encode(&mut bytes);
                let mut reader = egiz_model::record::format::ItemReader::new(&bytes);
                let value = reader.value(egiz_model::record::format::DEPTH_MAX).expect("just written");
                let good = (Quality::Good, QualityReason::None);
                table.set(texts, feature, property, &value, good);
            }
        }
    }
    table
}

fn value(table: &Table, texts: &Texts, row: usize, property: &str) -> Option<serde_json::Value> {
    table.value(row, "f", property, texts).and_then(|reading| reading.value).map(|value| value.to_json())
}

#[test]
fn rows_come_in_order_and_the_last_word_holds() {
    let mut texts = Texts::default();
    let mut table = table(
        &mut texts,
        &[(2, json!({"f": {"a": 1, "b": 2}})), (1, json!({"f": {"a": 0}})), (2, json!({"f": {"a": 3}}))],
    );
    table.tidy();
    assert_eq!(table.times, [1_000_000, 2_000_000]);
    assert_eq!(value(&table, &texts, 0, "a"), Some(json!(0)));
    assert_eq!(value(&table, &texts, 0, "b"), None);
    assert_eq!(value(&table, &texts, 1, "a"), Some(json!(3)));
    assert_eq!(value(&table, &texts, 1, "b"), Some(json!(2)));
}

#[test]
fn a_value_of_another_form_takes_the_place_of_the_whole_property() {
    let mut texts = Texts::default();
    let mut table =
        table(&mut texts, &[(1, json!({"f": {"a": [1, 2, null]}})), (1, json!({"f": {"a": "none"}}))]);
    table.tidy();
    assert_eq!(value(&table, &texts, 0, "a"), Some(json!("none")));
    let mut other = super::tests::table(
        &mut texts,
        &[(1, json!({"f": {"a": "none"}})), (1, json!({"f": {"a": [1, 2]}}))],
    );
    other.tidy();
    assert_eq!(value(&other, &texts, 0, "a"), Some(json!([1, 2])));
}

#[test]
fn values_of_every_form_come_back() {
    let values = [
        json!(null),
        json!(true),
        json!(195),
        json!(-0.5),
        json!("running"),
        json!([]),
        json!([190.5, null, 3, "x", true]),
        json!([[1], 2]),
        json!({"x": {"y": [1]}}),
        json!((0..100).collect::<Vec<_>>()),
        json!(9_007_199_254_740_993_i64),
    ];
    let mut texts = Texts::default();
    let rows: Vec<_> =
        (0..).zip(&values).map(|(second, value)| (second, json!({"f": {"a": value}}))).collect();
    let table = table(&mut texts, &rows);
    for (row, expected) in values.iter().enumerate() {
        assert_eq!(value(&table, &texts, row, "a").as_ref(), Some(expected));
    }
}

#[test]
fn a_row_knows_how_late_it_came() {
    let mut table = Table::default();
    table.begin_row(Timestamp::from_seconds(10), Timestamp::from_seconds(75));
    table.begin_row(Timestamp::from_seconds(80), Timestamp::from_seconds(79));
    assert_eq!(table.delays, [65, 0]);
}

proptest! {
    /// However rows are cut into tables and put together again, a map of the last values says the same.
    #[test]
    fn tables_agree_with_a_map(
        rows in prop::collection::vec((0_i64..20, 0_usize..4, prop::option::of(-3_i64..3)), 1..60),
        cut in any::<prop::sample::Index>(),
    ) {
        let names = ["a", "b", "c", "d"];
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(second, name, number)| (second, names[name], number.map_or(json!([1, 2]), |number| json!(number))))
            .collect();
        let mut naive: BTreeMap<i64, BTreeMap<&str, serde_json::Value>> = BTreeMap::new();
        for (second, name, value) in &rows {
            naive.entry(*second).or_default().insert(name, value.clone());
        }
        let rows: Vec<_> =
            rows.into_iter().map(|(second, name, value)| (second, json!({"f": {name: value}}))).collect();
        let mut texts = Texts::default();
        let (first, second) = rows.split_at(cut.index(rows.len()));
        let (mut whole, mut newer) = (table(&mut texts, first), table(&mut texts, second));
        newer.tidy();
        whole.append(newer);
        whole.tidy();
        prop_assert_eq!(whole.len(), naive.len());
        for (row, (second, properties)) in naive.iter().enumerate() {
            prop_assert_eq!(whole.times[row], second * 1_000_000);
            for name in names {
                prop_assert_eq!(value(&whole, &texts, row, name), properties.get(name).cloned());
            }
        }
    }
}
