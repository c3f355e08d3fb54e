//! A device's JSON, walked once and written straight into a record.
//!
//! The shape is the product document's: `device_id` and `timestamp`, and beside them features as objects whose members
//! are properties. Members that are no objects make up the feature `telemetry`, so that a flat payload works, too.
//! Strict JSON only: NaN, Infinity, comments and trailing text are refused with their place.

use std::borrow::Cow;
use std::fmt;

use egiz_model::record::format::ItemWriter;
use egiz_model::record::{Header, TelemetryWriter};
use egiz_model::{Name, Quality, QualityReason};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::clock::{ClockRules, GivenTime};

/// The feature that holds what lies at the top level.
pub(crate) const TOP_LEVEL_FEATURE: &str = "telemetry";

/// How large a message may be in itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadLimits {
    /// Properties in one message.
    pub properties_max: usize,
    /// Arrays and objects inside each other, below a property.
    pub depth_max: usize,
}

impl Default for PayloadLimits {
    fn default() -> Self {
        Self { properties_max: 1000, depth_max: 16 }
    }
}

/// Why a message was not understood; a closed list, so that it can be counted by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// The payload is not JSON, or not UTF-8.
    NotJson,
    /// The payload is JSON of another shape.
    Shape,
    /// `timestamp` is neither a number nor ISO 8601.
    Timestamp,
    /// `device_id` names another device than the topic does, or a line names none.
    DeviceId,
    /// The topic or a name in the payload breaks the rules for names.
    Name,
    /// The message exceeds a limit.
    Limit,
    /// The line breaks the line protocol.
    LineProtocol,
}

impl RejectReason {
    /// Every reason, for tables and counters.
    pub const ALL: [Self; 7] = [
        Self::NotJson,
        Self::Shape,
        Self::Timestamp,
        Self::DeviceId,
        Self::Name,
        Self::Limit,
        Self::LineProtocol,
    ];

    /// The word for it in metrics and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::Shape => "shape",
            Self::Timestamp => "timestamp",
            Self::DeviceId => "device-id",
            Self::Name => "name",
            Self::Limit => "limit",
            Self::LineProtocol => "line-protocol",
        }
    }
}

/// A message that was not understood, and what about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Rejection {
    /// The kind of trouble.
    pub reason: RejectReason,
    /// The field, its value and what is allowed, in words.
    pub detail: String,
}

/// Where a message came from, as far as its payload must agree with it.
pub(crate) struct Envelope<'a> {
    pub(crate) header: Header<'a>,
    pub(crate) thing: &'a str,
    pub(crate) device: &'a str,
}

/// Appends the record of a telemetry message to `out`; on error `out` is as it was.
pub(crate) fn write_telemetry(
    envelope: &Envelope<'_>,
    payload: &[u8],
    limits: PayloadLimits,
    clocks: ClockRules,
    out: &mut Vec<u8>,
) -> Result<(), Rejection> {
    let before = out.len();
    let result = walk(envelope, payload, limits, clocks, out);
    if result.is_err() {
        out.truncate(before);
    }
    result
}

fn walk(
    envelope: &Envelope<'_>,
    payload: &[u8],
    limits: PayloadLimits,
    clocks: ClockRules,
    out: &mut Vec<u8>,
) -> Result<(), Rejection> {
    let received = envelope.header.received;
    let mut writer =
        TelemetryWriter::begin(out, &envelope.header, envelope.thing, received, QualityReason::ClockUnset);
    let mut message = Message {
        writer: &mut writer,
        device: envelope.device,
        limits,
        properties: 0,
        top_level: Vec::new(),
        time: None,
        trouble: None,
    };
    let mut json = serde_json::Deserializer::from_slice(payload);
    let walked = json.deserialize_map(&mut message).and_then(|()| json.end());
    let Message { top_level, time, trouble, .. } = message;
    if let Err(error) = walked {
        return Err(trouble.unwrap_or_else(|| from_json_error(&error)));
    }
    if !top_level.is_empty() {
        writer.encoded_feature(TOP_LEVEL_FEATURE, &top_level);
    }
    let given = match &time {
        None => GivenTime::Missing,
        Some(Time::Number(number)) => GivenTime::Number(*number),
        Some(Time::Text(text)) => GivenTime::Text(text),
    };
    let (source, clock) = clocks.judge(given, received).map_err(|detail| Rejection {
        reason: RejectReason::Timestamp,
        detail: format!("timestamp: {detail}"),
    })?;
    writer.set_source(source, clock);
    writer.finish();
    Ok(())
}

fn from_json_error(error: &serde_json::Error) -> Rejection {
    let reason = if error.is_data() { RejectReason::Shape } else { RejectReason::NotJson };
    Rejection { reason, detail: error.to_string() }
}

enum Time<'de> {
    Number(f64),
    Text(Cow<'de, str>),
}

