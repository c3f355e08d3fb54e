//! Parts give back what was put into them, whole or by pieces, and never anything else.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use egiz_model::{Quality, QualityReason, Timestamp, Value};
use proptest::prelude::*;

use super::*;
use crate::cell::{Cell, Texts};
use crate::disk::{Disk, Folder};
use crate::table::{Column, Table};

/// More than two pages of today's, and of the first files'.
const LONG_ROWS: i64 = 5860;
const NAME: &str = "part.parquet";
const GOOD: (Quality, QualityReason) = (Quality::Good, QualityReason::None);

struct Written {
    folder: tempfile::TempDir,
    texts: Texts,
    tables: Vec<(String, Table)>,
}

fn set(
    table: &mut Table,
    texts: &mut Texts,
    property: &str,
    value: &serde_json::Value,
    trust: (Quality, QualityReason),
) {
    let mut bytes = Vec::new();
    Value::from_json(value).encode(&mut bytes);
    let mut reader = egiz_model::record::format::ItemReader::new(&bytes);
    let value = reader.value(egiz_model::record::format::DEPTH_MAX).expect("just written");
    table.set(texts, "f", property, &value, trust);
}

fn write(tables: &[(String, Table)], texts: &Texts, folder: &std::path::Path) {
    let mut shapes = Shapes::default();
    tables.iter().for_each(|(_, table)| shapes.see(table));
    let file = std::fs::File::create(folder.join(NAME)).expect("a file");
    let mut writer = PartWriter::begin(file, "family", shapes.layout()).expect("begun");
    for (id, table) in tables {
        writer.add(id, table.clone(), texts).expect("added");
    }
    let (written, mut file) = writer.finish(texts).expect("finished");
    assert_eq!(written.rows, tables.iter().map(|(_, table)| table.len() as u64).sum::<u64>());
    file.flush().expect("flushed");
}

/// Two Things: one with every form of value, one with enough rows for several pages.
fn written() -> Written {
    let mut texts = Texts::default();
    let values = serde_json::json!([
        1, -2.5, -0.0, 0.0625, 1e300, 9_007_199_254_740_993_i64, true, "running", "", null, [1, 2.5, null], [], {"x": [1]}
    ]);
    let mut every = Table::default();
    for (second, value) in (0..).zip(values.as_array().expect("an array")) {
        let source = Timestamp::from_micros(1_772_323_200_000_123 + second * 1_000_000);
        every.begin_row(source, source.plus_micros(90_000_000));
        let trust = match second % 3 {
            0 => GOOD,
            1 => (Quality::Uncertain, QualityReason::ClockUnset),
            _ => (Quality::Bad, QualityReason::Reported),
        };
        set(&mut every, &mut texts, "mixed", value, trust);
        if second % 2 == 0 {
            set(&mut every, &mut texts, "tenths", &serde_json::json!(second as f64 / 10.0), GOOD);
        }
    }
    every.begin_row(
        Timestamp::from_micros(1_772_323_300_000_000),
        Timestamp::from_micros(1_772_323_300_000_000),
    );
    every.remove("f", "mixed");
    let mut long = Table::default();
    for row in 0..LONG_ROWS {
        let source = Timestamp::from_millis(1_772_323_200_000 + row * 5000);
        long.begin_row(source, source);
        set(&mut long, &mut texts, "tenths", &serde_json::json!((row % 77) as f64 / 10.0), GOOD);
        if row == 1000 {
            set(&mut long, &mut texts, "once", &serde_json::json!("here"), GOOD);
        }
    }
    let tables = vec![("a:every".to_owned(), every), ("a:long".to_owned(), long)];
    let folder = tempfile::tempdir().expect("a folder");
    write(&tables, &texts, folder.path());
    Written { folder, texts, tables }
}

impl Written {
    fn open(&self, footer_crc32c: Option<u32>) -> Result<Arc<Part>, PartError> {
        let folder = Folder::open(self.folder.path()).expect("it is there");
        Part::open(&folder, NAME, footer_crc32c).map(Arc::new)
    }
}

