//! What is played against how everything stood: a key frame and what comes after it is the same as another key frame.

use super::*;
use crate::{Cast, Correction, Passage, PropertyState};

const THINGS: [&str; 4] = ["a:four", "a:one", "a:three", "a:two"];

type Shown = BTreeMap<(String, String, String), PropertyState>;

/// How everything stands at a time, without Things that have nothing.
fn key_frame(plant: &Plant, at: i64, cast: Option<&[Arc<str>]>) -> Shown {
    let at = Timestamp::from_micros(at);
    let states = match cast {
        Some(things) => plant.historian.states_of(things.to_vec(), at),
        None => plant.historian.states_at(at, None),
    };
    let mut shown = Shown::new();
    for state in states {
        let state = state.expect("readable");
        take(&mut shown, &state.thing, &state.properties);
    }
    shown
}

fn take(shown: &mut Shown, thing: &str, properties: &[PropertyState]) {
    for property in properties {
        let key = (thing.to_owned(), property.feature.to_string(), property.property.to_string());
        match property.reading.value {
            Some(_) => shown.insert(key, property.clone()),
            None => shown.remove(&key),
        };
    }
}

impl Plant {
    /// Says a value of any kind, or that the property is gone; how late it is depends on the time alone.
    fn say_any(&mut self, thing: &str, second: i64, property: &str, said: &Said) {
        let source = Timestamp::from_seconds(second);
        let received = Timestamp::from_seconds(second + second / 600 % 5);
        let mut bytes = Vec::new();
        Value::from_json(&said.value).encode(&mut bytes);
        let mut intake = self.historian.intake();
        let mut row = intake.row(thing, "family", source, received);
        match said.quality {
            None => row.remove("f", property),
            Some(quality) => {
                let value = ItemReader::new(&bytes).value(DEPTH_MAX).expect("just written");
                row.set("f", property, &value, quality, QualityReason::None);
            }
        }
        drop(row);
        intake.done(self.next);
        self.next += 1;
    }

    fn window(&self, passage: Passage, cast: Option<&[Arc<str>]>) -> crate::Window {
        let cast = Cast { things: cast, properties: &|_, _| true };
        self.historian.window(passage, &cast, &|| true).expect("readable").expect("not given up")
    }
}

#[derive(Debug, Clone)]
struct Said {
    value: serde_json::Value,
    /// Nothing where the property is taken away.
    quality: Option<Quality>,
}

