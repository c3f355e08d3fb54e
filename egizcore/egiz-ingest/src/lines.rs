//! From a body of line protocol to telemetry records: which Thing, feature and property a line speaks of.
//!
//! | of the line | becomes |
//! |---|---|
//! | the first of the device tags that it has | the Thing: `oven-001` of this site, or `site:oven-001` in `thing_id` |
//! | the measurement with the other tags | the feature, as `egiz_influx::series` writes it: `cpu,cpu=cpu0` |
//! | the feature tag, where there is one | the feature's measurement instead |
//! | a field | a property of that feature |
//! | the time | the source time, by the same rules as that of MQTT messages |
//!
//! Lines of one body about one Thing at one time become one record, as if the device had sent one message. A line that is not
//! understood is counted by reason and, up to a number a body, kept with the messages that were not; the others are not
//! touched by it. Opens no socket, writes nothing anywhere, and does not know which Things exist.

use std::collections::HashMap;

use egiz_influx::line::{self, FieldValue, LineError, LineLimits, Point, RawLine};
use egiz_influx::series::write_feature;
use egiz_influx::{Lines, MappedLines, RejectedLine, THING_TAG};
use egiz_model::record::{Header, TelemetryWriter};
use egiz_model::{Name, Quality, QualityReason, ThingId, Timestamp};

use crate::intake::Ingest;
use crate::payload::{RejectReason, Rejection, write_u64};

/// Lines of one body that are kept with the messages that were not understood, so that one body does not drive out all
/// others; the rest is counted only.
const KEPT_OF_A_BODY: usize = 16;
/// Lines of one body whose faults are told to whoever sent it; the rest is counted only.
const TOLD_OF_A_BODY: usize = 20;

/// With so many bytes of samples a record takes no further line.
const RECORD_BYTES: usize = 128 * 1024;

/// Which tags mean what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineRules {
    /// The site of devices that are named without one.
    pub site: String,
    /// The tags that name the device; the first that a line has counts.
    pub device_tags: Vec<String>,
    /// The tag that names the feature instead of the measurement; empty for none.
    pub feature_tag: String,
}

impl Default for LineRules {
    fn default() -> Self {
        Self {
            site: "factory".to_owned(),
            device_tags: [THING_TAG, "device_id", "host"].map(str::to_owned).to_vec(),
            feature_tag: "feature".to_owned(),
        }
    }
}

/// Samples of one Thing at one time.
struct Group {
    thing: String,
    source: Timestamp,
    clock: QualityReason,
    /// The features in the order in which they came, each with its encoded samples.
    features: Vec<(String, Vec<u8>)>,
    properties: usize,
    bytes: usize,
}

/// What a line means.
struct Meaning {
    thing: String,
    feature: String,
    source: Timestamp,
    clock: QualityReason,
}

impl Ingest {
    /// Makes records of the lines of a body.
    pub fn map_lines(&self, source: &Lines<'_>, rules: &LineRules) -> MappedLines {
        let limits = LineLimits { fields_max: self.config().limits.properties_max, ..LineLimits::default() };
        let mut mapped = MappedLines::default();
        let mut groups: Vec<Group> = Vec::new();
        let mut places: HashMap<(String, Timestamp), usize> = HashMap::new();
        for raw in line::lines(source.body) {
            let read = line::parse(raw.bytes, limits).map_err(rejection);
            let read = read.and_then(|point| Ok((self.meaning(&point, source, rules)?, point)));
            match read {
                Ok((meaning, point)) => {
                    mapped.accepted += 1;
                    add(&mut groups, &mut places, meaning, &point, limits.fields_max);
                }
                Err(rejection) => self.reject_line(&raw, source, rejection, &mut mapped),
            }
        }
        let header = Header {
            received: source.received,
            principal: source.principal,
            correlation: source.correlation,
        };
        mapped.records = groups
            .into_iter()
            .map(|group| {
                let record = record(&group, &header);
                (group.thing, record)
            })
            .collect();
        self.metrics().lines.inc_by(mapped.accepted as u64);
        mapped
    }

    fn meaning(
        &self,
        point: &Point<'_>,
        source: &Lines<'_>,
        rules: &LineRules,
    ) -> Result<Meaning, Rejection> {
        let thing = thing_of(point, rules)?;
        let feature = feature_of(point, rules)?;
        for (name, _) in &point.fields {
            Name::check(name)
                .map_err(|error| fault(RejectReason::Name, format!("invalid field key: {error}")))?;
        }
        let given = match point.time {
            None => None,
            Some(count) => Some(source.precision.to_micros(count).ok_or_else(|| {
                let detail = format!("bad timestamp: {count} is too far from 1970 in this precision");
                fault(RejectReason::Timestamp, detail)
            })?),
        };
        let (source, clock) = self.config().clocks.judge_moment(given, source.received);
        Ok(Meaning { thing, feature, source, clock })
    }

