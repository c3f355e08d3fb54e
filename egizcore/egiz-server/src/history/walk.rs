//! Goes through a range of time in slices, so that memory is bounded by a slice; stops when nobody waits any more.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use egiz_api::Code;
use egiz_historian::{Historian, Rows, ThingState, View};
use egiz_model::Timestamp;

use super::buckets::Of;
use super::selection::Selection;
use crate::error::ApiError;

const DAY_MICROS: i64 = 86_400_000_000;
const HOUR_MICROS: i64 = 3_600_000_000;
/// The shortest slice; a device that floods is still read in bounded pieces.
const SHORTEST_MICROS: i64 = 60_000_000;
/// With fewer rows than this the next slice is longer.
const ROWS_FEW: usize = 20_000;
/// With more than this it is shorter.
const ROWS_MANY: usize = 100_000;

/// A walk over what is kept.
pub(crate) struct Walk {
    historian: Arc<Historian>,
    given_up: Arc<AtomicBool>,
    view: View,
}

/// As long as it is there, somebody waits for the walk.
pub(super) struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How long the first slice is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Much of the range is likely to be looked at.
    All,
    /// The first rows are likely to suffice.
    Page,
}

impl Walk {
    /// A walk, and what keeps it going.
    pub(super) fn begin(historian: Arc<Historian>) -> (Self, Wanted) {
        let given_up = Arc::new(AtomicBool::new(false));
        let walk = Self { historian, given_up: Arc::clone(&given_up), view: View::Corrected };
        (walk, Wanted(given_up))
    }

    pub(crate) fn historian(&self) -> &Historian {
        &self.historian
    }

    /// The same walk, corrected or not.
    pub(super) fn seeing(&self, view: View) -> Self {
        Self { historian: Arc::clone(&self.historian), given_up: Arc::clone(&self.given_up), view }
    }

    /// Whether it is corrected.
    pub(super) fn view(&self) -> View {
        self.view
    }

    /// How a Thing stood at a time.
    ///
    /// # Errors
    /// `unavailable`.
    pub(super) fn thing_at(&self, thing: &str, at: Timestamp) -> Result<Option<ThingState>, ApiError> {
        Ok(self.historian.thing_at_as(self.view, thing, at)?)
    }

    /// Ends the work where nobody waits for it any more.
    ///
    /// # Errors
    /// `timeout`, which nobody reads.
    pub(crate) fn go_on(&self) -> Result<(), ApiError> {
        if self.given_up.load(Ordering::Relaxed) {
            return Err(ApiError::new(Code::Timeout, "the client waits no longer"));
        }
        Ok(())
    }

    /// Gives the rows of `[from, to)` slice by slice, until `each` breaks.
    ///
    /// # Errors
    /// `unavailable` where history cannot be read; those of `each`.
    pub(super) fn slices(
        &self,
        thing: &str,
        (from, to): (Timestamp, Timestamp),
        selection: &Selection,
        pace: Pace,
        mut each: impl FnMut(&Rows) -> Result<ControlFlow<()>, ApiError>,
    ) -> Result<(), ApiError> {
        self.owned_slices(thing, (from, to), selection, pace, |rows| each(&rows))
    }

    /// As [`Self::owned_slices`], of what lies within; what lies far between is not read.
    ///
    /// # Errors
    /// Those of [`Self::slices`].
    pub(super) fn kept_slices(
        &self,
        of: &Of<'_>,
        pace: Pace,
        mut each: impl FnMut(Rows) -> Result<ControlFlow<()>, ApiError>,
    ) -> Result<(), ApiError> {
        for range in of.ranges() {
            let mut has_broken = false;
            self.owned_slices(of.thing, range, of.selection, pace, |rows| {
                let kept = match of.within {
                    Some(within) => rows.within(within),
                    None => rows,
                };
                let flow = each(kept)?;
                has_broken = flow.is_break();
                Ok(flow)
            })?;
            if has_broken {
                break;
            }
        }
        Ok(())
    }

