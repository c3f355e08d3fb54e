//! The pure middle of a bridge: topics, loops, sizes, and which answer belongs to which message.

use std::collections::{HashMap, VecDeque};

use crate::filter::TopicFilter;
use crate::link::{Message, Outgoing, Properties};
use crate::window::Ticket;

/// The user property that says which installations forwarded a message.
const BRIDGED_BY: &str = "openegiz-bridge";
/// Messages of QoS 0 that may wait to go out; beyond it they are passed over, and counted.
pub(super) const UNPROMISED_MAX: usize = 64;

/// The topic at the central broker, if the message is one that is to be forwarded.
pub(super) fn remote_topic(
    local_prefix: &str,
    topics: &[TopicFilter],
    remote_prefix: &str,
    topic: &str,
) -> Option<String> {
    let below = topic.strip_prefix(local_prefix)?;
    topics.iter().any(|filter| filter.matches(below)).then(|| format!("{remote_prefix}{below}"))
}

/// Why a message is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotForwarded {
    /// The central broker takes no packet of this size.
    TooLarge,
    /// It was forwarded from here before.
    Looped,
}

/// Makes of a message what goes to the central broker.
pub(super) fn outgoing(
    message: Message,
    topic: String,
    installation: &str,
    packet_bytes_max: Option<u32>,
) -> Result<Outgoing, NotForwarded> {
    let mut properties = message.properties.map(|properties| *properties).unwrap_or_default();
    if properties.user_properties.iter().any(|(name, value)| name == BRIDGED_BY && value == installation) {
        return Err(NotForwarded::Looped);
    }
    // These two belong to the connection that the message came on.
    properties.topic_alias = None;
    properties.subscription_identifiers.clear();
    properties.user_properties.push((BRIDGED_BY.to_owned(), installation.to_owned()));
    let bytes = topic.len() + message.payload.len() + bytes_at_most(&properties);
    if packet_bytes_max.is_some_and(|max| bytes > max as usize) {
        return Err(NotForwarded::TooLarge);
    }
    Ok(Outgoing {
        topic,
        payload: message.payload,
        qos: message.qos,
        retain: message.retain,
        properties: Some(properties),
    })
}

/// The bytes of a PUBLISH besides topic and payload, at most.
fn bytes_at_most(properties: &Properties) -> usize {
    const FIXED: usize = 40;
    let text = |text: &Option<String>| text.as_ref().map_or(0, |text| text.len() + 3);
    let users = properties.user_properties.iter().map(|(name, value)| name.len() + value.len() + 5);
    FIXED
        + users.sum::<usize>()
        + text(&properties.response_topic)
        + text(&properties.content_type)
        + properties.correlation_data.as_ref().map_or(0, |data| data.len() + 3)
}

/// Which answer of the central broker belongs to which message. The client crate gives packet ids when publishes go out, in
/// the order in which they were asked for.
#[derive(Debug, Default)]
pub(super) struct Relay {
    asked_for: VecDeque<Ticket>,
    unpromised: usize,
    waiting: HashMap<u16, Ticket>,
}

impl Relay {
    /// A publish was asked for; without a ticket it is one of QoS 0.
    pub(super) fn published(&mut self, ticket: Option<Ticket>) {
        match ticket {
            Some(ticket) => self.asked_for.push_back(ticket),
            None => self.unpromised += 1,
        }
    }

    /// A publish went out with this id; 0 with QoS 0.
    pub(super) fn sent(&mut self, packet_id: u16) {
        if packet_id == 0 {
            self.unpromised = self.unpromised.saturating_sub(1);
        } else if let Some(ticket) = self.asked_for.pop_front() {
            self.waiting.insert(packet_id, ticket);
        }
    }

    /// The central broker answered this id; the message, if it is known.
    pub(super) fn acknowledged(&mut self, packet_id: u16) -> Option<Ticket> {
        self.waiting.remove(&packet_id)
    }

