//! Which columns a part needs: found by looking at everything that will be in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use egiz_model::{Quality, QualityReason};
use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::file::properties::{
    DeltaBinaryPackedEncoderOptions, EnabledStatistics, WriterProperties, WriterVersion,
};
use parquet::schema::types::{ColumnPath, Type};

use super::PAGE_ROWS;
use super::format::{DELAY, DescribedColumn, Form, THING, TIME};
use crate::cell::{Cell, Kind};
use crate::column::ColumnKey;
use crate::scale::Scale;
use crate::table::Table;

/// The columns of a part, and how fine its times are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) columns: Vec<DescribedColumn>,
    pub(crate) has_micros: bool,
}

/// What the cells of one key are.
#[derive(Debug, Clone, Copy, Default)]
struct Shape {
    scale: Scale,
    has_wide: bool,
    has_bool: bool,
    has_text: bool,
    has_json: bool,
    has_words: bool,
}

/// What the cells of all keys are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shapes {
    by_key: BTreeMap<ColumnKey, Shape>,
    has_micros: bool,
}

/// Whole numbers beyond this do not fit a double.
const EXACT_MAX: u64 = 1 << 53;

impl Shapes {
    /// Takes a table into account.
    pub(crate) fn see(&mut self, table: &Table) {
        self.has_micros |= table.times.iter().any(|time| time % 1000 != 0);
        for column in &table.columns {
            let shape = match self.by_key.get_mut(&column.key) {
                Some(shape) => shape,
                None => self.by_key.entry(column.key.clone()).or_default(),
            };
            column.cells.iter().for_each(|cell| shape.see(*cell));
        }
    }

    /// The columns that all of it needs.
    pub(crate) fn layout(&self) -> Layout {
        let of_key = |(key, shape): (&ColumnKey, &Shape)| {
            shape.forms().map(|form| DescribedColumn::new(key, form)).collect::<Vec<_>>()
        };
        Layout { columns: self.by_key.iter().flat_map(of_key).collect(), has_micros: self.has_micros }
    }
}

impl Layout {
    /// The layout that holds whatever these hold; nothing where they differ in the form of a property, so that one has to
    /// look at the values.
    pub(crate) fn of_all(layouts: &[Self]) -> Option<Self> {
        let mut by_key: BTreeMap<ColumnKey, Vec<DescribedColumn>> = BTreeMap::new();
        for layout in layouts {
            for of_key in layout.columns.chunk_by(|a, b| a.same_key(b)) {
                let known = by_key.entry(of_key[0].key()).or_insert_with(|| of_key.to_vec());
                if known != of_key {
                    return None;
                }
            }
        }
        let has_micros = layouts.iter().any(|layout| layout.has_micros);
        Some(Self { columns: by_key.into_values().flatten().collect(), has_micros })
    }
}

impl Shape {
    #[inline]
    fn see(&mut self, cell: Cell) {
        match cell.kind {
            Kind::Absent => return,
            Kind::Removed | Kind::Null => {
                self.has_words = true;
                return;
            }
            Kind::Int if cell.as_int().unsigned_abs() > EXACT_MAX => self.has_wide = true,
            Kind::Int | Kind::Float => self.scale.see(cell.as_number().unwrap_or_default()),
            Kind::Bool => self.has_bool = true,
            Kind::Text => self.has_text = true,
            Kind::Json => self.has_json = true,
        }
        self.has_words |= cell.quality != Quality::Good || cell.reason != QualityReason::None;
    }

    fn forms(&self) -> impl Iterator<Item = Form> + use<> {
        let numbers = self.scale.has_numbers().then(|| match self.scale.divisor() {
            // Small and large whole numbers share a column.
            Some(divisor) if divisor.number() == 1.0 && self.has_wide => Form::Wide,
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 1,000,000")]
            Some(divisor) => Form::Steps(divisor.number() as u32),
            None => Form::Double,
        });
        let wide = (self.has_wide && numbers != Some(Form::Wide)).then_some(Form::Wide);
        let beside = self.scale.has_minus_zero() && numbers != Some(Form::Double);
        let flags = [
            (beside, Form::Double),
            (self.has_bool, Form::Bool),
            (self.has_text, Form::Text),
            (self.has_json, Form::Json),
            (self.has_words, Form::Quality),
        ];
        numbers.into_iter().chain(wide).chain(flags.into_iter().filter_map(|(has, form)| has.then_some(form)))
    }
}

/// Parquet's schema of a part.
pub(super) fn parquet_schema(columns: &[DescribedColumn], has_micros: bool) -> parquet::errors::Result<Type> {
    let unit = if has_micros { TimeUnit::MICROS } else { TimeUnit::MILLIS };
    let timestamp = LogicalType::timestamp(true, unit);
    let mut fields = vec![
        field(THING, Physical::BYTE_ARRAY, Some(LogicalType::String), Repetition::REQUIRED)?,
        field(TIME, Physical::INT64, Some(timestamp), Repetition::REQUIRED)?,
        field(DELAY, Physical::INT32, None, Repetition::REQUIRED)?,
    ];
    for column in columns {
        let (physical, logical) = match column.form {
            Form::Steps(_) | Form::Wide => (Physical::INT64, None),
            Form::Double => (Physical::DOUBLE, None),
            Form::Bool => (Physical::BOOLEAN, None),
            Form::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
            Form::Text | Form::Quality => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        fields.push(field(&column.name(), physical, logical, Repetition::OPTIONAL)?);
    }
    Type::group_type_builder("openegiz").with_fields(fields).build()
}

fn field(
    name: &str,
    physical: Physical,
    logical: Option<LogicalType>,
    repetition: Repetition,
) -> parquet::errors::Result<Arc<Type>> {
    let builder = Type::primitive_type_builder(name, physical);
    Ok(Arc::new(builder.with_logical_type(logical).with_repetition(repetition).build()?))
}

/// How the columns are encoded.
pub(super) fn properties(columns: &[DescribedColumn]) -> WriterProperties {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).expect("a level that there is"));
    // The smallest that the format allows: widths follow the noise closely, at a byte for each 32 values.
    let blocks = DeltaBinaryPackedEncoderOptions::try_new(128, 4).expect("a layout that there is");
    let path = |name: &str| ColumnPath::new(vec![name.to_owned()]);
    let mut builder = WriterProperties::builder()
        .set_created_by(format!("OpenEgiz {}", env!("CARGO_PKG_VERSION")))
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_dictionary_enabled(true)
        .set_compression(zstd)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .set_data_page_size_limit(1 << 20)
        .set_column_statistics_enabled(path(THING), EnabledStatistics::Chunk)
        .set_column_statistics_enabled(path(TIME), EnabledStatistics::Page)
        .set_column_dictionary_enabled(path(TIME), false)
        .set_column_delta_binary_packed_encoder_options(path(TIME), blocks)
        .set_column_compression(path(TIME), Compression::UNCOMPRESSED)
        .set_column_encoding(path(TIME), Encoding::DELTA_BINARY_PACKED);
    for column in columns {
        let path = path(&column.name());
        match column.form {
            Form::Steps(_) | Form::Wide => {
                // Packed steps have nothing left that zstd could find, and are read twice as fast without it.
                builder = builder
                    .set_column_compression(path.clone(), Compression::UNCOMPRESSED)
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_delta_binary_packed_encoder_options(path.clone(), blocks)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
            Form::Bool => builder = builder.set_column_dictionary_enabled(path, false),
            Form::Double | Form::Text | Form::Json | Form::Quality => {}
        }
    }
    builder.build()
}
