//! Who subscribes to what: a tree of filters, so that a message finds its subscribers in the number of its levels.
//!
//! Pure. A client that several of its subscriptions match gets a message once, with the highest quality of service among
//! them and all their identifiers (3.3.5). A shared subscription gives each message to one of its members (4.8.2); which one
//! is chosen where it is known who is there.

mod tree;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::topic;

/// A session's number; unique while the broker runs.
pub(crate) type SessionNumber = u64;

/// How a client subscribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) qos: u8,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) identifier: Option<NonZeroU32>,
}

/// How a message is to be delivered to one client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Match {
    pub(crate) qos: u8,
    pub(crate) retain_as_published: bool,
    pub(crate) identifiers: Vec<NonZeroU32>,
}

impl Match {
    /// Takes in another subscription of the same client that matches, too.
    pub(crate) fn add(&mut self, subscription: &Subscription) {
        self.qos = self.qos.max(subscription.qos);
        self.retain_as_published |= subscription.retain_as_published;
        self.identifiers.extend(subscription.identifier);
        self.identifiers.sort_unstable();
    }

    fn of(subscription: &Subscription) -> Self {
        let mut found = Self::default();
        found.add(subscription);
        found
    }
}

/// Where a message goes.
#[derive(Debug, Default)]
pub(crate) struct Matches {
    /// Everybody who gets it.
    pub(crate) clients: BTreeMap<SessionNumber, Match>,
    /// Groups of which one member gets it.
    pub(crate) groups: Vec<GroupMatch>,
}

/// A group that gets a message once.
#[derive(Debug)]
pub(crate) struct GroupMatch {
    /// Moves on with each message.
    pub(crate) turn: Arc<AtomicUsize>,
    /// Its members, in the order in which they joined.
    pub(crate) members: Vec<(SessionNumber, Match)>,
}

#[derive(Debug, Default)]
struct Subscribers {
    clients: HashMap<SessionNumber, Subscription>,
    groups: BTreeMap<Box<str>, Group>,
}

#[derive(Debug, Default)]
struct Group {
    turn: Arc<AtomicUsize>,
    members: Vec<(SessionNumber, Subscription)>,
}

impl Subscribers {
    fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.groups.is_empty()
    }

    /// Whether it is new.
    fn put(&mut self, client: SessionNumber, group: Option<&str>, subscription: Subscription) -> bool {
        let Some(name) = group else { return self.clients.insert(client, subscription).is_none() };
        let members = &mut self.groups.entry(name.into()).or_default().members;
        match members.iter_mut().find(|(member, _)| *member == client) {
            Some((_, own)) => {
                *own = subscription;
                false
            }
            None => {
                members.push((client, subscription));
                true
            }
        }
    }

    /// Whether it was there.
    fn remove(&mut self, client: SessionNumber, group: Option<&str>) -> bool {
        let Some(name) = group else { return self.clients.remove(&client).is_some() };
        let Some(group) = self.groups.get_mut(name) else { return false };
        let before = group.members.len();
        group.members.retain(|(member, _)| *member != client);
        let removed = group.members.len() < before;
        if group.members.is_empty() {
            self.groups.remove(name);
        }
        removed
    }

    fn collect(&self, from: Option<SessionNumber>, found: &mut Matches) {
        for (client, subscription) in &self.clients {
            if !(subscription.no_local && from == Some(*client)) {
                found.clients.entry(*client).or_default().add(subscription);
            }
        }
        found.groups.extend(self.groups.values().map(|group| GroupMatch {
            turn: Arc::clone(&group.turn),
            members: group.members.iter().map(|(member, own)| (*member, Match::of(own))).collect(),
        }));
    }
}

/// The tree.
#[derive(Debug, Default)]
pub(crate) struct Router {
    root: tree::Node,
    count: usize,
}

impl Router {
    /// Adds or replaces a subscription; whether it is new. A filter with `$share` in front joins its group.
    pub(crate) fn subscribe(
        &mut self,
        client: SessionNumber,
        filter: &str,
        subscription: Subscription,
    ) -> bool {
        let (group, filter) = topic::split_shared(filter);
        let (path, has_rest) = path(filter);
        let node = self.root.at(&path);
        let place = if has_rest { &mut node.rest } else { &mut node.exact };
        let is_new = place.put(client, group, subscription);
        self.count += usize::from(is_new);
        is_new
    }

    /// Takes a subscription away; whether there was one.
    pub(crate) fn unsubscribe(&mut self, client: SessionNumber, filter: &str) -> bool {
        let (group, filter) = topic::split_shared(filter);
        let (path, has_rest) = path(filter);
        let removed = self.root.take(&path, |node| {
            let place = if has_rest { &mut node.rest } else { &mut node.exact };
            place.remove(client, group)
        });
        self.count -= usize::from(removed);
        removed
    }

    /// How many subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Where a message goes; `from` is its publisher, for subscriptions that do not want their own.
    pub(crate) fn matches(&self, topic: &str, from: Option<SessionNumber>) -> Matches {
        let mut found = Matches::default();
        let is_dollar = topic.starts_with('$');
        self.root
            .find(&format!("/{topic}"), is_dollar, &mut |subscribers| subscribers.collect(from, &mut found));
        found
    }
}

