use std::collections::BTreeMap;

use super::*;

/// Reads `0=run 10=idle? 20=fault!`, as `samples` does.
fn states(text: &str) -> Vec<State<'_>> {
    text.split_whitespace()
        .map(|word| {
            let (second, state) = word.split_once('=').expect("second=state");
            let quality = match state.bytes().last() {
                Some(b'?') => Quality::Uncertain,
                Some(b'!') => Quality::Bad,
                _ => Quality::Good,
            };
            let value = StateValue::Text(state.trim_end_matches(['?', '!']));
            State { time: at(second.parse().expect("a second")), value, quality }
        })
        .collect()
}

/// What each one-minute bucket of two minutes from 0 holds, as `state:seconds/entries …`.
fn check(text: &str, hold: Hold, expected: [&str; 2]) {
    let got =
        Stream::new(buckets(span(0, 120), "1m"), States::new(hold)).run(states(text)).expect("in order");
    let written: Vec<String> = got.iter().map(write).collect();
    assert_eq!(written, expected, "{text}");
}

fn write(bucket: &StateBucket) -> String {
    let mut words: Vec<String> = bucket
        .states
        .iter()
        .map(|part| match &part.state {
            StateName::Text(text) => format!("{text}:{}/{}", part.seconds, part.entries),
            other => format!("{other:?}:{}/{}", part.seconds, part.entries),
        })
        .collect();
    if bucket.unknown_seconds > 0.0 {
        words.push(format!("unknown:{}", bucket.unknown_seconds));
    }
    words.join(" ")
}

#[test]
fn durations_and_entries() {
    let forever = Hold::default();
    check("0=run 20=idle 50=run 70=fault 90=run", forever, ["run:30/2 idle:30/1", "run:40/1 fault:20/1"]);
    check("0=run 10=run 20=run", forever, ["run:60/1", "run:60/0"]);
    check("", forever, ["unknown:60", "unknown:60"]);
}

#[test]
fn what_is_carried_in_lasts_but_is_no_entry() {
    let forever = Hold::default();
    check("-30=run 30=idle", forever, ["run:30/0 idle:30/1", "idle:60/0"]);
    check("-30=run 30=run", forever, ["run:60/0", "run:60/0"]);
    check("-30=run!", forever, ["unknown:60", "unknown:60"]);
    check("-30=idle 0=run", forever, ["run:60/1", "run:60/0"]);
}

#[test]
fn a_silence_or_a_bad_sample_is_unknown_and_no_entry() {
    check("0=run 20=run! 40=run", Hold::default(), ["run:40/1 unknown:20", "run:60/0"]);
    check("0=run 20=run! 40=idle", Hold::default(), ["run:20/1 idle:20/1 unknown:20", "idle:60/0"]);
    let hold = Hold { max_micros: Some(15_000_000), known_until: at(90) };
    check("0=run 30=run 80=run", hold, ["run:30/1 unknown:30", "run:10/0 unknown:20"]);
}

#[test]
fn codes_and_truth_values_are_states_too() {
    let values = [
        StateValue::Bool(true),
        StateValue::Number(0.0),
        StateValue::Number(-0.0),
        StateValue::Number(f64::NAN),
        StateValue::Number(7.0),
    ];
    let inputs =
        (0..).zip(values).map(|(index, value)| State { time: at(index * 10), value, quality: Quality::Good });
    let got =
        Stream::new(buckets(span(0, 60), "1m"), States::new(Hold::default())).run(inputs).expect("in order");
    assert_eq!(write(&got[0]), "Bool(true):10/1 Number(0.0):20/1 Number(7.0):20/1 unknown:10");
    assert_eq!((got[0].count, got[0].excluded, got[0].quality), (4, 1, Some(Quality::Good)));
}

#[test]
fn a_property_with_too_many_states_has_none() {
    let names: Vec<String> = (0..=MAX_STATES).map(|number| format!("batch-{number}")).collect();
    let run = |resolution| {
        let inputs = (0..).zip(&names).map(|(second, name)| State {
            time: at(second),
            value: StateValue::Text(name),
            quality: Quality::Good,
        });
        Stream::new(buckets(span(0, 3600), resolution), States::new(Hold::default())).run(inputs)
    };
    let error = run("1h").expect_err("one too many").to_string();
    assert!(error.contains("more than 1000 different states"), "{error}");
    assert!(run("1m").is_ok());
}

proptest! {
    #[test]
    fn durations_equal_a_count_of_seconds(
        steps in prop::collection::vec((1..40_i64, 0..4_i32, any_quality()), 0..40),
        hold in any_hold(),
        range in any_range(),
    ) {
        let mut second = -60;
        let samples: Vec<Sample> = steps.into_iter().map(|(step, code, quality)| {
            second += step;
            Sample { time: at(second), value: f64::from(code), quality }
        }).collect();
        let inputs = samples.iter().map(|sample| State {
            time: sample.time, value: StateValue::Number(sample.value), quality: sample.quality,
        });
        let got = Stream::new(buckets(range, "30s"), States::new(hold)).run(inputs).expect("in order");
        for bucket in got {
            let part = Span::new(bucket.start, bucket.end).intersection(range);
            let mut expected: BTreeMap<i64, (f64, u64)> = BTreeMap::new();
            let mut unknown = 0.0;
            for second in part.start.as_micros() / 1_000_000..part.end.as_micros() / 1_000_000 {
                match naive::held(&samples, hold, second) {
                    Some((code, _)) => expected.entry(code as i64).or_default().0 += 1.0,
                    None if at(second) < hold.known_until => unknown += 1.0,
                    None => {}
                }
            }
            let known: Vec<&Sample> = samples.iter().filter(|sample| sample.number().is_some()).collect();
            for (index, sample) in known.iter().enumerate().filter(|(_, sample)| part.contains(sample.time)) {
                let before = index.checked_sub(1).map(|index| known[index]);
                let entry = expected.entry(sample.value as i64).or_default();
                entry.1 += u64::from(before.is_none_or(|before| before.value != sample.value));
            }
            let states: BTreeMap<i64, (f64, u64)> = bucket.states.iter().map(|part| match part.state {
                StateName::Number(code) => (code as i64, (part.seconds, part.entries)),
                _ => unreachable!("only codes went in"),
            }).collect();
            prop_assert_eq!(states, expected);
            prop_assert_eq!(bucket.unknown_seconds, unknown);
        }
    }
}
