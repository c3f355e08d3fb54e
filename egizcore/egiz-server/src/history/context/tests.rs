//! What lies within the stretches of a condition, held against a map of all that was said, hour by hour.

use std::collections::BTreeMap;

use egiz_historian::series::{Buckets, Fill, Hold};
use egiz_historian::{Historian, Settings, disk::Folder};
use egiz_model::{QualityReason, ValueRef};
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::super::ask::{Asked, Gathering};
use super::super::buckets::{Budget, Of, properties};
use super::super::selection::Selection;
use super::*;

const OVEN: &str = "factory:oven-001";
const HOURS: i64 = 240;

/// Ten days in which the clocks of Berlin are set.
fn hour(hour: i64) -> Timestamp {
    Timestamp::from_seconds(1_774_310_400 + hour * 3600)
}

/// What is said: the property, the hour, the value, and how far it can be trusted.
type Said = (bool, i64, i64, Quality);

#[derive(Debug, Clone)]
enum Step {
    Say(Said),
    Seal,
    Merge,
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    let quality =
        prop_oneof![8 => Just(Quality::Good), 1 => Just(Quality::Uncertain), 2 => Just(Quality::Bad)];
    prop_oneof![
        20 => (any::<bool>(), 0..HOURS, 0_i64..3, quality).prop_map(Step::Say),
        2 => Just(Step::Seal),
        1 => Just(Step::Merge),
        1 => Just(Step::Restart),
    ]
}

/// A history to which all of it was done, and what was said last of each time.
struct Past {
    _folder: tempfile::TempDir,
    historian: Arc<Historian>,
    context: BTreeMap<i64, (i64, Quality)>,
    measured: BTreeMap<i64, (i64, Quality)>,
}

impl Past {
    fn of(steps: &[Step]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || {
            let disk = Arc::new(Folder::open(folder.path()).expect("a folder"));
            Historian::open(disk, Settings::default()).expect("it opens").0
        };
        let mut historian = open();
        let (mut context, mut measured) = (BTreeMap::new(), BTreeMap::new());
        for (offset, step) in (0..).zip(steps) {
            match *step {
                Step::Say((is_context, at, value, quality)) => {
                    let (feature, property) = if is_context { ("context", "batch") } else { ("f", "x") };
                    let mut intake = historian.intake();
                    let mut row = intake.row(OVEN, "oven", hour(at), hour(at));
                    row.set(feature, property, &ValueRef::Int(value), quality, QualityReason::None);
                    drop(row);
                    intake.done(offset);
                    let known = if is_context { &mut context } else { &mut measured };
                    known.insert(at, (value, quality));
                }
                Step::Seal => historian.seal(hour(HOURS)).expect("sealed"),
                Step::Merge => while historian.maintain(hour(HOURS)).expect("maintained") {},
                Step::Restart => {
                    // What is in memory would be read from the journal again.
                    historian.seal(hour(HOURS)).expect("sealed");
                    historian = open();
                }
            }
        }
        Self { _folder: folder, historian: Arc::new(historian), context, measured }
    }
}

/// The value in force at an hour.
fn held(said: &BTreeMap<i64, (i64, Quality)>, at: i64) -> Option<i64> {
    said.range(..=at)
        .next_back()
        .filter(|(_, (_, quality))| *quality != Quality::Bad)
        .map(|(_, (value, _))| *value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn aggregates_within_a_condition_equal_those_of_its_hours(
        steps in prop::collection::vec(any_step(), 1..120),
        (from, length) in (0..HOURS, 1..HOURS),
        now in HOURS / 2..HOURS + 50,
        wanted in 0_i64..3,
        is_daily: bool,
    ) {
        let past = Past::of(&steps);
        let (walk, _wanted) = Walk::begin(Arc::clone(&past.historian));
        let to = from + length;
        let range = (hour(from), hour(to));
        let lookout = Lookout { thing: OVEN, range, now: hour(now) };
        let filter = PropertyFilter::parse(&format!("eq(context/batch,{wanted})")).expect("RQL");
        let within = stretches(&walk, &filter, lookout).expect("few");
        let counts = |at: i64| (from..to.min(now)).contains(&at) && held(&past.context, at) == Some(wanted);
        for at in 0..HOURS + 60 {
            prop_assert_eq!(within.contains(hour(at)), counts(at), "hour {}", at);
        }

        let span = Span::new(range.0, range.1);
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        let buckets = if is_daily {
            Buckets::new(span, "1d".parse().expect("a day"), zone).expect("few")
        } else {
            Buckets::whole(span).expect("a range")
        };
        let names = ["twa", "count", "sum", "max"];
        let aggregates = names.iter().map(|name| ((*name).to_owned(), name.parse().expect(name)));
        let hold = Hold { max_micros: None, known_until: hour(now) };
        let asked = Asked { buckets, gathering: Gathering::Numbers(aggregates.collect()), fill: Fill::Null, hold };
        let selection = Selection::of_list(&["f/x".to_owned()]).expect("a property");
        let of = Of { thing: OVEN, range, selection: &selection, within: Some(&within) };
        let found = properties(&walk, &of, &asked, &mut Budget::new("resolution")).expect("an answer");
        for bucket in found[0].buckets.iter().flatten() {
            let inside = |at: &i64| (bucket.start..bucket.end).contains(&hour(*at)) && counts(*at);
            let hours: Vec<i64> = (from..to).filter(inside).collect();
            prop_assert!(!hours.is_empty(), "{:?} has nothing that counts", bucket);
            let good = |at: &i64| past.measured.get(at).filter(|(_, quality)| *quality != Quality::Bad);
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let float = |number: i64| number as f64;
            let values: Vec<f64> = hours.iter().filter_map(good).map(|(value, _)| float(*value)).collect();
            let weighed: Vec<f64> = hours.iter().filter_map(|at| held(&past.measured, *at)).map(float).collect();
            let sum = |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>());
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let expected = [
                sum(&weighed).map(|sum| sum / weighed.len() as f64),
                Some(values.len() as f64),
                sum(&values),
                values.iter().copied().reduce(f64::max),
            ];
            for (name, expected) in names.iter().zip(expected) {
                let value = bucket.values[*name];
                let is_close = match (value, expected) {
                    (Some(a), Some(b)) => (a - b).abs() < 1e-9,
                    (a, b) => a == b,
                };
                prop_assert!(is_close, "{}: {:?}, wanted {:?}, in {:?}", name, value, expected, bucket);
            }
        }
        let shown: i64 = found[0].buckets.iter().flatten().count().try_into().unwrap_or_default();
        prop_assert_eq!(shown > 0, (from..to).any(counts));
    }
}