    /// As [`Self::slices`], with rows to keep.
    ///
    /// # Errors
    /// Those of [`Self::slices`].
    pub(super) fn owned_slices(
        &self,
        thing: &str,
        (from, to): (Timestamp, Timestamp),
        selection: &Selection,
        pace: Pace,
        each: impl FnMut(Rows) -> Result<ControlFlow<()>, ApiError>,
    ) -> Result<(), ApiError> {
        self.wanted_slices(thing, (from, to), &|feature, name| selection.wants(feature, name), pace, each)
    }

    /// As [`Self::owned_slices`], of the properties that `wanted` says.
    ///
    /// # Errors
    /// Those of [`Self::slices`].
    pub(crate) fn wanted_slices(
        &self,
        thing: &str,
        (from, to): (Timestamp, Timestamp),
        wanted: &dyn Fn(&str, &str) -> bool,
        pace: Pace,
        mut each: impl FnMut(Rows) -> Result<ControlFlow<()>, ApiError>,
    ) -> Result<(), ApiError> {
        let mut length = match pace {
            Pace::All => 6 * HOUR_MICROS,
            Pace::Page => HOUR_MICROS,
        };
        let mut begin = from;
        while begin < to {
            self.go_on()?;
            let end = begin.plus_micros(length).min(to);
            let rows = self.historian.read_as(self.view, thing, (begin, end), wanted)?;
            let count = rows.len();
            if each(rows)?.is_break() {
                break;
            }
            length = match count {
                0..ROWS_FEW => (length * 2).min(DAY_MICROS),
                ROWS_FEW..=ROWS_MANY => length,
                _ => (length / 2).max(SHORTEST_MICROS),
            };
            begin = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egiz_historian::{Settings, disk::Folder};
    use egiz_model::{Quality, QualityReason, ValueRef};

    const THING: &str = "factory:oven-001";

    fn second(second: i64) -> Timestamp {
        Timestamp::from_seconds(1_772_323_200 + second)
    }

    /// One that spoke once a minute for three days, in a folder that goes with the test.
    fn history() -> (tempfile::TempDir, Arc<Historian>) {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Arc::new(Folder::open(folder.path()).expect("a folder"));
        let (historian, _) = Historian::open(disk, Settings::default()).expect("it opens");
        for minute in 0..3 * 1440 {
            let time = second(minute * 60);
            let mut intake = historian.intake();
            let mut row = intake.row(THING, "oven", time, time);
            row.set("f", "x", &ValueRef::Int(minute), Quality::Good, QualityReason::None);
            drop(row);
            intake.done(minute.unsigned_abs());
        }
        (folder, Arc::new(historian))
    }

    #[test]
    fn every_row_of_the_range_is_given_once_in_order() {
        let (_folder, historian) = history();
        let (walk, _wanted) = Walk::begin(historian);
        for pace in [Pace::All, Pace::Page] {
            let mut minutes = Vec::new();
            let range = (second(30), second(2 * 86_400));
            walk.slices(THING, range, &Selection::default(), pace, |rows| {
                for sample in rows.samples("f", "x", None) {
                    minutes.push(sample.value);
                }
                Ok(ControlFlow::Continue(()))
            })
            .expect("readable");
            assert_eq!(minutes, (1..2 * 1440).map(f64::from).collect::<Vec<_>>());
        }
    }

    #[test]
    fn it_stops_when_enough_was_seen_or_nobody_waits() {
        let (_folder, historian) = history();
        let (walk, wanted) = Walk::begin(historian);
        let mut slices = 0;
        let range = (second(0), second(3 * 86_400));
        let mut count = |_: &Rows| {
            slices += 1;
            Ok(ControlFlow::Break(()))
        };
        walk.slices(THING, range, &Selection::default(), Pace::All, &mut count).expect("readable");
        drop(wanted);
        let ended = walk.slices(THING, range, &Selection::default(), Pace::All, &mut count);
        assert_eq!(ended.expect_err("nobody waits").0.code, "timeout");
        assert_eq!(slices, 1);
    }
}