/// What a table says, apart from how its columns are ordered and its texts numbered.
fn said(table: &Table, texts: &Texts) -> Vec<(i64, u32, Vec<String>)> {
    let mut names: Vec<_> = table
        .columns
        .iter()
        .map(|column| (column.key.feature.clone(), column.key.property.clone()))
        .collect();
    names.sort();
    names.dedup();
    let row = |row: usize| {
        let readings = names.iter().filter_map(|(feature, property)| {
            Some(format!("{feature}/{property} {:?}", table.value(row, feature, property, texts)?))
        });
        (table.times[row], table.delays[row], readings.collect())
    };
    (0..table.len()).map(row).collect()
}

#[test]
fn what_was_written_is_read() {
    let mut written = written();
    let part = written.open(None).expect("whole");
    assert_eq!(part.things().collect::<Vec<_>>(), ["a:every", "a:long"]);
    for (id, table) in &written.tables {
        let read = part.read(id, i64::MIN, i64::MAX, &|_| true, &mut written.texts).expect("whole");
        assert_eq!(said(&read, &written.texts), said(table, &written.texts), "{id}");
    }
    let none = part.read("a:other", i64::MIN, i64::MAX, &|_| true, &mut written.texts).expect("whole");
    assert!(none.is_empty());
}

/// Files of version 1: those of the first writer, with pages of 1,440 rows, and those that say how long their pages are.
/// Run with `EGIZ_BLESS=1` only with a new form, which gets a file of its own; what is there must stay readable.
#[test]
fn parts_of_version_1_stay_readable() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let mut written = written();
    let newest = folder.join("part-v1-pages.parquet");
    if std::env::var_os("EGIZ_BLESS").is_some() {
        std::fs::copy(written.folder.path().join(NAME), newest).expect("the golden file can be written");
    }
    for (file, long_rows) in [("part-v1.parquet", 2980), ("part-v1-pages.parquet", 5860)] {
        std::fs::copy(folder.join(file), written.folder.path().join(NAME)).expect("the golden file is there");
        let part = written.open(None).expect("old parts can be read");
        for (id, table) in &written.tables {
            let read = part.read(id, i64::MIN, i64::MAX, &|_| true, &mut written.texts).expect("whole");
            assert_eq!(read.len(), table.len().min(long_rows), "{file} {id}");
            let expected = said(&table.rows(0..read.len()), &written.texts);
            assert!(said(&read, &written.texts) == expected, "{file} {id}");
        }
    }
}

#[test]
fn only_the_rows_and_columns_that_are_asked_for_come() {
    let mut written = written();
    let part = written.open(None).expect("whole");
    let (id, table) = &written.tables[1];
    for (begin, end) in [(0, 1), (2879, 2881), (2880, 2880), (2000, 5860), (5859, 5860)] {
        let (from, to) = (table.times[begin], table.times.get(end).copied().unwrap_or(i64::MAX));
        let read =
            part.read(id, from, to, &|key| *key.property == *"tenths", &mut written.texts).expect("whole");
        assert_eq!(read.times, table.times[begin..end]);
        assert!(read.columns.iter().all(|column| *column.key.property == *"tenths"));
    }
    let before = part.read(id, i64::MIN, table.times[0], &|_| true, &mut written.texts).expect("whole");
    assert!(before.is_empty());
    let after = part.read(id, table.times[table.len() - 1] + 1, i64::MAX, &|_| true, &mut written.texts);
    assert!(after.expect("whole").is_empty());
}

#[test]
fn the_last_value_of_each_column_is_found_however_long_ago_it_came() {
    let mut written = written();
    let part = written.open(None).expect("whole");
    let (id, table) = &written.tables[1];
    let (last, times) = (table.len() - 1, &table.times);
    let cells = part.reader().last_cells(id, i64::MAX, &mut written.texts).expect("whole");
    let found: Vec<_> = cells.iter().map(|(key, time, ..)| (key.to_string(), *time)).collect();
    assert_eq!(found, [("f.tenths".to_owned(), times[last]), ("f.once".to_owned(), times[1000])]);
    let cells = part.reader().last_cells(id, times[1000], &mut written.texts).expect("whole");
    let found: Vec<_> = cells.iter().map(|(key, time, ..)| (key.to_string(), *time)).collect();
    assert_eq!(found, [("f.tenths".to_owned(), times[999])]);
    assert!(part.reader().last_cells(id, times[0], &mut written.texts).expect("whole").is_empty());
}

