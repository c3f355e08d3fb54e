//! Thins samples for a chart of so many pixels, so that the picture stays the same.
//!
//! Of each column of pixels the first, the least, the greatest and the last sample are kept, at their true times: whatever
//! else lies in the column hides behind the line that those four draw. No spike is lost, and no value is invented.
//!
//! A column that samples do not reach, for longer than is allowed or because they were bad, is a break in the line: a point
//! without a value between the columns around it. A break within one column is narrower than a pixel and not shown.
//!
//! # Source
//! U. Jugel, Z. Jerzak, G. Hackenbroich, V. Markl, *M4: A Visualization-Oriented Time Series Data Aggregation*, PVLDB
//! 7(10), 2014. Breaks are ours.

use egiz_model::{Quality, Timestamp};

use super::{Sample, Span};

/// How many pixels wide a chart may be.
pub const MAX_CHART_WIDTH: u32 = 20_000;

/// What a chart shows, and how finely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chart {
    span: Span,
    width: u32,
    max_gap_micros: Option<i64>,
}

/// Why a chart cannot be drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChartError {
    /// Nothing lies between the ends.
    #[error("the range is empty: it begins at {from} and ends at {to}; its end must lie after its beginning")]
    Empty {
        /// The beginning.
        from: Timestamp,
        /// The end.
        to: Timestamp,
    },
    /// No pixels, or too many.
    #[error("a chart of {width} pixels cannot be drawn; the width must lie within 1 to {MAX_CHART_WIDTH}")]
    Width {
        /// What was asked for.
        width: u32,
    },
}

/// A point of a chart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When.
    pub time: Timestamp,
    /// The value of the sample at that time; `None` breaks the line.
    pub value: Option<f64>,
    /// The quality of the sample; bad where the line breaks.
    pub quality: Quality,
}

/// The samples of a column that are kept, and may be the same.
struct Column {
    /// Where the next column begins.
    end: Timestamp,
    first: Sample,
    min: Sample,
    max: Sample,
    last: Sample,
}

impl Chart {
    /// The same, but that what is no further apart than this is connected: of rollups only a few samples are left.
    #[must_use]
    pub fn bridging(self, micros: i64) -> Self {
        Self { max_gap_micros: self.max_gap_micros.map(|most| most.max(micros)), ..self }
    }

    /// For how long a pixel stands, in microseconds.
    #[must_use]
    pub fn pixel_micros(&self) -> i64 {
        self.span.micros() / i64::from(self.width)
    }

    /// A chart of a range, `width` pixels wide, on which samples further apart than `max_gap_micros` are not connected.
    ///
    /// # Errors
    /// [`ChartError`]: the range is empty, or the width is 0 or above [`MAX_CHART_WIDTH`].
    pub fn new(span: Span, width: u32, max_gap_micros: Option<i64>) -> Result<Self, ChartError> {
        if span.start >= span.end {
            return Err(ChartError::Empty { from: span.start, to: span.end });
        }
        if !(1..=MAX_CHART_WIDTH).contains(&width) {
            return Err(ChartError::Width { width });
        }
        Ok(Self { span, width, max_gap_micros })
    }

    /// In which column of pixels a moment of the range lies, from 0.
    #[must_use]
    pub fn column_of(&self, time: Timestamp) -> u32 {
        let way = i128::from(time.micros_since(self.span.start));
        let column = way * i128::from(self.width) / i128::from(self.span.micros());
        u32::try_from(column.clamp(0, i128::from(self.width) - 1)).expect("less than the width")
    }
}

/// The points that draw the chart, at most four and one break a column, in order of time.
///
/// Samples ascend by time; those outside of the range are passed over. They are looked at once and not kept.
pub fn downsample(samples: impl IntoIterator<Item = Sample>, chart: &Chart) -> Vec<Point> {
    let mut points = Vec::new();
    let mut column: Option<Column> = None;
    let mut bad_since: Option<Timestamp> = None;
    for sample in samples.into_iter().filter(|sample| chart.span.contains(sample.time)) {
        let Some(value) = sample.number() else {
            bad_since = bad_since.or(Some(sample.time));
            continue;
        };
        match &mut column {
            Some(column) if sample.time < column.end => column.add(sample, value),
            _ => {
                let end = chart.end_of(chart.column_of(sample.time));
                if let Some(done) = column.replace(Column::new(end, sample)) {
                    done.draw(&mut points);
                    points.extend(chart.break_between(done.last.time, bad_since, sample.time));
                }
            }
        }
        bad_since = None;
    }
    if let Some(done) = column {
        done.draw(&mut points);
        points.extend(bad_since.map(Point::broken));
    }
    points
}

impl Chart {
    /// The first moment beyond a column.
    fn end_of(&self, column: u32) -> Timestamp {
        let way = (i128::from(column) + 1) * i128::from(self.span.micros());
        let micros = (way + i128::from(self.width) - 1) / i128::from(self.width);
        self.span.start.plus_micros(i64::try_from(micros).expect("no longer than the range"))
    }

    /// The break between two neighbours that have a value, if there was something bad or too much time between them.
    fn break_between(
        &self,
        left: Timestamp,
        bad_since: Option<Timestamp>,
        right: Timestamp,
    ) -> Option<Point> {
        let distance = right.micros_since(left);
        let is_wide = self.max_gap_micros.is_some_and(|allowed| distance > allowed) && distance > 1;
        bad_since.or_else(|| is_wide.then(|| left.plus_micros(distance / 2))).map(Point::broken)
    }
}

impl Column {
    fn new(end: Timestamp, sample: Sample) -> Self {
        Self { end, first: sample, min: sample, max: sample, last: sample }
    }

    fn add(&mut self, sample: Sample, value: f64) {
        if value < self.min.value {
            self.min = sample;
        }
        if value > self.max.value {
            self.max = sample;
        }
        self.last = sample;
    }

    fn draw(&self, points: &mut Vec<Point>) {
        let (low, high) =
            if self.min.time < self.max.time { (self.min, self.max) } else { (self.max, self.min) };
        let mut drawn = None;
        for sample in [self.first, low, high, self.last] {
            // One sample may be two of the four.
            if drawn.replace(sample.time) != Some(sample.time) {
                points.push(Point::of(sample));
            }
        }
    }
}

impl Point {
    fn of(sample: Sample) -> Self {
        Self { time: sample.time, value: Some(sample.value), quality: sample.quality }
    }

    fn broken(time: Timestamp) -> Self {
        Self { time, value: None, quality: Quality::Bad }
    }
}
