//! Who subscribes to what: a tree of topic levels, so that a message finds its subscribers in the number of its levels.
//!
//! Pure. A client that several of its subscriptions match gets a message once, with the highest quality of service among
//! them and all their identifiers (3.3.5).

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;

/// A client's number; unique while the broker runs.
pub(crate) type ClientNumber = u64;

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

#[derive(Debug, Default)]
struct Node {
    levels: HashMap<Box<str>, Node>,
    any: Option<Box<Node>>,
    /// Subscriptions that end here.
    exact: HashMap<ClientNumber, Subscription>,
    /// Subscriptions that end here with `#`.
    rest: HashMap<ClientNumber, Subscription>,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.any.is_none() && self.exact.is_empty() && self.rest.is_empty()
    }
}

/// The tree.
#[derive(Debug, Default)]
pub(crate) struct Router {
    root: Node,
    count: usize,
}

impl Router {
    /// Adds or replaces a subscription; whether it is new.
    pub(crate) fn subscribe(
        &mut self,
        client: ClientNumber,
        filter: &str,
        subscription: Subscription,
    ) -> bool {
        let mut node = &mut self.root;
        let mut place = None;
        for level in filter.split('/') {
            if level == "#" {
                place = Some(&mut node.rest);
                break;
            }
            node = match level {
                "+" => node.any.get_or_insert_default(),
                level => node.levels.entry(level.into()).or_default(),
            };
        }
        let place = match place {
            Some(rest) => rest,
            None => &mut node.exact,
        };
        let is_new = place.insert(client, subscription).is_none();
        self.count += usize::from(is_new);
        is_new
    }

    /// Takes a subscription away; whether there was one.
    pub(crate) fn unsubscribe(&mut self, client: ClientNumber, filter: &str) -> bool {
        let levels: Vec<&str> = filter.split('/').collect();
        let removed = remove(&mut self.root, client, &levels);
        self.count -= usize::from(removed);
        removed
    }

    /// How many subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The clients that get a message; `from` is its publisher, for subscriptions that do not want their own.
    pub(crate) fn matches(&self, topic: &str, from: Option<ClientNumber>) -> BTreeMap<ClientNumber, Match> {
        let mut found = BTreeMap::new();
        let levels: Vec<&str> = topic.split('/').collect();
        walk(&self.root, &levels, topic.starts_with('$'), from, &mut found);
        found
    }
}

fn remove(node: &mut Node, client: ClientNumber, levels: &[&str]) -> bool {
    match levels {
        [] => node.exact.remove(&client).is_some(),
        ["#"] => node.rest.remove(&client).is_some(),
        ["+", below @ ..] => {
            let Some(any) = &mut node.any else { return false };
            let removed = remove(any, client, below);
            if any.is_empty() {
                node.any = None;
            }
            removed
        }
        [level, below @ ..] => {
            let Some(next) = node.levels.get_mut(*level) else { return false };
            let removed = remove(next, client, below);
            if next.is_empty() {
                node.levels.remove(*level);
            }
            removed
        }
    }
}

fn walk(
    node: &Node,
    levels: &[&str],
    is_dollar: bool,
    from: Option<ClientNumber>,
    found: &mut BTreeMap<ClientNumber, Match>,
) {
    if !is_dollar {
        collect(&node.rest, from, found);
    }
    match levels.split_first() {
        None => collect(&node.exact, from, found),
        Some((level, below)) => {
            if let Some(next) = node.levels.get(*level) {
                walk(next, below, false, from, found);
            }
            if let Some(any) = node.any.as_ref().filter(|_| !is_dollar) {
                walk(any, below, false, from, found);
            }
        }
    }
}

fn collect(
    subscriptions: &HashMap<ClientNumber, Subscription>,
    from: Option<ClientNumber>,
    found: &mut BTreeMap<ClientNumber, Match>,
) {
    for (client, subscription) in subscriptions {
        if subscription.no_local && from == Some(*client) {
            continue;
        }
        let entry = found.entry(*client).or_default();
        entry.qos = entry.qos.max(subscription.qos);
        entry.retain_as_published |= subscription.retain_as_published;
        entry.identifiers.extend(subscription.identifier);
        entry.identifiers.sort_unstable();
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
        let found = router.matches("a/b", None);
        assert_eq!(found.len(), 2);
        assert_eq!((found[&1].qos, found[&1].identifiers.len(), found[&2].qos), (1, 2, 0));
    }

    #[test]
    fn mqtt_3_8_3_no_local_keeps_own_messages_away() {
        let mut router = Router::default();
        router.subscribe(1, "a", Subscription { no_local: true, ..plain(1) });
        assert!(router.matches("a", Some(1)).is_empty());
        assert_eq!(router.matches("a", Some(2)).len(), 1);
    }

    proptest! {
        #[test]
        fn it_finds_what_asking_every_filter_finds(
            steps in prop::collection::vec((any::<bool>(), 0..4_u64, prop::sample::select(vec!["a", "a/b", "+", "+/b", "a/+", "#", "a/#", "/", "$SYS/a", "$SYS/#", "a/b/#", "+/+/c"])), 0..40),
            name in prop::sample::select(vec!["a", "b", "a/b", "a/c", "a/b/c", "/", "$SYS/a", "$SYS/b/c"]),
        ) {
            let mut router = Router::default();
            let mut model: BTreeMap<(u64, &str), ()> = BTreeMap::new();
            for (add, client, filter) in steps {
                if add {
                    prop_assert_eq!(router.subscribe(client, filter, plain(0)), model.insert((client, filter), ()).is_none());
                } else {
                    prop_assert_eq!(router.unsubscribe(client, filter), model.remove(&(client, filter)).is_some());
                }
                prop_assert_eq!(router.len(), model.len());
            }
            let expected: std::collections::BTreeSet<u64> = model.keys().filter(|(_, filter)| topic::matches(filter, name)).map(|(client, _)| *client).collect();
            let found: std::collections::BTreeSet<u64> = router.matches(name, None).into_keys().collect();
            prop_assert_eq!(found, expected);
            for (client, filter) in model.keys() {
                router.unsubscribe(*client, filter);
            }
            prop_assert!(router.root.is_empty(), "nothing is left behind");
        }
    }
}