#[test]
fn a_walk_gives_all_things_in_their_order() {
    let mut written = written();
    let part = written.open(None).expect("whole");
    let mut walk = part.walk();
    for (id, table) in &written.tables {
        assert_eq!(walk.peek(), Some(id.as_str()));
        let read = walk.take(&mut written.texts).expect("whole");
        assert_eq!(said(&read, &written.texts), said(table, &written.texts));
    }
    assert_eq!(walk.peek(), None);
}

/// A page's checksum is where the format has it, so that a flipped bit is an error, not another value.
#[test]
fn a_flipped_bit_is_an_error_or_changes_nothing() {
    let mut written = written();
    let path = written.folder.path().join(NAME);
    let whole = std::fs::read(&path).expect("it is there");
    let footer = written.open(None).expect("whole").footer_crc32c();
    let expected: Vec<_> = written.tables.iter().map(|(_, table)| said(table, &written.texts)).collect();
    let mut found = 0;
    for at in (4..whole.len()).step_by(7) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&path, &flipped).expect("written");
        let Ok(part) = written.open(Some(footer)) else {
            found += 1;
            continue;
        };
        for ((id, _), expected) in written.tables.iter().zip(&expected) {
            match part.read(id, i64::MIN, i64::MAX, &|_| true, &mut written.texts) {
                Err(_) => found += 1,
                Ok(read) => assert_eq!(&said(&read, &written.texts), expected, "byte {at}"),
            }
        }
    }
    assert!(found > whole.len() / 7 * 9 / 10, "{found} of {} flips were found", whole.len() / 7);
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let written = written();
    let path = written.folder.path().join(NAME);
    let whole = std::fs::read(&path).expect("it is there");
    for end in (0..whole.len()).step_by(13) {
        std::fs::write(&path, &whole[..end]).expect("written");
        assert!(written.open(None).is_err(), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn any_cells_come_back(
        rows in prop::collection::vec(
            (0_i64..1_000_000_000, prop::option::of(any::<f64>()), prop::option::of(-100_i64..100), any::<bool>()),
            1..200,
        ),
        divisor in prop::sample::select(vec![1.0, 2.0, 10.0, 16.0, 1000.0]),
    ) {
        let mut texts = Texts::default();
        let mut table = Table::default();
        for (time, any_number, steps, truth) in rows {
            table.begin_row(Timestamp::from_micros(time * 1000), Timestamp::from_micros(time * 1000));
            let mut put = |name: &str, value: egiz_model::ValueRef<'_>| {
                table.set(&mut texts, "f", name, &value, GOOD);
            };
            if let Some(number) = any_number.filter(|number| number.is_finite()) {
                put("any", egiz_model::ValueRef::Float(number));
            }
            if let Some(steps) = steps {
                #[expect(clippy::cast_precision_loss, reason = "small")]
                put("steps", egiz_model::ValueRef::Float(steps as f64 / divisor * if truth { -1.0 } else { 1.0 }));
            }
            if truth {
                put("words", egiz_model::ValueRef::Text("yes"));
            }
        }
        table.tidy();
        let folder = tempfile::tempdir().expect("a folder");
        let tables = [("a:b".to_owned(), table)];
        write(&tables, &texts, folder.path());
        let disk = Folder::open(folder.path()).expect("it is there");
        let part = Arc::new(Part::open(&disk, NAME, None).expect("whole"));
        let read = part.read("a:b", i64::MIN, i64::MAX, &|_| true, &mut texts).expect("whole");
        let (_, table) = &tables[0];
        prop_assert_eq!(&read.times, &table.times);
        for column in &table.columns {
            let other = read.columns.iter().find(|other| other.key == column.key);
            for row in 0..table.len() {
                let got = other.map_or(Cell::ABSENT, |other| other.cell(row));
                prop_assert_eq!(got, column.cell(row), "{:?} row {}", column.key, row);
            }
        }
        let _ = disk.list();
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Things that lie in one page and one that fills several: of each property the last cell before any time.
    #[test]
    fn the_last_cells_are_those_that_all_rows_have(
        things in prop::collection::vec(
            prop::collection::vec((0_usize..6, 0_usize..6, prop::option::of(-50_i64..50)), 1..60),
            1..6,
        ),
        long in 0_usize..3 * 2880,
        moments in prop::collection::vec(0.0_f64..1.1, 8),
    ) {
        const WORDS: [&str; 6] = ["running", "idle", "stopped", "B-1", "B-2", "B-3"];
        let mut texts = Texts::default();
        let long: Vec<_> = (0..long).map(|row| (row / 700 % 6, row % 5 + 1, Some((row * row % 97) as i64))).collect();
        let mut tables = Vec::new();
        for (number, rows) in things.iter().chain(std::iter::once(&long)).enumerate() {
            let mut table = Table::default();
            for (row, (word, other, number)) in (0_i64..).zip(rows) {
                let time = Timestamp::from_millis(1_772_323_200_000 + row * 5000 + row % 7 * 100);
                table.begin_row(time, time.plus_micros(row % 3 * 1_000_000));
                let mut put = |name: &str, value: serde_json::Value, trust| {
                    set(&mut table, &mut texts, name, &value, trust);
                };
                put("state", WORDS[*word].into(), GOOD);
                if let Some(number) = number {
                    put("tenths", serde_json::json!(*number as f64 / 10.0), GOOD);
                }
                match other {
                    0 => put("mixed", WORDS[*word].into(), GOOD),
                    1 => put("mixed", serde_json::json!(*word), (Quality::Uncertain, QualityReason::OutOfRange)),
                    2 => put("list", serde_json::json!([1, *word, null]), GOOD),
                    3 => put("door", (*word > 2).into(), GOOD),
                    _ => {}
                }
            }
            if !table.is_empty() {
                tables.push((format!("a:{number}"), table));
            }
        }
        let folder = tempfile::tempdir().expect("a folder");
        write(&tables, &texts, folder.path());
        let disk = Folder::open(folder.path()).expect("it is there");
        let part = Arc::new(Part::open(&disk, NAME, None).expect("whole"));
        let mut reader = part.reader();
        for moment in moments {
            for (id, table) in &tables {
                let at = ((table.len() as f64 * moment) as usize).min(table.len() - 1);
                let before = table.times[at] + i64::from(moment > 1.0);
                let mut expected = Vec::new();
                for name in ["door", "list", "mixed", "state", "tenths"] {
                    let rows = (0..table.len()).rev().filter(|row| table.times[*row] < before);
                    let found = rows.filter_map(|row| Some((row, table.value(row, "f", name, &texts)?))).next();
                    expected.extend(found.map(|(row, reading)| (name, table.times[row], table.delays[row], reading)));
                }
                let cells = reader.last_cells(id, before, &mut texts).expect("whole");
                let of_one = |name: &str| {
                    let own: Vec<_> = cells.iter().filter(|(key, ..)| *key.property == *name).collect();
                    let (_, time, delay, _) = own.first()?;
                    let columns = own.iter().map(|(key, .., cell)| Column { key: key.clone(), cells: vec![*cell] });
                    let row = Table { times: vec![*time], delays: vec![*delay], columns: columns.collect() };
                    Some((*time, *delay, row.value(0, "f", name, &texts)?))
                };
                for (name, time, delay, reading) in &expected {
                    prop_assert_eq!(of_one(name), Some((*time, *delay, reading.clone())), "{} of {}", name, id);
                }
                let known: std::collections::BTreeSet<_> = cells.iter().map(|(key, ..)| &*key.property).collect();
                prop_assert_eq!(known.len(), expected.len());
            }
        }
    }
}