    /// Messages of QoS 0 that have not gone out.
    pub(super) fn unpromised(&self) -> usize {
        self.unpromised
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::{Delivery, Window};
    use bytes::Bytes;
    use proptest::prelude::*;

    fn message(topic: &str, properties: Option<Properties>) -> Message {
        Message {
            topic: topic.to_owned(),
            payload: Bytes::from_static(b"0123456789"),
            qos: 1,
            retain: true,
            packet_id: 1,
            properties: properties.map(Box::new),
        }
    }

    #[test]
    fn prefixes_are_exchanged_and_other_topics_stay() {
        let topics = ["sensors/#".parse().expect("a filter"), "events/+".parse().expect("a filter")];
        let check = |local: &str, remote: &str, topic: &str, expected: Option<&str>| {
            assert_eq!(remote_topic(local, &topics, remote, topic).as_deref(), expected, "{topic}");
        };
        check("", "munich/", "sensors/f/oven/telemetry", Some("munich/sensors/f/oven/telemetry"));
        check("", "", "events/a", Some("events/a"));
        check("", "", "events/a/b", None);
        check("hall/", "munich/", "hall/sensors/a", Some("munich/sensors/a"));
        check("hall/", "munich/", "sensors/a", None);
    }

    #[test]
    fn a_message_that_was_forwarded_from_here_is_not_forwarded_again() {
        let once = outgoing(message("a", None), "x/a".into(), "here", None).expect("it is the first time");
        assert!(once.retain);
        let properties = once.properties.clone();
        assert_eq!(
            outgoing(message("a", properties.clone()), "x/a".into(), "here", None).err(),
            Some(NotForwarded::Looped)
        );
        let there = outgoing(message("a", properties), "x/a".into(), "there", None).expect("another one");
        let hops: Vec<_> = there.properties.iter().flat_map(|p| &p.user_properties).map(|(_, v)| v).collect();
        assert_eq!(hops, ["here", "there"]);
    }

    #[test]
    fn what_belongs_to_the_other_connection_is_left_behind_and_the_rest_kept() {
        let properties = Properties {
            topic_alias: Some(3),
            subscription_identifiers: vec![7],
            content_type: Some("application/json".into()),
            user_properties: vec![("line".into(), "1".into())],
            ..Properties::default()
        };
        let forwarded =
            outgoing(message("a", Some(properties)), "a".into(), "here", None).expect("it may go");
        let properties = forwarded.properties.expect("there are some");
        assert_eq!((properties.topic_alias, properties.subscription_identifiers.len()), (None, 0));
        assert_eq!(properties.content_type.as_deref(), Some("application/json"));
        assert_eq!(properties.user_properties[0], ("line".to_owned(), "1".to_owned()));
    }

    #[test]
    fn a_message_that_is_too_large_for_the_central_broker_is_not_forwarded() {
        let fits = |max| outgoing(message("a", None), "a".into(), "here", Some(max)).is_ok();
        assert!(fits(100));
        assert!(!fits(30));
    }

    proptest! {
        /// Answers in any order settle the very messages that they answer.
        #[test]
        fn every_answer_settles_its_own_message(
            plan in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..60),
        ) {
            let (mut window, mut relay) = (Window::default(), Relay::default());
            let mut under_way: Vec<(u16, Ticket)> = Vec::new();
            let mut next_id = 0_u16;
            for (promised, answered) in plan {
                if promised {
                    let ticket = window.arrive(Delivery { packet_id: 9, qos: 1 });
                    relay.published(Some(ticket));
                    next_id += 1;
                    relay.sent(next_id);
                    under_way.push((next_id, ticket));
                } else {
                    relay.published(None);
                    prop_assert_eq!(relay.unpromised(), 1);
                    relay.sent(0);
                }
                prop_assert_eq!(relay.unpromised(), 0);
                if under_way.len() > 3 {
                    let (id, ticket) = under_way.remove(answered.index(under_way.len()));
                    prop_assert_eq!(relay.acknowledged(id), Some(ticket));
                    prop_assert_eq!(relay.acknowledged(id), None);
                }
            }
        }
    }
}
