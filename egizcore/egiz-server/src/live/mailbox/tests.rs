use super::*;
use crate::live::fact::tests::fact;
use proptest::prelude::*;

fn event(thing: u8, feature: Option<u8>, offset: u64) -> Arc<Event> {
    let feature = feature.map(|feature| format!("f{feature}"));
    Arc::new(Event::new(fact(&format!("s:{thing}"), feature.as_deref(), offset, false)))
}

fn sight_of(number: u8) -> Sight {
    [Sight::Seen, Sight::Seen, Sight::Entered, Sight::Left][usize::from(number)]
}

#[test]
fn a_lossless_subscription_overflows_instead_of_losing() {
    let mut mailbox = Mailbox::new(Mode::Lossless, 1, 10);
    assert!(mailbox.push(&event(1, None, 1), Sight::Seen));
    assert!(!mailbox.push(&event(1, None, 2), Sight::Seen));
    assert!(mailbox.overflowed() && mailbox.take().is_none());
}

#[test]
fn columns_never_keep_events() {
    let mut mailbox = Mailbox::new(Mode::Newest, 100, 10);
    assert!(!mailbox.push(&event(1, Some(1), 4), Sight::Seen));
    let taken = mailbox.take();
    assert!(matches!(taken, Some(Taken::Newest { changes: 1, next: 5, .. })), "{taken:?}");
}

/// What was pushed since the last take: Thing, feature, sight, offset.
type Pending = Vec<(u8, Option<u8>, Sight, u64)>;

/// Holds what was taken against what was pushed.
fn check(
    taken: Option<Taken>,
    pending: &Pending,
    events_max: usize,
    keys_max: usize,
) -> Result<(), TestCaseError> {
    match taken {
        None => prop_assert!(pending.is_empty()),
        Some(Taken::Events(events)) => {
            prop_assert!(events.len() <= events_max);
            let offsets: Vec<_> =
                events.iter().map(|(event, sight)| (*sight, event.fact.change.offset)).collect();
            let pushed: Vec<_> = pending.iter().map(|(.., sight, offset)| (*sight, *offset)).collect();
            prop_assert_eq!(offsets, pushed);
        }
        Some(Taken::Newest { things, changes, next }) => {
            prop_assert_eq!(changes, pending.len() as u64);
            prop_assert_eq!(Some(next), pending.last().map(|(.., offset)| offset + 1));
            let mut naive: BTreeMap<ThingId, Owed> = BTreeMap::new();
            for (thing, feature, sight, _) in pending {
                let owed = naive.entry(ThingId::new(&format!("s:{thing}")).expect("an id")).or_default();
                match (sight, feature) {
                    (Sight::Seen, Some(feature)) => {
                        owed.features.insert(format!("f{feature}").into());
                    }
                    (Sight::Seen, None) => owed.head = true,
                    _ => owed.whole = true,
                }
            }
            let keys: usize = naive.values().map(|owed| 1 + owed.features.len()).sum();
            prop_assert!(keys <= keys_max);
            prop_assert_eq!(things, naive);
        }
        Some(Taken::Resync { changes }) => prop_assert_eq!(changes, pending.len() as u64),
    }
    Ok(())
}

proptest! {
    #[test]
    fn nothing_is_forgotten_and_nothing_grows(
        steps in prop::collection::vec(prop::option::weighted(0.8, (0..4_u8, prop::option::of(0..3_u8), 0..4_u8)), 0..80),
        events_max in 1..5_usize,
        keys_max in 1..12_usize,
    ) {
        let mut mailbox = Mailbox::new(Mode::Conflate, events_max, keys_max);
        let mut pending = Pending::new();
        for (offset, step) in (0..).zip(steps) {
            match step {
                Some((thing, feature, sight)) => {
                    let sight = sight_of(sight);
                    mailbox.push(&event(thing, feature, offset), sight);
                    pending.push((thing, feature, sight, offset));
                }
                None => {
                    check(mailbox.take(), &pending, events_max, keys_max)?;
                    pending.clear();
                }
            }
        }
        check(mailbox.take(), &pending, events_max, keys_max)?;
        prop_assert!(mailbox.is_empty());
    }
}
