//! The last message of each topic that was published to be retained.
//!
//! Bounded by number and bytes: at the bound a message for a new topic is not retained, and counted; topics that are there
//! can still be replaced and cleared.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytestring::ByteString;

use crate::message::Publish;
use crate::topic;

/// The store.
#[derive(Debug)]
pub(crate) struct RetainedStore {
    messages: BTreeMap<ByteString, Publish>,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
}

impl RetainedStore {
    pub(crate) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self { messages: BTreeMap::new(), bytes: 0, messages_max, bytes_max }
    }

    /// Replaces the topic's message; an empty payload clears it. Whether there was room.
    pub(crate) fn set(&mut self, message: &Publish) -> bool {
        if let Some(old) = self.messages.remove(&message.topic) {
            self.bytes -= old.byte_len();
        }
        if message.payload.is_empty() {
            return true;
        }
        if self.messages.len() >= self.messages_max || self.bytes + message.byte_len() > self.bytes_max {
            return false;
        }
        self.bytes += message.byte_len();
        let kept = message.detached();
        self.messages.insert(kept.topic.clone(), kept);
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// The messages that a new subscription gets.
    pub(crate) fn matching(&self, filter: &str) -> Vec<Publish> {
        if !filter.contains(['+', '#']) {
            return self.messages.get(filter).cloned().into_iter().collect();
        }
        // What lies before the first wildcard narrows the search.
        let prefix = filter.split(['+', '#']).next().unwrap_or_default().trim_end_matches('/');
        self.messages
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix))
            .filter(|(name, _)| topic::matches(filter, name))
            .map(|(_, message)| message.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(topic: &str, payload: &'static str) -> Publish {
        Publish::new(topic, Bytes::from_static(payload.as_bytes()), 1, true)
    }

    fn found(store: &RetainedStore, filter: &str) -> Vec<String> {
        store.matching(filter).iter().map(|message| message.topic.to_string()).collect()
    }

    #[test]
    fn the_last_message_is_kept_until_cleared() {
        let mut store = RetainedStore::new(10, 10_000);
        for topic in ["a", "a/b", "a/c", "ab", "$SYS/x"] {
            assert!(store.set(&message(topic, "1")));
        }
        assert_eq!(found(&store, "a/#"), ["a", "a/b", "a/c"]);
        assert_eq!(found(&store, "+"), ["a", "ab"]);
        assert_eq!(found(&store, "#"), ["a", "a/b", "a/c", "ab"]);
        assert_eq!(found(&store, "a/b"), ["a/b"]);
        assert!(store.set(&message("a/b", "")));
        assert_eq!(found(&store, "a/+"), ["a/c"]);
    }

    #[test]
    fn the_bound_holds_for_new_topics_only() {
        let mut store = RetainedStore::new(1, 1000);
        assert!(store.set(&message("a", "1")));
        assert!(!store.set(&message("b", "1")));
        assert!(store.set(&message("a", "2")));
        assert!(store.set(&message("a", "")));
        assert!(store.set(&message("b", "1")));
        assert_eq!(store.len(), 1);
    }
}
