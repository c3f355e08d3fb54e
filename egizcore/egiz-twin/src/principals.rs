//! Names of who causes records, shared among changes instead of copied into each.

use std::sync::Arc;

use crate::engine::hash;

/// A few thousand names at most, one a place: who comes to a taken place takes it over. Nothing but memory depends on it.
#[derive(Clone, Default)]
pub(crate) struct Principals(Vec<Option<Arc<str>>>);

impl Principals {
    const PLACES: usize = 4096;

    /// The name, shared if it is kept.
    pub(crate) fn share(&mut self, name: &str) -> Arc<str> {
        if self.0.is_empty() {
            self.0.resize(Self::PLACES, None);
        }
        let place = &mut self.0[(hash(name) >> 32) as usize % Self::PLACES];
        match place {
            Some(known) if **known == *name => Arc::clone(known),
            _ => Arc::clone(place.insert(name.into())),
        }
    }
}
