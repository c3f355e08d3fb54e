use egiz_model::Value;
use egiz_model::record::format::{DEPTH_MAX, ItemReader};
use proptest::prelude::*;

use super::*;

const THINGS: [&str; 3] = ["f:oven", "f:mixer", "f:chiller"];
const PROPERTIES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// One property's value, or that it was taken away.
type Said = (usize, Option<serde_json::Value>, (Quality, QualityReason));

fn any_value() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(serde_json::json!(null)),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()).prop_map(Into::into),
        (-100_000_i32..100_000, prop::sample::select(vec![1.0, 8.0, 10.0, 100.0, 1e5]))
            .prop_map(|(steps, divisor)| (f64::from(steps) / divisor).into()),
        "[a-c]{0,3}".prop_map(Into::into),
        Just(serde_json::json!({"x": [1, {"y": 2}]})),
        prop::collection::vec(-5_i64..5, 0..70).prop_map(Into::into),
    ]
}

fn any_trust() -> impl Strategy<Value = (Quality, QualityReason)> {
    prop::sample::select(vec![
        (Quality::Good, QualityReason::None),
        (Quality::Uncertain, QualityReason::ClockUnset),
        (Quality::Bad, QualityReason::Reported),
    ])
}

fn any_row() -> impl Strategy<Value = (usize, i64, u32, Vec<Said>)> {
    let said = (0..PROPERTIES.len(), prop::option::of(any_value()), any_trust());
    (
        0..THINGS.len(),
        prop_oneof![any::<i64>(), 0_i64..10_000_000],
        0_u32..100,
        prop::collection::vec(said, 0..6),
    )
}

proptest! {
    /// Rows come back as a table says that was filled plainly, whichever Things they belong to.
    #[test]
    fn rows_come_back_as_they_were_put_in(rows in prop::collection::vec(any_row(), 0..80)) {
        let mut head = Head::from(0);
        let mut plain: HashMap<&str, Table> = HashMap::new();
        let mut texts = Texts::default();
        for (thing, time, late, said) in &rows {
            let source = Timestamp::from_micros(*time);
            let received = source.plus_micros(i64::from(*late) * 1_000_000);
            let table = plain.entry(THINGS[*thing]).or_default();
            table.begin_row(source, received);
            let mut row = head.row(THINGS[*thing], "family", source, received);
            for (property, value, trust) in said {
                let name = PROPERTIES[*property];
                let Some(value) = value else {
                    row.remove("f", name);
                    table.remove("f", name);
                    continue;
                };
                let mut bytes = Vec::new();
                Value::from_json(value).encode(&mut bytes);
                let value = ItemReader::new(&bytes).value(DEPTH_MAX).expect("just written");
                row.set("f", name, &value, trust.0, trust.1);
                table.set(&mut texts, "f", name, &value, *trust);
            }
        }
        prop_assert_eq!(head.rows, rows.len());
        let mut reader = head.reader();
        for thing in THINGS {
            let table = reader.table_of(thing, &mut texts);
            let plain = plain.remove(thing).unwrap_or_default();
            prop_assert_eq!(&table.times, &plain.times);
            prop_assert_eq!(&table.delays, &plain.delays);
            prop_assert_eq!(table.columns.len(), plain.columns.len());
            for column in &plain.columns {
                let other = table.columns.iter().find(|other| other.key == column.key).expect("it is there");
                for row in 0..plain.len() {
                    prop_assert_eq!(other.cell(row), column.cell(row), "{} row {}", column.key, row);
                }
            }
        }
    }
}

#[test]
fn a_thing_takes_little_more_than_its_rows() {
    let mut head = Head::from(0);
    let time = Timestamp::from_seconds(1_772_323_200);
    for number in 0..10_000 {
        let mut row = head.row(&format!("factory:machine-{number:05}"), "family", time, time);
        for property in 0..10 {
            let value = ValueRef::Float(f64::from(number % 400 + property) / 10.0);
            row.set("thermal", &format!("zone_{property}"), &value, Quality::Good, QualityReason::None);
        }
    }
    assert!(head.bytes() < 10_000 * 200, "{}", head.bytes());
}

#[test]
fn a_row_larger_than_a_chunk_has_one_of_its_own() {
    let mut head = Head::from(0);
    let time = Timestamp::from_seconds(1_772_323_200);
    for wide in [false, true, false] {
        let mut row = head.row("f:x", "family", time, time);
        for number in 0..if wide { 60_000 } else { 3 } {
            let value = ValueRef::Float(f64::from(number) + 0.3);
            row.set("f", &format!("p{number}"), &value, Quality::Good, QualityReason::None);
        }
    }
    let table = head.reader().table_of("f:x", &mut Texts::default());
    assert_eq!(table.columns.len(), 60_000);
    assert_eq!(table.columns[59_999].cell(1), Cell::number(59_999.3));
    assert!(table.columns[59_999].cell(2).is_absent());
    assert_eq!(table.columns[2].cell(2), Cell::number(2.3));
}