/// A filter as a path of the tree, and whether `#` follows.
fn path(filter: &str) -> (String, bool) {
    let path = format!("/{filter}");
    match path.strip_suffix("/#") {
        Some(before) => (before.to_owned(), true),
        None => (path, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic;
    use proptest::prelude::*;

    fn plain(qos: u8) -> Subscription {
        Subscription { qos, no_local: false, retain_as_published: false, identifier: None }
    }

    #[test]
    fn mqtt_3_3_5_overlapping_subscriptions_deliver_once_at_the_highest_qos() {
        let mut router = Router::default();
        let with_id = |qos, id| Subscription { identifier: NonZeroU32::new(id), ..plain(qos) };
        router.subscribe(1, "a/#", with_id(0, 7));
        router.subscribe(1, "a/+", with_id(1, 3));
        router.subscribe(2, "+/b", plain(0));
        let found = router.matches("a/b", None).clients;
        assert_eq!(found.len(), 2);
        assert_eq!((found[&1].qos, found[&1].identifiers.len(), found[&2].qos), (1, 2, 0));
    }

    #[test]
    fn mqtt_3_8_3_no_local_keeps_own_messages_away() {
        let mut router = Router::default();
        router.subscribe(1, "a", Subscription { no_local: true, ..plain(1) });
        assert!(router.matches("a", Some(1)).clients.is_empty());
        assert_eq!(router.matches("a", Some(2)).clients.len(), 1);
    }

    #[test]
    fn mqtt5_4_8_2_a_group_is_apart_from_its_members_own_subscriptions() {
        let mut router = Router::default();
        assert!(router.subscribe(1, "$share/g/a/+", plain(1)));
        assert!(router.subscribe(2, "$share/g/a/+", plain(2)));
        assert!(!router.subscribe(2, "$share/g/a/+", plain(0)));
        router.subscribe(1, "$share/h/#", plain(1));
        router.subscribe(1, "a/b", plain(0));
        let found = router.matches("a/b", None);
        assert_eq!(found.clients.len(), 1);
        let members =
            |group: &GroupMatch| group.members.iter().map(|(member, how)| (*member, how.qos)).collect();
        let groups: Vec<Vec<_>> = found.groups.iter().map(members).collect();
        assert_eq!(groups, [vec![(1, 1)], vec![(1, 1), (2, 0)]]);
        assert!(router.unsubscribe(1, "$share/g/a/+") && !router.unsubscribe(3, "$share/g/a/+"));
        assert_eq!(router.matches("a/c", None).groups.len(), 2);
        assert!(router.unsubscribe(2, "$share/g/a/+"));
        assert_eq!(router.matches("a/c", None).groups.len(), 1);
    }

    #[test]
    fn a_filter_costs_the_same_however_many_levels_it_has() {
        let mut router = Router::default();
        let deep = "a/".repeat(topic::LEVELS_MAX - 1);
        router.subscribe(1, &format!("{deep}b"), plain(0));
        assert_eq!(router.root.count(), 1);
        router.subscribe(1, &format!("{deep}+"), plain(0));
        assert_eq!(router.root.count(), 3, "where they part, and one for each");
        router.subscribe(1, "a/a/#", plain(0));
        assert_eq!(router.root.count(), 4);
        assert_eq!(router.matches(&format!("{deep}b"), None).clients.len(), 1);
        router.unsubscribe(1, &format!("{deep}b"));
        router.unsubscribe(1, "a/a/#");
        assert_eq!(router.root.count(), 1, "what was parted is one again");
    }

    fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "ab", "b", "", "$a"])
    }

    fn filter() -> impl Strategy<Value = String> {
        let levels = prop::collection::vec(prop_oneof![3 => level(), 1 => Just("+")], 0..6);
        let filter = (levels, any::<bool>()).prop_map(|(mut levels, has_rest)| {
            levels.extend(has_rest.then_some("#"));
            levels.join("/")
        });
        filter.prop_filter("a filter", |filter| topic::is_filter(filter))
    }

    proptest! {
        #[test]
        fn it_finds_what_asking_every_filter_finds(
            steps in prop::collection::vec((any::<bool>(), 0..3_u64, prop::sample::Index::arbitrary()), 0..60),
            filters in prop::collection::vec(filter(), 1..12),
            names in prop::collection::vec(prop::collection::vec(level(), 1..7), 1..12),
        ) {
            let mut router = Router::default();
            let mut model: BTreeMap<(u64, &str), ()> = BTreeMap::new();
            for (add, client, which) in steps {
                let filter = filters[which.index(filters.len())].as_str();
                if add {
                    prop_assert_eq!(router.subscribe(client, filter, plain(0)), model.insert((client, filter), ()).is_none());
                } else {
                    prop_assert_eq!(router.unsubscribe(client, filter), model.remove(&(client, filter)).is_some());
                }
                prop_assert_eq!(router.len(), model.len());
                let distinct: std::collections::BTreeSet<&str> = model.keys().map(|(_, filter)| *filter).collect();
                prop_assert!(router.root.count() <= 2 * distinct.len(), "a filter costs two nodes at most");
            }
            for name in names {
                let name = name.join("/");
                let expected: std::collections::BTreeSet<u64> = model.keys().filter(|(_, filter)| topic::matches(filter, &name)).map(|(client, _)| *client).collect();
                let found: std::collections::BTreeSet<u64> = router.matches(&name, None).clients.into_keys().collect();
                prop_assert_eq!(found, expected, "{}", name);
            }
            for (client, filter) in model.keys() {
                router.unsubscribe(*client, filter);
            }
            prop_assert!(router.root.is_empty(), "nothing is left behind");
        }
    }
}
