//! Between which times a Thing has said anything that is kept, without reading its rows.

use egiz_model::Timestamp;

use super::Historian;
use crate::cell::Texts;

impl Historian {
    /// The first and the last time of a Thing's rows; nothing where none are kept. What says only how things stood is not looked
    /// at.
    pub fn span(&self, thing: &str) -> Option<(Timestamp, Timestamp)> {
        let mut texts = Texts::default();
        let (published, newest) = self.view(thing, &mut texts);
        let in_parts = published
            .open_parts()
            .filter(|(entry, _)| entry.level.has_samples())
            .filter_map(|(_, part)| part.span(thing));
        let in_memory = newest.times.iter().map(|time| (*time, *time));
        let (first, last) = in_parts
            .chain(in_memory)
            .reduce(|(first, last), (begin, end)| (first.min(begin), last.max(end)))?;
        Some((Timestamp::from_micros(first), Timestamp::from_micros(last)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use egiz_model::{Quality, QualityReason, Timestamp, ValueRef};

    use crate::disk::Folder;
    use crate::{Historian, Settings};

    #[test]
    fn a_span_is_that_of_files_and_memory_together() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Arc::new(Folder::open(folder.path()).expect("a folder"));
        let (historian, _) = Historian::open(disk, Settings::default()).expect("it opens");
        let say = |thing: &str, second: i64| {
            let time = Timestamp::from_seconds(1_772_323_200 + second);
            let mut intake = historian.intake();
            let mut row = intake.row(thing, "oven", time, time);
            row.set("f", "x", &ValueRef::Int(second), Quality::Good, QualityReason::None);
        };
        let span = |thing: &str| {
            let seconds = |time: Timestamp| time.as_micros() / 1_000_000 - 1_772_323_200;
            historian.span(thing).map(|(first, last)| (seconds(first), seconds(last)))
        };
        say("a:b", 50);
        say("a:b", 20);
        assert_eq!(span("a:b"), Some((20, 50)));
        historian.seal(Timestamp::from_seconds(1_772_323_300)).expect("sealed");
        assert_eq!(span("a:b"), Some((20, 50)));
        say("a:b", 10);
        say("a:c", 90);
        assert_eq!((span("a:b"), span("a:c"), span("a:d")), (Some((10, 50)), Some((90, 90)), None));
    }
}
