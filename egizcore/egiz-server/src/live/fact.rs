//! What happened, as it is kept for clients that come back.

use egiz_model::{Offset, Timestamp};
use egiz_twin::Change;

/// A change with the times of its way.
#[derive(Debug)]
pub(crate) struct Fact {
    pub(crate) change: Change,
    pub(crate) durable: Timestamp,
    pub(crate) applied: Timestamp,
    /// Whether another change of the same record follows.
    pub(crate) more: bool,
}

impl Fact {
    /// What to ask for in order to go on behind this change: its own record again where it is not the record's last.
    pub(crate) fn next(&self) -> Offset {
        self.change.offset + u64::from(!self.more)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use egiz_model::ThingId;
    use egiz_twin::ChangeKind;

    use super::*;

    /// A change of a feature, or of the attributes.
    pub(crate) fn fact(thing: &str, feature: Option<&str>, offset: Offset, more: bool) -> Arc<Fact> {
        let kind = match feature {
            Some(feature) => {
                ChangeKind::Feature { feature: feature.into(), properties: Vec::new(), removed: false }
            }
            None => ChangeKind::Attributes,
        };
        let change = Change {
            thing: ThingId::new(thing).expect("an id"),
            slot: 0,
            revision: offset,
            offset,
            received: Timestamp::default(),
            source: None,
            principal: "p".into(),
            correlation: None,
            kind,
        };
        Arc::new(Fact { change, durable: Timestamp::default(), applied: Timestamp::default(), more })
    }

    #[test]
    fn what_follows_in_the_same_record_is_asked_for_again() {
        assert_eq!(fact("s:a", None, 7, false).next(), 8);
        assert_eq!(fact("s:a", None, 7, true).next(), 7);
    }
}
