//! Which Thing a topic feeds: `sensors/<site>/<device>/<channel>` belongs to `<site>:<device>`.

use egiz_model::ThingId;

/// What a device says under its own topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicKind {
    /// Samples.
    Telemetry,
    /// Whether it is there; its last will says that it is not.
    Status,
}

/// A topic that feeds a Thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceTopic<'a> {
    /// The site, the first half of the Thing's id.
    pub site: &'a str,
    /// The device, the second half of the Thing's id.
    pub device: &'a str,
    /// What the payload is.
    pub kind: TopicKind,
}

impl<'a> DeviceTopic<'a> {
    /// Reads a topic name; `None` for every topic that feeds no Thing.
    #[must_use]
    pub fn parse(topic: &'a str) -> Option<Self> {
        let rest = topic.strip_prefix("sensors/")?;
        let (site, rest) = rest.split_once('/')?;
        let (device, channel) = rest.split_once('/')?;
        let kind = match channel {
            "telemetry" => TopicKind::Telemetry,
            "status" => TopicKind::Status,
            _ => return None,
        };
        Some(Self { site, device, kind })
    }

    /// Writes the Thing's id into `id`.
    ///
    /// # Errors
    /// In words, the rule for Thing ids that the topic breaks.
    pub fn write_thing_id(&self, id: &mut String) -> Result<(), &'static str> {
        id.clear();
        id.push_str(self.site);
        id.push(':');
        id.push_str(self.device);
        if self.site.contains(':') {
            // The id would be that of another topic, whose site ends at this colon.
            return Err("its site holds something other than letters, digits, `_`, `-` and `.`");
        }
        ThingId::check(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(topic: &str, expected: Option<(&str, TopicKind)>) {
        let mut id = String::new();
        let parsed = DeviceTopic::parse(topic);
        let read = parsed.map(|topic| (topic.write_thing_id(&mut id), topic.kind));
        assert_eq!(
            read.map(|(checked, kind)| (checked.map(|()| id.as_str()), kind)),
            expected.map(|(id, kind)| (Ok(id), kind))
        );
    }

    #[test]
    fn device_topics_name_their_thing() {
        check("sensors/factory/oven-001/telemetry", Some(("factory:oven-001", TopicKind::Telemetry)));
        check("sensors/factory/oven:001/telemetry", Some(("factory:oven:001", TopicKind::Telemetry)));
        check("sensors/factory/oven-001/status", Some(("factory:oven-001", TopicKind::Status)));
    }

    #[test]
    fn other_topics_feed_no_thing() {
        for topic in [
            "",
            "sensors",
            "sensors/factory/oven-001",
            "sensors/factory/oven-001/meta",
            "sensors/a/b/c/telemetry",
            "devices/factory/oven-001/telemetry",
        ] {
            check(topic, None);
        }
    }

    #[test]
    fn a_topic_that_makes_no_id_says_why() {
        let mut id = String::new();
        for topic in [
            "sensors//oven/telemetry",
            "sensors/fac tory/oven/telemetry",
            "sensors/factory//telemetry",
            "sensors/factory/a b/telemetry",
            "sensors/factory:oven/001/telemetry",
        ] {
            let parsed = DeviceTopic::parse(topic).expect("it has the right shape");
            assert!(parsed.write_thing_id(&mut id).is_err(), "{topic}");
        }
    }
}