/// The walk over the top level.
struct Message<'m, 'w, 'de> {
    writer: &'m mut TelemetryWriter<'w>,
    device: &'m str,
    limits: PayloadLimits,
    properties: usize,
    top_level: Vec<u8>,
    time: Option<Time<'de>>,
    /// What stopped the walk, where it was not JSON itself: serde's errors carry only a text.
    trouble: Option<Rejection>,
}

impl Message<'_, '_, '_> {
    fn stop<E: serde::de::Error>(&mut self, reason: RejectReason, detail: String) -> E {
        self.trouble = Some(Rejection { reason, detail });
        E::custom("stopped")
    }

    fn check_name<E: serde::de::Error>(&mut self, name: &str) -> Result<(), E> {
        Name::check(name).map_err(|error| self.stop(RejectReason::Name, error.to_string()))
    }

    fn count_property<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.properties += 1;
        if self.properties > self.limits.properties_max {
            let detail = format!("the message has more than {} properties", self.limits.properties_max);
            return Err(self.stop(RejectReason::Limit, detail));
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for &mut Message<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with device_id, timestamp and features")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            match &*key {
                "device_id" => {
                    let Key(device) = map.next_value()?;
                    if device != self.device {
                        let detail = format!(
                            "device_id is `{}`, yet the topic belongs to `{}`",
                            excerpt(&device),
                            excerpt(self.device)
                        );
                        return Err(self.stop(RejectReason::DeviceId, detail));
                    }
                }
                "timestamp" => match map.next_value()? {
                    AnyTime::Time(time) => self.time = Some(time),
                    AnyTime::Null => {}
                    AnyTime::Other(what) => {
                        let detail = format!(
                            "timestamp is {what}; allowed are seconds or milliseconds since 1970, or ISO 8601"
                        );
                        return Err(self.stop(RejectReason::Timestamp, detail));
                    }
                },
                name => map.next_value_seed(Member { name, message: self })?,
            }
        }
        Ok(())
    }
}

/// A member of the top level: a feature if it is an object, else a property of [`TOP_LEVEL_FEATURE`].
struct Member<'k, 'v, 'm, 'w, 'de> {
    name: &'k str,
    message: &'v mut Message<'m, 'w, 'de>,
}

impl Member<'_, '_, '_, '_, '_> {
    fn sample<E: serde::de::Error>(&mut self) -> Result<ItemWriter<'_>, E> {
        self.message.check_name(self.name)?;
        self.message.count_property()?;
        Ok(TelemetryWriter::encode_sample(&mut self.message.top_level, self.name, Quality::Good))
    }
}

impl<'de> DeserializeSeed<'de> for Member<'_, '_, '_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_, '_, '_, '_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a feature or a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.message.check_name(self.name)?;
        self.message.writer.feature(self.name);
        while let Some(Key(property)) = map.next_key()? {
            self.message.check_name(&property)?;
            self.message.count_property()?;
            let depth = self.message.limits.depth_max;
            let trouble = &mut self.message.trouble;
            let writer = self.message.writer.sample(&property, Quality::Good);
            map.next_value_seed(ValueSeed { writer, depth, trouble })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, sequence: A) -> Result<(), A::Error> {
        self.sample()?;
        let depth = self.message.limits.depth_max;
        let writer = ItemWriter::new(&mut self.message.top_level);
        ValueSeed { writer, depth, trouble: &mut self.message.trouble }.visit_seq(sequence)
    }

    fn visit_bool<E: serde::de::Error>(mut self, truth: bool) -> Result<(), E> {
        self.sample().map(|mut writer| writer.bool(truth))
    }

    fn visit_i64<E: serde::de::Error>(mut self, number: i64) -> Result<(), E> {
        self.sample().map(|mut writer| writer.int(number))
    }

    fn visit_u64<E: serde::de::Error>(mut self, number: u64) -> Result<(), E> {
        self.sample().map(|mut writer| write_u64(&mut writer, number))
    }

    fn visit_f64<E: serde::de::Error>(mut self, number: f64) -> Result<(), E> {
        self.sample().map(|mut writer| writer.float(number))
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<(), E> {
        self.sample().map(|mut writer| writer.text(text))
    }

    fn visit_unit<E: serde::de::Error>(mut self) -> Result<(), E> {
        self.sample().map(|mut writer| writer.null())
    }
}

/// Writes whatever value comes.
struct ValueSeed<'w, 't> {
    writer: ItemWriter<'w>,
    depth: usize,
    trouble: &'t mut Option<Rejection>,
}