#[derive(Debug, Clone)]
enum Event {
    Say { thing: usize, property: usize, second: i64, said: Said },
    Seal,
    Maintain { hours: i64 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let value = prop_oneof![
        6 => (-50_i32..50).prop_map(|tenths| json!(f64::from(tenths) / 10.0)),
        1 => prop::collection::vec(0_i32..9, 0..3).prop_map(|items| json!(items)),
        1 => "[abc]".prop_map(|text| json!(text)),
        1 => Just(json!(null)),
        1 => any::<bool>().prop_map(|truth| json!(truth)),
    ];
    let quality = prop_oneof![
        8 => Just(Some(Quality::Good)),
        1 => Just(Some(Quality::Bad)),
        1 => Just(None),
    ];
    let said = (value, quality).prop_map(|(value, quality)| Said { value, quality });
    let say =
        (0..THINGS.len(), 0_usize..3, 0_i64..3 * DAY_S, said).prop_map(|(thing, property, second, said)| {
            Event::Say { thing, property, second: second / 600 * 600, said }
        });
    let event = prop_oneof![
        16 => say,
        2 => Just(Event::Seal),
        1 => (0_i64..100).prop_map(|hours| Event::Maintain { hours }),
    ];
    prop::collection::vec(event, 1..120)
}

fn carry_out(plant: &mut Plant, event: Event) {
    match event {
        Event::Say { thing, property, second, said } => {
            plant.say_any(THINGS[thing], BEGIN_S + second, ["x", "y", "z"][property], &said);
        }
        Event::Seal => plant.seal(BEGIN_S + 3 * DAY_S),
        Event::Maintain { hours } => plant.maintain(BEGIN_S + hours * 3600),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever was said, sealed and merged, and however little a window may hold: the key frame at T and what was told up to
    /// U are how everything stood at U.
    #[test]
    fn a_key_frame_and_what_is_played_is_how_everything_stood(
        before in events(),
        meanwhile in prop::collection::vec((0_i64..100, any::<bool>()), 0..6),
        begin in 0_i64..2 * DAY_S,
        hops in prop::collection::vec(1_i64..10 * 3600, 1..12),
        cells_max in prop_oneof![Just(1_usize), 2_usize..40, Just(usize::MAX)],
        window_s in 600_i64..2 * DAY_S,
        some in any::<bool>(),
        is_corrected in any::<bool>(),
    ) {
        let mut plant = Plant::new(Settings { parts_to_merge: 2, ..Settings::default() });
        for event in before {
            carry_out(&mut plant, event);
        }
        for (id, thing) in (1..).zip(THINGS.iter().filter(|_| is_corrected)) {
            plant.historian.corrections().add(Correction {
                id,
                thing: (*thing).into(),
                feature: "f".into(),
                property: "x".into(),
                item: None,
                from: Timestamp::from_seconds(BEGIN_S + DAY_S / 2),
                to: Timestamp::from_seconds(BEGIN_S + 2 * DAY_S),
                value: Some(Value::Int(99)),
                quality: Quality::Uncertain,
            });
        }
        let cast: Option<Vec<Arc<str>>> = some.then(|| vec!["a:none".into(), THINGS[1].into(), THINGS[3].into()]);
        let cast = cast.as_deref();
        let mut at = (BEGIN_S + begin) * 1_000_000;
        let mut shown = key_frame(&plant, at, cast);
        let mut meanwhile = meanwhile.into_iter();
        let mut window: Option<crate::Window> = None;
        for hop in hops {
            let target = at + hop * 1_000_000;
            while at < target {
                let mut of_now = match window.take() {
                    Some(window) if window.end().as_micros() > at => window,
                    _ => {
                        if let Some((hours, seals)) = meanwhile.next() {
                            if seals {
                                plant.seal(BEGIN_S + 3 * DAY_S);
                            }
                            plant.maintain(BEGIN_S + hours * 3600);
                        }
                        let until = Timestamp::from_micros(at + window_s * 1_000_000);
                        let passage =
                            Passage { after: Timestamp::from_micros(at), until, every_micros: 0, cells_max };
                        plant.window(passage, cast)
                    }
                };
                let until = of_now.end().as_micros().min(target);
                prop_assert!(until > at, "it goes on");
                of_now.until(Timestamp::from_micros(until), |thing, properties| take(&mut shown, thing, properties));
                at = until;
                window = Some(of_now);
            }
            prop_assert_eq!(&shown, &key_frame(&plant, at, cast), "at {}", at / 1_000_000 - BEGIN_S);
        }
    }

    /// The same in steps: at the end of each, nothing is missing, and what was left out is counted.
    #[test]
    fn a_window_in_steps_is_exact_at_the_end_of_each(
        before in events(),
        begin in 0_i64..2 * DAY_S,
        every_s in prop_oneof![1_i64..50, 600_i64..20_000],
        cells_max in prop_oneof![2_usize..60, Just(usize::MAX)],
    ) {
        let mut plant = Plant::new(Settings { parts_to_merge: 2, ..Settings::default() });
        for event in before {
            carry_out(&mut plant, event);
        }
        let after = Timestamp::from_seconds(BEGIN_S + begin);
        let every_micros = every_s * 1_000_000;
        let passage = Passage { after, until: after.plus_micros(40 * every_micros), every_micros, cells_max };
        let mut window = plant.window(passage, None);
        let mut whole = plant.window(Passage { every_micros: 0, cells_max: usize::MAX, ..passage }, None);
        prop_assert_eq!((window.end().as_micros() - after.as_micros()) % every_micros, 0);
        let mut shown = key_frame(&plant, after.as_micros(), None);
        let mut at = after;
        let (mut told, mut left_out, mut all) = (0, 0, 0);
        while at < window.end() {
            at = at.plus_micros(every_micros);
            left_out += window.until(at, |thing, properties| {
                told += properties.len() as u64;
                take(&mut shown, thing, properties);
            });
            prop_assert_eq!(&shown, &key_frame(&plant, at.as_micros(), None));
        }
        let mut conflated = whole.until(window.end(), |_, properties| all += properties.len() as u64);
        prop_assert_eq!(told + left_out, all + conflated);
        conflated = whole.until(whole.end(), |_, _| ());
        prop_assert!(conflated == 0 || whole.next_time().is_none());
    }
}

#[test]
fn a_window_says_what_comes_next_and_holds_no_more_than_it_may() {
    let mut plant = Plant::new(Settings::default());
    for second in 0..1000 {
        for thing in THINGS {
            plant.say(thing, BEGIN_S + second, "x", second as f64);
        }
        if second == 500 {
            plant.seal(BEGIN_S + second);
        }
    }
    let second = |time: Option<Timestamp>| time.map(|time| time.as_micros() / 1_000_000 - BEGIN_S);
    let passage = |cells_max| Passage {
        after: Timestamp::from_seconds(BEGIN_S + 100),
        until: Timestamp::from_seconds(BEGIN_S + 900),
        every_micros: 0,
        cells_max,
    };
    let whole = plant.window(passage(usize::MAX), None);
    assert_eq!((whole.cells(), second(whole.next_time())), (3200, Some(101)));
    assert_eq!(second(whole.last_time()), Some(900), "what was measured when it ends belongs to it");
    for cells_max in [0, 7, 100, 1600, 3199, 3200] {
        let mut window = plant.window(passage(cells_max), None);
        assert!(window.cells() <= cells_max, "{cells_max}: {}", window.cells());
        let end = window.end().as_micros() - BEGIN_S * 1_000_000;
        assert_eq!(window.cells() as i64, (end / 1_000_000 - 100) * 4, "and nothing less up to its end");
        let mut told = 0;
        window.until(window.end(), |_, properties| told += properties.len());
        assert_eq!((told, window.next_time()), (if window.cells() == 0 { 0 } else { 4 }, None));
    }
    let cast = Cast { things: None, properties: &|_, _| true };
    let given_up = plant.historian.window(passage(10), &cast, &|| false).expect("readable");
    assert!(given_up.is_none());
}

#[test]
fn one_instant_is_never_cut() {
    let mut plant = Plant::new(Settings::default());
    for property in ["x", "y", "z"] {
        plant.say("a:one", BEGIN_S + 1, property, 1.0);
    }
    let after = Timestamp::from_micros(BEGIN_S * 1_000_000 + 999_999);
    let passage = Passage { after, until: after.plus_micros(3_600_000_000), every_micros: 0, cells_max: 1 };
    let mut window = plant.window(passage, None);
    assert_eq!((window.end(), window.cells()), (after.plus_micros(1), 3));
    let mut names = Vec::new();
    window.until(window.end(), |thing, properties| {
        assert_eq!(&**thing, "a:one");
        names.extend(properties.iter().map(|state| state.property.to_string()));
    });
    assert_eq!(names, ["x", "y", "z"]);
}

#[test]
fn long_texts_take_more_of_the_bound() {
    let mut plant = Plant::new(Settings::default());
    for second in 0..100 {
        let text = json!(format!("{second:01600}"));
        plant.say_value("a:one", BEGIN_S + second, "word", &text);
    }
    let after = Timestamp::from_seconds(BEGIN_S - 1);
    let passage =
        Passage { after, until: after.plus_micros(1_000_000_000), every_micros: 0, cells_max: 2020 };
    let window = plant.window(passage, None);
    assert!((10..=20).contains(&window.cells()), "{}", window.cells());
}
