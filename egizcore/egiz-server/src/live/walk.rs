//! A walk over the Things of a subscription, a few at a time, so that nobody holds the engine's lock for long.
//!
//! A Thing that comes behind the walk's back is told by an event instead.

use std::collections::VecDeque;
use std::sync::Arc;

use egiz_model::ThingId;
use egiz_twin::{Engine, Position, Query, ThingRef};

use super::ticket::Scope;

/// Things looked at under one hold of the engine's lock.
const THINGS_AT_ONCE: usize = 512;

/// The walk.
#[derive(Debug)]
pub(crate) struct Walk {
    scope: Arc<Scope>,
    /// Slots that were found and not yet handed out.
    found: VecDeque<u32>,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    Named(std::vec::IntoIter<ThingId>),
    Behind(Option<Position>),
    Nothing,
}

impl Walk {
    pub(crate) fn new(scope: Arc<Scope>) -> Self {
        let named = match &*scope {
            Scope::All => None,
            Scope::Things(things) => {
                let mut things: Vec<ThingId> = things.iter().cloned().collect();
                things.sort_unstable();
                Some(things)
            }
            Scope::Filter(filter) => {
                filter.single_thing().map(|id| ThingId::new(id).ok().into_iter().collect())
            }
        };
        let rest = named.map_or(Rest::Behind(None), |things| Rest::Named(things.into_iter()));
        Self { scope, found: VecDeque::new(), rest }
    }

    /// Whether every Thing was handed out.
    pub(crate) fn is_over(&self) -> bool {
        self.found.is_empty() && matches!(self.rest, Rest::Nothing)
    }

    /// Hands Things to `take` until it has enough (`false`) or a bounded number of them was looked at.
    pub(crate) fn step<'e>(&mut self, engine: &'e Engine, mut take: impl FnMut(ThingRef<'e>) -> bool) {
        if self.found.is_empty() {
            self.look(engine);
        }
        while let Some(slot) = self.found.pop_front() {
            // Since it was found, the slot may have been given to another Thing.
            let thing = engine.thing_at(slot).filter(|thing| self.scope.covers(*thing));
            if thing.is_some_and(|thing| !take(thing)) {
                return;
            }
        }
    }

    fn look(&mut self, engine: &Engine) {
        match &mut self.rest {
            Rest::Nothing => {}
            Rest::Named(ids) => {
                let things = ids.by_ref().take(THINGS_AT_ONCE).filter_map(|id| engine.thing(id.as_str()));
                self.found.extend(things.map(|thing| thing.slot()));
                if ids.len() == 0 {
                    self.rest = Rest::Nothing;
                }
            }
            Rest::Behind(after) => {
                let query = Query { after: after.take(), limit: THINGS_AT_ONCE, ..Query::default() };
                // Without sort keys every position fits.
                let page = engine.search(&query).unwrap_or_default();
                self.found.extend(page.slots);
                self.rest = match page.next {
                    Some(next) => Rest::Behind(Some(next)),
                    None => Rest::Nothing,
                };
            }
        }
    }
}