    fn reject_line(
        &self,
        raw: &RawLine<'_>,
        source: &Lines<'_>,
        rejection: Rejection,
        mapped: &mut MappedLines,
    ) {
        mapped.rejected += 1;
        if mapped.rejected <= TOLD_OF_A_BODY {
            let text = String::from_utf8_lossy(&raw.bytes[..raw.bytes.len().min(256)]);
            mapped.first_rejected.push(RejectedLine {
                number: raw.number,
                excerpt: text.chars().take(120).collect(),
                reason: rejection.detail.clone(),
            });
        }
        self.note_rejected(mapped.rejected <= KEPT_OF_A_BODY, source, raw.bytes, rejection);
    }
}

fn rejection(error: LineError) -> Rejection {
    match error {
        LineError::Syntax(detail) => fault(RejectReason::LineProtocol, detail),
        LineError::Limit(detail) => fault(RejectReason::Limit, detail),
    }
}

fn fault(reason: RejectReason, detail: String) -> Rejection {
    Rejection { reason, detail }
}

fn thing_of(point: &Point<'_>, rules: &LineRules) -> Result<String, Rejection> {
    let named = rules.device_tags.iter().find_map(|wanted| {
        point.tags.iter().find(|(key, _)| key == wanted).map(|(_, value)| (wanted.as_str(), value))
    });
    let Some((tag, value)) = named else {
        let detail = format!(
            "missing device: the line has none of the tags {}, which say what it is about",
            rules.device_tags.join(", ")
        );
        return Err(fault(RejectReason::DeviceId, detail));
    };
    let id = thing_id(tag, value, &rules.site);
    match ThingId::check(&id) {
        Ok(()) => Ok(id),
        Err(broken) => {
            let value: String = value.chars().take(64).collect();
            let detail =
                format!("invalid device: the tag `{tag}` is `{value}`, which makes no Thing id: {broken}");
            Err(fault(RejectReason::Name, detail))
        }
    }
}

/// The Thing that a device tag's value names.
fn thing_id(tag: &str, value: &str, site: &str) -> String {
    if tag == THING_TAG && value.contains(':') { value.to_owned() } else { format!("{site}:{value}") }
}

fn feature_of(point: &Point<'_>, rules: &LineRules) -> Result<String, Rejection> {
    let mut measurement = &*point.measurement;
    let mut tags: Vec<(&str, &str)> = Vec::with_capacity(point.tags.len());
    for (key, value) in &point.tags {
        if *key == rules.feature_tag {
            measurement = value;
        } else if !rules.device_tags.iter().any(|tag| tag == key) {
            tags.push((key, value));
        }
    }
    tags.sort_unstable();
    let mut feature = String::with_capacity(64);
    write_feature(&mut feature, measurement, tags);
    Name::check(&feature).map(|()| feature).map_err(|error| {
        let detail = format!(
            "invalid series: the measurement and its tags but for the device's make the name of a feature: {error}; \
             leave tags out that tell nothing apart"
        );
        fault(RejectReason::Name, detail)
    })
}

/// Adds a line's samples to those of its Thing and time.
fn add(
    groups: &mut Vec<Group>,
    places: &mut HashMap<(String, Timestamp), usize>,
    meaning: Meaning,
    point: &Point<'_>,
    properties_max: usize,
) {
    let Meaning { thing, feature, source, clock } = meaning;
    let key = (thing, source);
    let place = places.get(&key).copied().filter(|place| {
        let group = &groups[*place];
        group.clock == clock
            && group.bytes < RECORD_BYTES
            && group.properties + point.fields.len() <= properties_max
    });
    let place = place.unwrap_or_else(|| {
        let thing = key.0.clone();
        groups.push(Group { thing, source, clock, features: Vec::new(), properties: 0, bytes: 0 });
        places.insert(key, groups.len() - 1);
        groups.len() - 1
    });
    let group = &mut groups[place];
    group.properties += point.fields.len();
    let samples = match group.features.iter().position(|(name, _)| *name == feature) {
        Some(known) => &mut group.features[known].1,
        None => {
            group.features.push((feature, Vec::with_capacity(point.fields.len() * 24)));
            &mut group.features.last_mut().expect("it was just put there").1
        }
    };
    let before = samples.len();
    for (name, value) in &point.fields {
        let mut writer = TelemetryWriter::encode_sample(samples, name, Quality::Good);
        match value {
            FieldValue::Float(number) => writer.float(*number),
            FieldValue::Integer(number) => writer.int(*number),
            FieldValue::Unsigned(number) => write_u64(&mut writer, *number),
            FieldValue::Boolean(truth) => writer.bool(*truth),
            FieldValue::Text(text) => writer.text(text),
        }
    }
    group.bytes += samples.len() - before;
}

fn record(group: &Group, header: &Header<'_>) -> Vec<u8> {
    let samples: usize = group.features.iter().map(|(name, samples)| name.len() + samples.len() + 8).sum();
    let mut bytes = Vec::with_capacity(samples + 128);
    let mut writer = TelemetryWriter::begin(&mut bytes, header, &group.thing, group.source, group.clock);
    for (name, samples) in &group.features {
        writer.encoded_feature(name, samples);
    }
    writer.finish();
    bytes
}

#[cfg(test)]
mod tests;
