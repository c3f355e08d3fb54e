//! The stretches of a range that count, where not all of it does: those in which a batch ran, for example.
//!
//! Samples outside of them are not counted, and no value is weighed by the time outside of them. They are looked at all the same:
//! what was measured before such a stretch began holds into it.

use std::sync::Arc;

use egiz_model::Timestamp;

use super::Span;

/// Stretches of time, ascending, with something between each two.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Within(Arc<[Span]>);

impl Within {
    /// The stretches in any order; those that overlap or touch become one, empty ones none.
    #[must_use]
    pub fn new(mut spans: Vec<Span>) -> Self {
        spans.retain(|span| span.start < span.end);
        spans.sort_unstable_by_key(|span| span.start);
        let mut joined: Vec<Span> = Vec::with_capacity(spans.len());
        for span in spans {
            match joined.last_mut() {
                Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
                _ => joined.push(span),
            }
        }
        Self(joined.into())
    }

    /// The stretches.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    /// What lies in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let both = self.0.iter().flat_map(|span| other.of(*span));
        Self(both.collect())
    }

    /// Whether a moment lies inside.
    #[must_use]
    pub fn contains(&self, time: Timestamp) -> bool {
        self.at(time).is_some()
    }

    /// The stretch that a moment lies in.
    #[must_use]
    pub fn at(&self, time: Timestamp) -> Option<Span> {
        self.from(time).first().copied().filter(|span| span.contains(time))
    }

    /// Whether any of a span lies inside.
    #[must_use]
    pub fn overlaps(&self, span: Span) -> bool {
        self.of(span).next().is_some()
    }

    /// For how many microseconds of a span it is inside.
    #[must_use]
    pub fn micros_of(&self, span: Span) -> i64 {
        self.of(span).map(Span::micros).sum()
    }

    /// The parts of a span that lie inside.
    pub fn of(&self, span: Span) -> impl Iterator<Item = Span> + '_ {
        let reaching = self.from(span.start).iter().take_while(move |own| own.start < span.end);
        reaching.map(move |own| own.intersection(span)).filter(|part| part.start < part.end)
    }

    /// The stretches that end after a moment.
    fn from(&self, time: Timestamp) -> &[Span] {
        &self.0[self.0.partition_point(|span| span.end <= time)..]
    }

    /// The stretches with those become one that have no more than `gap_micros` between them.
    #[must_use]
    pub fn bridged(&self, gap_micros: i64) -> Vec<Span> {
        let mut bridged: Vec<Span> = Vec::new();
        for span in &*self.0 {
            match bridged.last_mut() {
                Some(last) if span.start.micros_since(last.end) <= gap_micros => last.end = span.end,
                _ => bridged.push(*span),
            }
        }
        bridged
    }
}

/// The same where nothing is left out.
pub(super) trait Everything {
    fn has(&self, time: Timestamp) -> bool;
    fn micros(&self, span: Span) -> i64;
    fn has_all(&self, span: Span) -> bool;
}

impl Everything for Option<Within> {
    fn has(&self, time: Timestamp) -> bool {
        self.as_ref().is_none_or(|within| within.contains(time))
    }

    fn micros(&self, span: Span) -> i64 {
        self.as_ref().map_or_else(|| span.micros(), |within| within.micros_of(span))
    }

    fn has_all(&self, span: Span) -> bool {
        self.as_ref().is_none_or(|within| within.micros_of(span) == span.micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(start: i64, end: i64) -> Span {
        Span::new(Timestamp::from_micros(start), Timestamp::from_micros(end))
    }

    fn inside(spans: &[(i64, i64)], time: i64) -> bool {
        spans.iter().any(|(start, end)| (*start..*end).contains(&time))
    }

    proptest! {
        #[test]
        fn it_is_what_its_stretches_are_together(
            mine in prop::collection::vec((0_i64..60, 0_i64..60), 0..8),
            theirs in prop::collection::vec((0_i64..60, 0_i64..60), 0..8),
            asked in (0_i64..60, 0_i64..60),
        ) {
            let of = |spans: &[(i64, i64)]| Within::new(spans.iter().map(|(a, b)| span(*a, *b)).collect());
            let (a, b) = (of(&mine), of(&theirs));
            let both = a.intersection(&b);
            for time in -1..62 {
                let moment = Timestamp::from_micros(time);
                prop_assert_eq!(a.contains(moment), inside(&mine, time));
                prop_assert_eq!(both.contains(moment), inside(&mine, time) && inside(&theirs, time));
            }
            prop_assert!(a.spans().windows(2).all(|pair| pair[0].end < pair[1].start));
            let micros = (asked.0..asked.1).filter(|time| inside(&mine, *time)).count() as i64;
            prop_assert_eq!(a.micros_of(span(asked.0, asked.1)), micros);
            prop_assert_eq!(a.overlaps(span(asked.0, asked.1)), micros > 0);
            let bridged = a.bridged(5);
            prop_assert!(bridged.windows(2).all(|pair| pair[1].start.micros_since(pair[0].end) > 5));
            prop_assert!(a.spans().iter().all(|own| bridged.iter().any(|wide| wide.intersection(*own) == *own)));
        }
    }
}
