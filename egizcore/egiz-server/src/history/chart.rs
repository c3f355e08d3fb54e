//! The points that draw a chart: the first, least, greatest and last sample of each column of pixels.
//!
//! Points are thinned as they come. To thin what is left of samples together with the samples that follow gives the same
//! points as to thin all at once, so memory is bounded by the width of the chart.

use egiz_api::{History, HistorySample, PropertyHistory};
use egiz_historian::series::{Chart, Point, RollupLength, Sample, Within, downsample};
use egiz_model::{Quality, Timestamp, Value};

use super::ask::Ask;
use super::buckets::Of;
use super::pieces::{Fit, Pieces, each_piece, left_of};
use super::selection::{Key, Selection};
use super::walk::Walk;
use super::{PROPERTIES_MAX, context, entry};
use crate::error::ApiError;

/// So many samples are gathered before they are thinned.
const SAMPLES_GATHERED: usize = 100_000;

struct Track {
    key: Key,
    samples: Vec<Sample>,
    /// Thinned when it is reached.
    bound: usize,
    is_met: bool,
    /// Where the stretch ends that the last sample lies in, if only some count.
    stretch_end: Option<Timestamp>,
}

/// The points of every property that is asked for and has numbers.
///
/// # Errors
/// `history-too-large`, `unavailable`.
pub(super) fn answer(
    walk: &Walk,
    ask: &Ask,
    chart: &Chart,
    within: Option<&Within>,
) -> Result<History, ApiError> {
    let mut tracks: Vec<Track> = ask.selection.named().cloned().map(Track::new).collect();
    let of = Of { thing: &ask.thing, range: (ask.from, ask.to), selection: &ask.selection, within };
    let mut chart = *chart;
    let is_coarse = chart.pixel_micros() >= RollupLength::Hour.micros();
    let length = if is_coarse { RollupLength::Hour } else { RollupLength::Quarter };
    let fit = Fit { length, prefers_samples: true };
    each_piece(walk, &of, Some(fit), false, |key, pieces| {
        let left;
        let samples = match pieces {
            Pieces::Samples(samples) => samples,
            Pieces::Rollups(rollups) => {
                chart = chart.bridging(length.micros());
                left = left_of(rollups);
                &left
            }
        };
        let place = match tracks.iter().position(|track| track.key == *key) {
            Some(place) => place,
            None if tracks.len() == PROPERTIES_MAX => return Err(super::too_many_properties()),
            None => {
                tracks.push(Track::new(key.clone()));
                tracks.len() - 1
            }
        };
        match within {
            None => tracks[place].add(samples, &chart),
            Some(within) => tracks[place].add_within(samples, within, &chart),
        }
        Ok(())
    })?;
    let properties = finished(tracks, &ask.selection, &chart);
    let context = context::shown(within);
    Ok(History { thing_id: ask.thing.clone(), from: ask.from, to: ask.to, properties, context, cursor: None })
}

impl Track {
    fn new(key: Key) -> Self {
        Self { key, samples: Vec::new(), bound: SAMPLES_GATHERED, is_met: false, stretch_end: None }
    }

    fn add(&mut self, samples: &[Sample], chart: &Chart) {
        self.is_met |= samples.iter().any(|sample| sample.number().is_some());
        self.samples.extend_from_slice(samples);
        if self.samples.len() > self.bound {
            let points = downsample(std::mem::take(&mut self.samples), chart);
            self.samples = points.into_iter().map(again).collect();
            self.bound = self.samples.len() + SAMPLES_GATHERED;
        }
    }
}

impl Track {
    /// Adds what lies within, with a break of the line where a stretch ends.
    fn add_within(&mut self, samples: &[Sample], within: &Within, chart: &Chart) {
        let mut kept = Vec::with_capacity(samples.len());
        for sample in samples {
            let Some(stretch) = within.at(sample.time) else { continue };
            if let Some(end) = self.stretch_end.replace(stretch.end).filter(|end| *end < stretch.end) {
                kept.push(Sample { time: end, value: 0.0, quality: Quality::Bad });
            }
            kept.push(*sample);
        }
        self.add(&kept, chart);
    }
}

/// A point as the sample that it was; a break as a bad one, which breaks the line again.
fn again(point: Point) -> Sample {
    Sample {
        time: point.time,
        value: point.value.unwrap_or_default(),
        quality: if point.value.is_some() { point.quality } else { Quality::Bad },
    }
}

fn finished(mut tracks: Vec<Track>, selection: &Selection, chart: &Chart) -> Vec<PropertyHistory> {
    let met: Vec<Key> = tracks.iter().filter(|track| track.is_met).map(|track| track.key.clone()).collect();
    tracks.retain(|track| track.is_met || selection.insists_on(&track.key, &met));
    tracks.sort_by(|a, b| selection.order(&a.key, &b.key));
    let finished = tracks.into_iter().map(|track| {
        let mut entry = entry(&track.key, track.is_met);
        entry.samples = Some(downsample(track.samples, chart).into_iter().map(sample).collect());
        entry
    });
    finished.collect()
}

fn sample(point: Point) -> HistorySample {
    HistorySample {
        time: point.time,
        value: point.value.map_or(serde_json::Value::Null, |value| Value::Float(value).to_json()),
        quality: point.quality,
        reason: None,
        received_after_s: 0,
        removed: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egiz_historian::series::Span;
    use proptest::prelude::*;

    proptest! {
        /// Thinned on the way, however often, or at the end: the picture is the same.
        #[test]
        fn thinning_on_the_way_changes_nothing(
            values in prop::collection::vec((0_i64..40, -5_i32..5, 0_u8..8), 1..300),
            width in 1_u32..40,
            gap in prop::option::of(1_i64..60_000_000),
            every in 1_usize..60,
        ) {
            let mut micros = 0;
            let samples: Vec<Sample> = values
                .into_iter()
                .map(|(step, value, trust)| {
                    micros += 1 + step * 1_000_000;
                    let quality = match trust {
                        0 => Quality::Bad,
                        1 => Quality::Uncertain,
                        _ => Quality::Good,
                    };
                    Sample { time: Timestamp::from_micros(micros), value: f64::from(value), quality }
                })
                .collect();
            let span = Span::new(Timestamp::from_micros(0), Timestamp::from_micros(micros + 1));
            let chart = Chart::new(span, width, gap).expect("a chart");
            let mut left: Vec<Sample> = Vec::new();
            for chunk in samples.chunks(every) {
                left.extend_from_slice(chunk);
                left = downsample(left, &chart).into_iter().map(again).collect();
            }
            prop_assert_eq!(downsample(left, &chart), downsample(samples, &chart));
        }
    }
}