impl ValueSeed<'_, '_> {
    fn too_deep<E: serde::de::Error>(&mut self) -> E {
        let detail = "arrays and objects lie deeper inside each other than the limit allows".to_owned();
        *self.trouble = Some(Rejection { reason: RejectReason::Limit, detail });
        E::custom("stopped")
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let Some(depth) = self.depth.checked_sub(1) else { return Err(self.too_deep()) };
        let start = self.writer.begin_map();
        while let Some(Key(name)) = map.next_key()? {
            self.writer.name(&name);
            map.next_value_seed(ValueSeed { writer: self.writer.again(), depth, trouble: self.trouble })?;
        }
        self.writer.end(start);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut sequence: A) -> Result<(), A::Error> {
        let Some(depth) = self.depth.checked_sub(1) else { return Err(self.too_deep()) };
        let start = self.writer.begin_list();
        while sequence
            .next_element_seed(ValueSeed { writer: self.writer.again(), depth, trouble: self.trouble })?
            .is_some()
        {}
        self.writer.end(start);
        Ok(())
    }

    fn visit_bool<E>(mut self, truth: bool) -> Result<(), E> {
        self.writer.bool(truth);
        Ok(())
    }

    fn visit_i64<E>(mut self, number: i64) -> Result<(), E> {
        self.writer.int(number);
        Ok(())
    }

    fn visit_u64<E>(mut self, number: u64) -> Result<(), E> {
        write_u64(&mut self.writer, number);
        Ok(())
    }

    fn visit_f64<E>(mut self, number: f64) -> Result<(), E> {
        self.writer.float(number);
        Ok(())
    }

    fn visit_str<E>(mut self, text: &str) -> Result<(), E> {
        self.writer.text(text);
        Ok(())
    }

    fn visit_unit<E>(mut self) -> Result<(), E> {
        self.writer.null();
        Ok(())
    }
}

/// A whole number beyond 63 bits becomes the nearest double, as JSON readers do.
pub(crate) fn write_u64(writer: &mut ItemWriter<'_>, number: u64) {
    match i64::try_from(number) {
        Ok(whole) => writer.int(whole),
        #[expect(clippy::cast_precision_loss, reason = "the nearest double is what is wanted")]
        Err(_) => writer.float(number as f64),
    }
}

/// A text, borrowed from the payload where it has no escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Key<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// Whatever stands at `timestamp`.
enum AnyTime<'de> {
    Time(Time<'de>),
    Null,
    Other(&'static str),
}

impl<'de> serde::Deserialize<'de> for AnyTime<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;
        impl<'de> Visitor<'de> for TimeVisitor {
            type Value = AnyTime<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a time")
            }

            #[expect(clippy::cast_precision_loss, reason = "microseconds fit 53 bits until the year 2255")]
            fn visit_i64<E>(self, number: i64) -> Result<AnyTime<'de>, E> {
                Ok(AnyTime::Time(Time::Number(number as f64)))
            }

            #[expect(clippy::cast_precision_loss, reason = "microseconds fit 53 bits until the year 2255")]
            fn visit_u64<E>(self, number: u64) -> Result<AnyTime<'de>, E> {
                Ok(AnyTime::Time(Time::Number(number as f64)))
            }

            fn visit_f64<E>(self, number: f64) -> Result<AnyTime<'de>, E> {
                Ok(AnyTime::Time(Time::Number(number)))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<AnyTime<'de>, E> {
                Ok(AnyTime::Time(Time::Text(Cow::Borrowed(text))))
            }

            fn visit_str<E>(self, text: &str) -> Result<AnyTime<'de>, E> {
                Ok(AnyTime::Time(Time::Text(Cow::Owned(text.to_owned()))))
            }

            fn visit_unit<E>(self) -> Result<AnyTime<'de>, E> {
                Ok(AnyTime::Null)
            }

            fn visit_bool<E>(self, _: bool) -> Result<AnyTime<'de>, E> {
                Ok(AnyTime::Other("a truth value"))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<AnyTime<'de>, A::Error> {
                while sequence.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                Ok(AnyTime::Other("an array"))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyTime<'de>, A::Error> {
                while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
                Ok(AnyTime::Other("an object"))
            }
        }
        deserializer.deserialize_any(TimeVisitor)
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Reads a status: `online` or `offline`, plain or as `{"status": …}` or `{"online": true}`.
///
/// # Errors
/// Where it is none of these.
pub(crate) fn read_status(payload: &[u8]) -> Result<bool, Rejection> {
    #[derive(serde::Deserialize)]
    struct Status<'a> {
        #[serde(borrow)]
        status: Option<Cow<'a, str>>,
        online: Option<bool>,
    }
    let word = |word: &str| match word.trim() {
        "online" => Some(true),
        "offline" => Some(false),
        _ => None,
    };
    let plain = std::str::from_utf8(payload).ok().and_then(word);
    let structured = || {
        let status: Status<'_> = serde_json::from_slice(payload).ok()?;
        status.online.or_else(|| status.status.as_deref().and_then(word))
    };
    let quoted = || serde_json::from_slice::<Cow<'_, str>>(payload).ok().and_then(|text| word(&text));
    plain.or_else(structured).or_else(quoted).ok_or_else(|| Rejection {
        reason: RejectReason::Shape,
        detail: "a status is `online` or `offline`, plain or as {\"status\": …}".to_owned(),
    })
}

#[cfg(test)]
mod tests;
